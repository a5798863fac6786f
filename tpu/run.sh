#!/usr/bin/env bash
# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
#
# tpu/run.sh [options] -- COMMAND...
#
# Starts COMMAND on every worker, detached: it outlives the connection. Run again with the
# same command it leaves a running job alone and resumes one that has ended, also after the
# slice was preempted and made anew (tpu/create.sh --replace NAME, tpu/setup.sh).
#
#   --restarts N       on each worker, start again up to N times after any exit code but 0 and
#                      2 (default: 0)
#   --env NAME=VALUE   set in the environment of COMMAND (repeated)
#   --local-run-dir    accept a run folder on the workers' own disks
#   --dry-run          print the commands; run none
#
# `lrm train` without --run-dir gets TPU_RUN_DIR. TPU_CACHE_DIR becomes
# JAX_COMPILATION_CACHE_DIR.
#
#   tpu/run.sh -- lrm train hrm_sudoku data.path=generate --distributed
#   tpu/logs.sh --follow
#
# Settings: TPU_PROJECT TPU_ZONE TPU_NAME TPU_SLICES TPU_RUN_DIR TPU_CACHE_DIR. Exit: 0 started
# or running, 1 no slice, 2 wrong input or another job runs, else gcloud's code.
set -euo pipefail
# shellcheck source=tpu/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

restarts=0 environment=() local_ok=no words=()
while (($#)); do
  case $1 in
    --help) usage; exit 0 ;;
    --dry-run) dry_run=yes ;;
    --restarts) value_of "$@"; restarts=$2; shift ;;
    --env) value_of "$@"; environment+=("$2"); shift ;;
    --local-run-dir) local_ok=yes ;;
    --) shift; words=("$@"); break ;;
    *) wrong "unknown word $(quote "$1"): the command of the run comes after --" ;;
  esac
  shift
done
[[ $restarts =~ ^[0-9]{1,4}$ ]] || wrong "--restarts $(quote "$restarts"): a number, 0 to 9999"
((${#words[@]})) || wrong "no command: tpu/run.sh -- lrm train PRESET ..."

read_settings
check TPU_PROJECT TPU_ZONE TPU_NAME TPU_SLICES TPU_RUN_DIR TPU_CACHE_DIR
[[ -z $TPU_CACHE_DIR ]] || environment=("JAX_COMPILATION_CACHE_DIR=$TPU_CACHE_DIR" "${environment[@]}")
no_control "${words[@]}" "${environment[@]}"
settle_run_dir "$local_ok"
remote=(bash worker.sh start)
[[ $restarts == 0 ]] || remote+=(--restarts "$restarts")
for pair in "${environment[@]}"; do
  [[ $pair =~ ^[A-Za-z_][A-Za-z0-9_]*= ]] || wrong "--env $(quote "$pair"): NAME=VALUE"
  remote+=(--env "$pair")
done
need_gcloud

found=$(queue_state "$TPU_NAME")
if [[ $dry_run == no && ${found%% *} != ACTIVE ]]; then
  die 1 "$TPU_NAME is ${found%% *}${found:+, }no slice to run on: tpu/create.sh --replace $TPU_NAME && tpu/setup.sh, then this command again"
fi
code=0
on_workers all all "$(quote "${remote[@]}" -- "${words[@]}")" || code=$?
[[ $code != 127 ]] || die 1 "the workers have no worker.sh yet: tpu/setup.sh, then this command again"
((code == 0)) || exit "$code"
done_note "running on every worker: tpu/logs.sh --follow"
