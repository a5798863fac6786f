#!/usr/bin/env bash
# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
#
# tpu/env.sh [--gke] [--slices] [--dry-run]
#
# Checks the settings (tpu/tpu.env and the environment, which wins) and prints them as
# NAME=VALUE, with what follows from the accelerator type. Runs no other program.
#
#   --gke       check the settings of tpu/gke.sh, too
#   --slices    list the accelerator types instead: topology, chips, hosts, chips a host,
#               GKE label, machine type of a GKE node, TPU VM software version
#   --dry-run   the same: nothing is changed anyway
set -euo pipefail
# shellcheck source=tpu/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

gke=no slices=no
while (($#)); do
  case $1 in
    --help) usage; exit 0 ;;
    --dry-run) ;;
    --gke) gke=yes ;;
    --slices) slices=yes ;;
    *) wrong "unknown word $(quote "$1"): --gke, --slices or --dry-run" ;;
  esac
  shift
done

if [[ $slices == yes ]]; then
  grep -v '^#' "$here/slices.tsv"
  exit 0
fi

read_settings
check TPU_PROJECT TPU_ZONE TPU_NAME TPU_ACCELERATOR TPU_TIER TPU_SLICES TPU_SERVICE_ACCOUNT TPU_RUN_DIR TPU_CACHE_DIR
if [[ $gke == yes ]]; then
  check GKE_CONTEXT GKE_NAMESPACE GKE_IMAGE GKE_SERVICE_ACCOUNT GKE_MAX_RESTARTS
else
  check TPU_RUNTIME
fi
for name in "${settings[@]}"; do
  [[ $gke == yes || $name != GKE_* ]] || continue
  printf '%s=%s\n' "$name" "${!name}"
done
printf '# %s: topology %s, %s chips on %s hosts of %s; %s in all\n' "$TPU_ACCELERATOR" "$slice_topology" \
  "$slice_chips" "$slice_hosts" "$slice_per_host" "$((slice_chips * TPU_SLICES)) chips"
if [[ $gke == yes ]]; then
  printf '# GKE: label %s, node pools of machine type %s\n' "$slice_gke" "$slice_machine"
fi
