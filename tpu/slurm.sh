#!/usr/bin/env bash
# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
#
# tpu/slurm.sh [options] -- COMMAND...
#
# Submits COMMAND to GPU nodes of a SLURM cluster, one process a GPU; jax.distributed finds
# the others by itself. A minute before the time limit the processes get SIGTERM and save;
# the job then queues itself again, as it does after a preemption, and resumes.
#
#   --nodes N           (default: 1)
#   --gpus-per-node N   (default: 8)
#   --cpus-per-gpu N    (default: 8)
#   --time LIMIT        such as 24:00:00 or 2-00:00:00
#   --job-name NAME     (default: lrm)
#   --partition NAME, --account NAME, --qos NAME
#   --restarts N        queue again at most N times after any exit code but 0 and 2 (default: 50)
#   --dry-run           print the command; run none
#
#   tpu/slurm.sh --nodes 4 --time 24:00:00 -- lrm train hrm_sudoku --distributed --run-dir /shared/runs/hrm
#
# The run folder has to be on a file system that all nodes see. The log is NAME-JOBID.log in the
# working directory, which is also where COMMAND runs, with the environment of now.
set -euo pipefail
# shellcheck source=tpu/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

nodes=1 gpus=8 cpus=8 limit="" name=lrm restarts=50 more=() words=()
while (($#)); do
  case $1 in
    --help) usage; exit 0 ;;
    --dry-run) dry_run=yes ;;
    --nodes) value_of "$@"; nodes=$2; shift ;;
    --gpus-per-node) value_of "$@"; gpus=$2; shift ;;
    --cpus-per-gpu) value_of "$@"; cpus=$2; shift ;;
    --time) value_of "$@"; limit=$2; shift ;;
    --job-name) value_of "$@"; name=$2; shift ;;
    --restarts) value_of "$@"; restarts=$2; shift ;;
    --partition | --account | --qos)
      value_of "$@"
      [[ $2 =~ ^[A-Za-z0-9_][A-Za-z0-9_.,@-]*$ ]] || wrong "$1 $(quote "$2"): a name without spaces"
      more+=("$1=$2")
      shift
      ;;
    --) shift; words=("$@"); break ;;
    *) wrong "unknown word $(quote "$1"): the command of the run comes after --" ;;
  esac
  shift
done
[[ $nodes =~ ^[1-9][0-9]{0,4}$ ]] || wrong "--nodes $(quote "$nodes"): a number from 1"
[[ $gpus =~ ^[1-9][0-9]?$ ]] || wrong "--gpus-per-node $(quote "$gpus"): a number from 1"
[[ $cpus =~ ^[1-9][0-9]{0,2}$ ]] || wrong "--cpus-per-gpu $(quote "$cpus"): a number from 1"
[[ $restarts =~ ^[0-9]{1,4}$ ]] || wrong "--restarts $(quote "$restarts"): a number, 0 to 9999"
[[ $name =~ ^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$ ]] || wrong "--job-name $(quote "$name"): letters, digits and _ . -"
[[ -z $limit || $limit =~ ^([0-9]+-)?[0-9]+(:[0-9]{1,2}){0,2}$ ]] || wrong "--time $(quote "$limit"): such as 24:00:00 or 2-00:00:00"
((${#words[@]})) || wrong "no command: tpu/slurm.sh -- lrm train PRESET --run-dir /shared/..."
no_control "${words[@]}"
if [[ ${words[0]} == lrm && ${words[1]:-} == train && -z $(run_dir_of "${words[@]}") ]]; then
  wrong "lrm train without --run-dir: a folder on a file system that all nodes see"
fi
need sbatch "run this on a login node of the cluster"

[[ -z $limit ]] || more+=(--time="$limit" --signal=TERM@60)
call sbatch --job-name="$name" --nodes="$nodes" --ntasks-per-node="$gpus" --gpus-per-node="$gpus" \
  --cpus-per-task="$cpus" --output=%x-%j.log --open-mode=append --requeue "${more[@]}" \
  "$here/slurm_job.sh" --restarts "$restarts" -- "${words[@]}"
