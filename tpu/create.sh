#!/usr/bin/env bash
# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
#
# tpu/create.sh [options] [-- FLAGS...]
#
# Asks for the slice that the settings name, as a queued resource, and waits until it is
# there. Run again while it waits or is there, it changes nothing.
#
#   --spot, --on-demand, --reserved   instead of TPU_TIER
#   --replace NAME   a dead request (preempted or failed) of this exact name may be deleted and
#                    asked for again; without it a dead request is an error
#   --no-wait        return once the request stands in the queue
#   --dry-run        print the commands for a project where nothing is there; run none
#   -- FLAGS...      passed on to `gcloud compute tpus queued-resources create`, such as
#                    --network=NAME or --valid-until-duration=6h
#
# Settings: TPU_PROJECT TPU_ZONE TPU_NAME TPU_ACCELERATOR TPU_RUNTIME TPU_TIER TPU_SLICES
# TPU_SERVICE_ACCOUNT (tpu/tpu.env.example). Exit: 0 there, 1 it failed, 2 wrong input.
set -euo pipefail
# shellcheck source=tpu/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

tier="" replace="" wait=yes flags=()
while (($#)); do
  case $1 in
    --help) usage; exit 0 ;;
    --dry-run) dry_run=yes ;;
    --spot | --on-demand | --reserved) tier=${1#--} ;;
    --replace) value_of "$@"; replace=$2; shift ;;
    --no-wait) wait=no ;;
    --) shift; flags=("$@"); break ;;
    *) wrong "unknown word $(quote "$1"): see --help" ;;
  esac
  shift
done

read_settings
TPU_TIER=${tier:-$TPU_TIER}
check TPU_PROJECT TPU_ZONE TPU_NAME TPU_ACCELERATOR TPU_RUNTIME TPU_TIER TPU_SLICES TPU_SERVICE_ACCOUNT
[[ -z $replace || $replace == "$TPU_NAME" ]] || wrong "--replace $(quote "$replace"): TPU_NAME is $TPU_NAME; nothing else is touched"
poll=${TPU_POLL_S:-30}
[[ $poll =~ ^[0-9]{1,4}$ ]] || wrong "TPU_POLL_S=$(quote "$poll"): seconds between two looks at the queue"
need_gcloud

ask() {
  local words=(gcloud compute tpus queued-resources create "$TPU_NAME" --project="$TPU_PROJECT" --zone="$TPU_ZONE")
  if ((TPU_SLICES > 1)); then
    words+=(--node-count="$TPU_SLICES" --node-prefix="$TPU_NAME")
  else
    words+=(--node-id="$TPU_NAME")
  fi
  words+=(--accelerator-type="$TPU_ACCELERATOR" --runtime-version="$TPU_RUNTIME")
  [[ $TPU_TIER == on-demand ]] || words+=(--"$TPU_TIER")
  [[ -z $TPU_SERVICE_ACCOUNT ]] || words+=(--service-account="$TPU_SERVICE_ACCOUNT")
  call "${words[@]}" "${flags[@]}"
}

clear_dead() {
  [[ $replace == "$TPU_NAME" ]] ||
    die 1 "$TPU_NAME is $1 and will not come back: tpu/create.sh --replace $TPU_NAME deletes that request and asks again"
  say "$TPU_NAME is $1: deleting that request"
  call gcloud compute tpus queued-resources delete "$TPU_NAME" --project="$TPU_PROJECT" --zone="$TPU_ZONE" --force --quiet
}

asked=no before="" missing=0
while :; do
  found=$(queue_state "$TPU_NAME")
  state=${found%% *} kind=${found#* }
  if [[ $dry_run == yes && $asked == yes ]]; then state=ACTIVE kind=$TPU_ACCELERATOR; fi
  [[ -z $state || $kind == "$TPU_ACCELERATOR" || $state == DELETING || -z $kind || $kind == "$state" ]] ||
    wrong "$TPU_NAME is there as $kind, not $TPU_ACCELERATOR: another TPU_NAME, or tpu/delete.sh $TPU_NAME first"
  [[ $state == "$before" ]] || done_note "$TPU_NAME: ${state:-not there}"
  before=$state
  case $state in
    ACTIVE) break ;;
    "")
      if [[ $asked == no ]]; then
        ask
        asked=yes
        [[ $wait == yes ]] || exit 0
        continue
      fi
      missing=$((missing + 1)) # the list may lag behind
      ((missing < 10)) || die 1 "$TPU_NAME was asked for and is not in the queue of $TPU_ZONE"
      ;;
    SUSPENDED | FAILED)
      [[ $asked == no ]] || die 1 "$TPU_NAME: the request ended as $state (gcloud compute tpus queued-resources describe says why)"
      clear_dead "$state"
      continue
      ;;
    SUSPENDING | DELETING) ;; # neither there nor gone: look again
    *) [[ $wait == yes ]] || exit 0 ;;
  esac
  sleep "$poll"
done
done_note "$TPU_NAME is ACTIVE: next, tpu/setup.sh"
