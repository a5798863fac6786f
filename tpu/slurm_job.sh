#!/usr/bin/env bash
# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
#
# slurm_job.sh [--dry-run] --restarts N -- COMMAND...: the batch script of tpu/slurm.sh.
#
# Runs COMMAND in every task and, after any exit code but 0 and 2, puts the job back into the
# queue, at most N times.
set -euo pipefail

dry_run=no restarts=0
while (($#)); do
  case $1 in
    --help) sed -n '5,/^[^#]/{s/^# \{0,1\}//p;}' "$0"; exit 0 ;;
    --dry-run) dry_run=yes ;;
    --restarts) restarts=$2; shift ;;
    --) shift; break ;;
    *) break ;;
  esac
  shift
done
# Not killed at the first bad exit: the others may be in the middle of the save that all make
# together. Two minutes after the first end the rest is ended.
# srun does not take the CPUs of a task from the batch script by itself.
step=(srun --kill-on-bad-exit=0 --wait=120 ${SLURM_CPUS_PER_TASK:+--cpus-per-task="$SLURM_CPUS_PER_TASK"} "$@")
if [[ $dry_run == yes ]]; then
  printf '%q ' "${step[@]}"
  printf '\n'
  exit 0
fi

code=0
"${step[@]}" || code=$?
if [[ $code != 0 && $code != 2 ]] && ((${SLURM_RESTART_COUNT:-0} < restarts)); then
  printf 'ended with code %s: back into the queue (%s of %s)\n' "$code" "$((${SLURM_RESTART_COUNT:-0} + 1))" "$restarts"
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
