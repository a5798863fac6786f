#!/usr/bin/env bash
# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
#
# tpu/stop.sh [--dry-run]
#
# Ends the job on every worker: SIGTERM, so that it saves, and a minute to do so. The slice
# stays; tpu/run.sh with the same command resumes.
#
#   --dry-run   print the command; run none
#
# Settings: TPU_PROJECT TPU_ZONE TPU_NAME TPU_SLICES.
set -euo pipefail
# shellcheck source=tpu/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

while (($#)); do
  case $1 in
    --help) usage; exit 0 ;;
    --dry-run) dry_run=yes ;;
    *) wrong "unknown word $(quote "$1"): see --help" ;;
  esac
  shift
done

read_settings
check TPU_PROJECT TPU_ZONE TPU_NAME TPU_SLICES
need_gcloud
on_workers all all "$(quote bash worker.sh stop)"
