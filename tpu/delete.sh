#!/usr/bin/env bash
# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
#
# tpu/delete.sh NAME [--dry-run]
#
# Deletes the queued resource of exactly this name and its machines, with what is on their
# disks. The name has to be typed: TPU_NAME is not used. Run again, it finds nothing to do.
#
#   --dry-run   print the commands; run none
#
# Settings: TPU_PROJECT TPU_ZONE.
set -euo pipefail
# shellcheck source=tpu/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

name=""
while (($#)); do
  case $1 in
    --help) usage; exit 0 ;;
    --dry-run) dry_run=yes ;;
    -*) wrong "unknown word $(quote "$1"): see --help" ;;
    *) [[ -z $name ]] || wrong "one name at a time, not also $(quote "$1")"; name=$1 ;;
  esac
  shift
done

read_settings
[[ -n $name ]] || wrong "say the exact name of what is to be deleted: tpu/delete.sh NAME"
TPU_NAME=$name
check TPU_PROJECT TPU_ZONE TPU_NAME
need_gcloud
found=$(queue_state "$name")
if [[ $dry_run == no && -z $found ]]; then
  say "$name is not there: nothing to delete"
  exit 0
fi
call gcloud compute tpus queued-resources delete "$name" --project="$TPU_PROJECT" --zone="$TPU_ZONE" --force --quiet
done_note "deleted $name"
