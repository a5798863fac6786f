# shellcheck shell=bash
# shellcheck disable=SC2034  # what is set here is read by the scripts that source it
# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
#
# What the scripts of this folder share: settings and their checks, the table of
# slices, and the one place that runs a command or, with --dry-run, prints it.
# Sourced, never run.

if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 404)); then
  printf '%s: bash %s is too old: 4.4 or newer (on macOS: brew install bash)\n' "${0##*/}" "$BASH_VERSION" >&2
  exit 2
fi
set -euo pipefail
shopt -s inherit_errexit

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
dry_run=no
# Dry-run lines go to the script's own standard output, also from within $( ).
exec 3>&1

# --- words and messages -------------------------------------------------------

die() { # CODE MESSAGE: one line, and out
  printf '%s: %s\n' "${0##*/}" "${2//[[:cntrl:]]/?}" >&2
  exit "$1"
}

wrong() { die 2 "$1"; } # what the caller has to mend

say() { printf '%s\n' "$1" >&2; }

done_note() { [[ $dry_run == yes ]] || say "$1"; } # what a dry run has not done it does not claim

usage() { # the comment at the top of the script, after the licence
  sed -n '5,/^[^#]/{s/^# \{0,1\}//p;}' "$0"
}

quote() { # WORDS...: one line that a POSIX shell reads back as these words
  local word line="" safe='^[A-Za-z0-9_@%+=:,./-]+$' tick="'" escaped="'\"'\"'"
  for word in "$@"; do
    [[ $word =~ $safe ]] || word=$tick${word//"$tick"/"$escaped"}$tick
    line+=${line:+ }$word
  done
  printf '%s' "$line"
}

no_control() { # WORDS...: refuse what no shell, log line or manifest carries whole
  local word
  for word in "$@"; do
    [[ $word != *[[:cntrl:]]* ]] || wrong "a word of the command has a line break, tab or other control character: $(printf '%q' "$word")"
  done
}

value_of() { # OPTION [VALUE]: for options that take one
  [[ $# -ge 2 && -n $2 ]] || wrong "$1 takes a value"
}

# --- running ------------------------------------------------------------------

need() { # PROGRAM HOW: in one line, unless nothing is run anyway
  [[ $dry_run == yes ]] || command -v "$1" >/dev/null || wrong "$1 is not on PATH: $2"
}

need_gcloud() { need gcloud "install the Google Cloud CLI, https://cloud.google.com/sdk/docs/install"; }

need_kubectl() { need kubectl "gcloud components install kubectl, or https://kubernetes.io/docs/tasks/tools/"; }

call() { # WORDS...: run, or with --dry-run print
  if [[ $dry_run == yes ]]; then
    printf '%s\n' "$(quote "$@")" >&3
  else
    "$@"
  fi
}

# --- settings -----------------------------------------------------------------

settings=(
  TPU_PROJECT TPU_ZONE TPU_NAME TPU_ACCELERATOR TPU_RUNTIME TPU_TIER TPU_SLICES TPU_SERVICE_ACCOUNT
  TPU_RUN_DIR TPU_CACHE_DIR
  GKE_CONTEXT GKE_NAMESPACE GKE_IMAGE GKE_SERVICE_ACCOUNT GKE_MAX_RESTARTS
)

read_settings() { # the file of NAME=VALUE lines; what is set in the environment wins
  local file=${TPU_ENV_FILE-$here/tpu.env} line name value number=0
  if [[ ! -e $file ]]; then
    [[ -z ${TPU_ENV_FILE:-} ]] || wrong "TPU_ENV_FILE=$TPU_ENV_FILE: there is no such file"
  else
    while IFS= read -r line || [[ -n $line ]]; do
      number=$((number + 1))
      [[ $line =~ ^[[:space:]]*(#.*)?$ ]] && continue
      [[ $line =~ ^([A-Z_]+)=([^[:space:]\"\']*)[[:space:]]*(#.*)?$ ]] ||
        wrong "$file:$number: not NAME=VALUE without quotes or spaces: $line"
      name=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
      [[ " ${settings[*]} " == *" $name "* ]] || wrong "$file:$number: $name is none of: ${settings[*]}"
      [[ -n ${!name+set} ]] || printf -v "$name" '%s' "$value"
    done <"$file"
  fi
  for name in "${settings[@]}"; do
    [[ -n ${!name+set} ]] || printf -v "$name" '%s' ""
  done
  TPU_TIER=${TPU_TIER:-on-demand}
  TPU_SLICES=${TPU_SLICES:-1}
  GKE_NAMESPACE=${GKE_NAMESPACE:-default}
  GKE_MAX_RESTARTS=${GKE_MAX_RESTARTS:-50}
}

check() { # NAMES...: each by the rule of its own, in the order given
  local name
  for name in "$@"; do "check_$name"; done
}

matches() { # NAME REGEX WHAT: the value of NAME in full, or one line that says what it should be
  local value=${!1}
  [[ -n $value ]] || wrong "$1 is not set: $3 (in the environment or in tpu/tpu.env)"
  [[ $value =~ ^($2)$ ]] || wrong "$1=$(quote "$value"): $3"
}

dns_label='[a-z]([-a-z0-9]{0,61}[a-z0-9])?'

check_TPU_PROJECT() {
  matches TPU_PROJECT '([a-z0-9.-]+:)?[a-z][-a-z0-9]{4,28}[a-z0-9]' \
    "a project id: 6 to 30 lower-case letters, digits and hyphens, a letter first, no hyphen last"
}
check_TPU_ZONE() {
  matches TPU_ZONE '[a-z]+-[a-z]+[0-9]+-([a-z]|ai[0-9]+[a-z])' "a zone, such as us-central2-b or europe-west4-a"
}
check_TPU_NAME() {
  matches TPU_NAME "$dns_label" "a name: 1 to 63 lower-case letters, digits and hyphens, a letter first, no hyphen last"
}
check_TPU_TIER() { matches TPU_TIER 'on-demand|spot|reserved' "on-demand, spot or reserved"; }
check_TPU_SLICES() { matches TPU_SLICES '[1-9][0-9]{0,2}' "a number of slices, 1 to 999"; }
check_TPU_SERVICE_ACCOUNT() {
  [[ -z $TPU_SERVICE_ACCOUNT ]] || matches TPU_SERVICE_ACCOUNT '[a-z0-9.-]+@[a-z0-9.-]+\.gserviceaccount\.com' \
    "the e-mail address of a service account, NAME@PROJECT.iam.gserviceaccount.com, or empty"
}
check_TPU_RUN_DIR() { [[ -z $TPU_RUN_DIR ]] || check_gcs TPU_RUN_DIR "$TPU_RUN_DIR"; }
check_TPU_CACHE_DIR() { [[ -z $TPU_CACHE_DIR ]] || check_gcs TPU_CACHE_DIR "$TPU_CACHE_DIR"; }
check_GKE_CONTEXT() {
  [[ -z $GKE_CONTEXT ]] || matches GKE_CONTEXT '[A-Za-z0-9][A-Za-z0-9_.:@/-]*' "a context that \`kubectl config get-contexts\` lists"
}
check_GKE_NAMESPACE() { matches GKE_NAMESPACE "$dns_label" "a Kubernetes namespace: lower-case letters, digits and hyphens"; }
check_GKE_IMAGE() {
  matches GKE_IMAGE '[a-z0-9][a-z0-9._:-]*(/[a-z0-9][a-z0-9._-]*)+(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?' \
    "an image with its registry, such as us-docker.pkg.dev/PROJECT/REPOSITORY/lrm-jax:TAG"
}
check_GKE_SERVICE_ACCOUNT() {
  matches GKE_SERVICE_ACCOUNT "$dns_label(\.$dns_label)*" \
    "the Kubernetes service account that may write the run folder (Workload Identity)"
}
check_GKE_MAX_RESTARTS() { matches GKE_MAX_RESTARTS '[0-9]{1,4}' "a number of restarts, 0 to 9999"; }

check_gcs() { # WHAT PATH: Google's rules for buckets; of objects those that need no quoting anywhere
  local bucket=${2#gs://} path
  path=${bucket#*/} bucket=${bucket%%/*}
  [[ $2 =~ ^gs://[^/]+/.+$ && $bucket =~ ^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$ && $bucket != goog* && $bucket != *google* ]] ||
    wrong "$1=$(quote "$2"): gs://BUCKET/PATH, the bucket 3 to 63 lower-case letters, digits, hyphens, dots and underscores"
  [[ $path =~ ^[A-Za-z0-9._=@+-]+(/[A-Za-z0-9._=@+-]+)*/?$ && $path != *..* ]] ||
    wrong "$1=$(quote "$2"): after the bucket, letters, digits and . _ = @ + - between single slashes"
}

# --- slices -------------------------------------------------------------------

find_slice() { # ACCELERATOR: sets slice_* from slices.tsv; 1 where there is none
  local name rest
  while IFS=$'\t' read -r name rest; do
    [[ $name == "$1" ]] || continue
    IFS=$'\t' read -r slice_topology slice_chips slice_hosts slice_per_host slice_gke slice_machine slice_runtime <<<"$rest"
    return 0
  done <"$here/slices.tsv"
  return 1
}

check_TPU_ACCELERATOR() {
  local known
  [[ -n $TPU_ACCELERATOR ]] || wrong "TPU_ACCELERATOR is not set: an accelerator type, such as v5litepod-16 (tpu/env.sh --slices lists them)"
  if ! find_slice "$TPU_ACCELERATOR"; then
    known=$(awk -F'\t' -v kind="${TPU_ACCELERATOR%%-*}" '$1 ~ "^" kind "-" {printf "%s ", $1}' "$here/slices.tsv" 2>/dev/null || true)
    [[ -n $known ]] || known=$(awk -F'\t' '!/^#/ {sub(/-.*/, "-N", $1); if (!seen[$1]++) printf "%s ", $1}' "$here/slices.tsv")
    wrong "TPU_ACCELERATOR=$(quote "$TPU_ACCELERATOR"): none of ${known% } (tpu/env.sh --slices lists all)"
  fi
}

check_TPU_RUNTIME() { # after TPU_ACCELERATOR
  [[ $slice_runtime != - ]] ||
    wrong "TPU_ACCELERATOR=$TPU_ACCELERATOR: the Cloud TPU API has no such machine; GKE has: tpu/gke.sh"
  TPU_RUNTIME=${TPU_RUNTIME:-$slice_runtime}
  matches TPU_RUNTIME 'v2-alpha-tpuv[0-9][a-z0-9]*(-[a-z0-9]+)*|tpu-ubuntu[0-9]{4}-base|tpu-vm-[a-z0-9]+([.-][a-z0-9]+)*' \
    "a TPU software version, such as $slice_runtime (gcloud compute tpus tpu-vm versions list)"
  local own=$slice_runtime
  [[ $TPU_ACCELERATOR != v4-* ]] || own=v2-alpha-tpuv4
  if [[ $TPU_RUNTIME == v2-alpha-* && $TPU_RUNTIME != "$own" && $TPU_RUNTIME != "$own"-* ]] ||
    [[ $TPU_RUNTIME == v2-alpha-tpuv5-lite* && $TPU_ACCELERATOR == v5p-* ]]; then
    wrong "TPU_RUNTIME=$TPU_RUNTIME: made for another chip; $TPU_ACCELERATOR takes $slice_runtime"
  fi
}

# --- queued resources and workers ----------------------------------------------

queue_state() { # "STATE ACCELERATOR" of the request of this exact name; nothing where there is none
  call gcloud compute tpus queued-resources list --project="$TPU_PROJECT" --zone="$TPU_ZONE" \
    --filter="name~\"/queuedResources/$1\$\"" \
    --format='value[separator=" "](state.state,tpu.nodeSpec[0].node.acceleratorType.basename())'
}

on_workers() { # NODE WORKER COMMAND: a shell line on these workers ("all", or an index)
  local where=(--project="$TPU_PROJECT" --zone="$TPU_ZONE" --worker="$2" --command="$3")
  if ((TPU_SLICES > 1)); then
    call gcloud compute tpus queued-resources ssh "$TPU_NAME" --node="$1" "${where[@]}"
  else
    call gcloud compute tpus tpu-vm ssh "$TPU_NAME" "${where[@]}"
  fi
}

# --- the command of a run -------------------------------------------------------

run_dir_of() { # WORDS...: what --run-dir says in an `lrm` line
  local before="" word
  for word in "$@"; do
    [[ $before != --run-dir && $before != --run_dir ]] || { printf '%s' "$word"; return; }
    case $word in --run-dir=* | --run_dir=*) printf '%s' "${word#*=}"; return ;; esac
    before=$word
  done
}

settle_run_dir() { # LOCAL-OK: `words` of an `lrm train` get a folder that outlives the machine
  local found
  [[ ${words[0]} == lrm && ${words[1]:-} == train ]] || return 0
  found=$(run_dir_of "${words[@]}")
  if [[ -z $found ]]; then
    [[ -n $TPU_RUN_DIR ]] || wrong "lrm train without a run folder: set TPU_RUN_DIR=gs://BUCKET/PATH, or say --run-dir"
    words+=(--run-dir "$TPU_RUN_DIR")
  elif [[ $found == gs://* ]]; then
    check_gcs --run-dir "$found"
  elif [[ $1 != yes ]]; then
    wrong "--run-dir $(quote "$found"): on the worker's own disk, lost with it; gs://BUCKET/PATH, or --local-run-dir before the -- to accept that"
  fi
}
