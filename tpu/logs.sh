#!/usr/bin/env bash
# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
#
# tpu/logs.sh [options]
#
# Prints the log of one worker; what counts stands in that of worker 0.
#
#   --worker N    which worker (default: 0); all for every one
#   --node N      which slice of several (default: 0)
#   --lines N     how many of the last lines (default: 200)
#   --follow      go on until the job ends
#   --dry-run     print the command; run none
#
# Settings: TPU_PROJECT TPU_ZONE TPU_NAME TPU_SLICES.
set -euo pipefail
# shellcheck source=tpu/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

worker=0 node=0 lines=200 follow=()
while (($#)); do
  case $1 in
    --help) usage; exit 0 ;;
    --dry-run) dry_run=yes ;;
    --worker) value_of "$@"; worker=$2; shift ;;
    --node) value_of "$@"; node=$2; shift ;;
    --lines) value_of "$@"; lines=$2; shift ;;
    --follow) follow=(--follow) ;;
    *) wrong "unknown word $(quote "$1"): see --help" ;;
  esac
  shift
done
[[ $worker =~ ^([0-9]{1,4}|all)$ ]] || wrong "--worker $(quote "$worker"): an index from 0, or all"
[[ $node =~ ^([0-9]{1,3}|all)$ ]] || wrong "--node $(quote "$node"): an index from 0, or all"
[[ $lines =~ ^[0-9]{1,6}$ ]] || wrong "--lines $(quote "$lines"): a number"

read_settings
check TPU_PROJECT TPU_ZONE TPU_NAME TPU_SLICES
need_gcloud
on_workers "$node" "$worker" "$(quote bash worker.sh log --lines "$lines" "${follow[@]}")"
