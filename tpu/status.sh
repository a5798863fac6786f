#!/usr/bin/env bash
# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
#
# tpu/status.sh [--workers] [--dry-run]
#
# Says where the slice stands in the queue, how its machines are, and with --workers what
# each worker runs.
#
#   --workers   ask every worker, over ssh
#   --dry-run   print the commands; run none
#
# Settings: TPU_PROJECT TPU_ZONE TPU_NAME TPU_SLICES. Exit: 0 also where nothing is there.
set -euo pipefail
# shellcheck source=tpu/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

workers=no
while (($#)); do
  case $1 in
    --help) usage; exit 0 ;;
    --dry-run) dry_run=yes ;;
    --workers) workers=yes ;;
    *) wrong "unknown word $(quote "$1"): see --help" ;;
  esac
  shift
done

read_settings
check TPU_PROJECT TPU_ZONE TPU_NAME TPU_SLICES
need_gcloud
found=$(queue_state "$TPU_NAME")
[[ $dry_run == yes ]] || printf '%s: %s\n' "$TPU_NAME" "${found:-not there}"
[[ $dry_run == yes || -n $found ]] || exit 0
call gcloud compute tpus tpu-vm list --project="$TPU_PROJECT" --zone="$TPU_ZONE" \
  --filter="name~\"/nodes/$TPU_NAME(-[0-9]+)?\$\"" --format='table(name.basename(),state,health)'
if [[ $workers == yes && ($dry_run == yes || ${found%% *} == ACTIVE) ]]; then
  on_workers all all "$(quote bash worker.sh status)"
fi
