#!/usr/bin/env bash
# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
#
# tpu/setup.sh [--extras LIST] [--dry-run]
#
# Copies the commit that is checked out here to every worker and installs it there with
# Python 3.12 into ~/lrm-jax/venv. Run again with the same commit, it changes nothing.
# Uncommitted changes are not copied. Workers need a way to PyPI.
#
#   --extras LIST   extras to install (default: tpu,gcs)
#   --dry-run       print the commands; run none
#
# With several workers gcloud wants the key in an agent: ssh-add ~/.ssh/google_compute_engine
#
# Settings: TPU_PROJECT TPU_ZONE TPU_NAME TPU_SLICES. Exit: 0 installed, 2 wrong input, else
# gcloud's code.
set -euo pipefail
# shellcheck source=tpu/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

extras=tpu,gcs
while (($#)); do
  case $1 in
    --help) usage; exit 0 ;;
    --dry-run) dry_run=yes ;;
    --extras) value_of "$@"; extras=$2; shift ;;
    *) wrong "unknown word $(quote "$1"): see --help" ;;
  esac
  shift
done
[[ $extras =~ ^[a-z0-9]+(,[a-z0-9]+)*$ ]] || wrong "--extras $(quote "$extras"): names with commas between, such as tpu,gcs"

read_settings
check TPU_PROJECT TPU_ZONE TPU_NAME TPU_SLICES
need_gcloud
commit=$(git -C "$root" rev-parse --short=12 HEAD 2>/dev/null) || wrong "$root is not a git checkout with a commit"
if [[ -n $(git -C "$root" status --porcelain --untracked-files=no) ]]; then
  say "uncommitted changes are not copied: installing $commit"
fi

cache=${XDG_CACHE_HOME:-$HOME/.cache}/lrm-jax
archive=$cache/lrm-jax-$commit.tar.gz
call mkdir -p "$cache"
call git -C "$root" archive --format=tar.gz --prefix=lrm-jax/ --output="$archive" HEAD
where=(--project="$TPU_PROJECT" --zone="$TPU_ZONE" --worker=all)
if ((TPU_SLICES > 1)); then
  call gcloud compute tpus queued-resources scp "$archive" "$here/worker.sh" "$TPU_NAME:" --node=all "${where[@]}"
else
  call gcloud compute tpus tpu-vm scp "$archive" "$here/worker.sh" "$TPU_NAME:" "${where[@]}"
fi
on_workers all all "$(quote bash worker.sh install "${archive##*/}" "$extras")"
done_note "installed $commit: next, tpu/run.sh -- lrm train ..."
