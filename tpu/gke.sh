#!/usr/bin/env bash
# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
#
# tpu/gke.sh VERB [options] [-- COMMAND...]
#
# One JobSet of the name TPU_NAME on GKE: every host of the slice runs COMMAND in a
# container. It restarts after any end but exit codes 0 and 2, and resumes from the run folder.
#
#   render -- COMMAND...   print the manifest (tpu/jobset.yaml with the settings in)
#   apply -- COMMAND...    apply it; applied again while it runs, nothing changes
#       --replace NAME       a finished JobSet of this exact name may be deleted first
#   status                 the JobSet and its pods
#   logs                   of host 0 of slice 0
#       --worker N, --slice N, --lines N, --follow
#   delete NAME            the JobSet of exactly this name; TPU_NAME is not used
#
#   --env NAME=VALUE       render, apply: set in the environment of COMMAND (repeated)
#   --dry-run              print the commands, where nothing is there yet; run none
#
# `lrm train` without --run-dir gets TPU_RUN_DIR.
#
#   tpu/gke.sh apply -- lrm train hrm_sudoku data.path=generate --distributed
#
# Settings: TPU_NAME TPU_ACCELERATOR TPU_TIER TPU_SLICES TPU_RUN_DIR TPU_CACHE_DIR GKE_IMAGE
# GKE_SERVICE_ACCOUNT GKE_NAMESPACE GKE_CONTEXT GKE_MAX_RESTARTS. Exit: 0, 1 the JobSet has
# failed, 2 wrong input, else kubectl's code.
set -euo pipefail
# shellcheck source=tpu/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

verb=${1:-}
(($# == 0)) || shift
case $verb in
  --help) usage; exit 0 ;;
  render | apply | status | logs | delete) ;;
  *) wrong "what to do: render, apply, status, logs or delete, not $(quote "$verb")" ;;
esac
replace="" environment=() words=() follow=() worker=0 slice=0 lines=200 name=""
while (($#)); do
  case $verb:$1 in
    *:--help) usage; exit 0 ;;
    *:--dry-run) dry_run=yes ;;
    apply:--replace) value_of "$@"; replace=$2; shift ;;
    render:--env | apply:--env) value_of "$@"; environment+=("$2"); shift ;;
    logs:--worker) value_of "$@"; worker=$2; shift ;;
    logs:--slice) value_of "$@"; slice=$2; shift ;;
    logs:--lines) value_of "$@"; lines=$2; shift ;;
    logs:--follow) follow=(--follow) ;;
    render:-- | apply:--) shift; words=("$@"); break ;;
    delete:[!-]*) [[ -z $name ]] || wrong "one name at a time, not also $(quote "$1")"; name=$1 ;;
    *) wrong "unknown word $(quote "$1") for $verb: see --help" ;;
  esac
  shift
done

json() { # WORD: a JSON string, which is a YAML one; Kubernetes would expand $(NAME) in it
  local text=${1//\\/\\\\}
  text=${text//\"/\\\"}
  printf '"%s"' "${text//\$(/\$\$(}"
}

list() { # WORDS...: a JSON list
  local word text=""
  for word in "$@"; do text+=${text:+, }$(json "$word"); done
  printf '[%s]' "$text"
}

variables() { # NAME=VALUE...: a JSON list of a container's environment
  local pair text=""
  for pair in "$@"; do
    [[ $pair =~ ^[A-Za-z_][A-Za-z0-9_]*= ]] || wrong "--env $(quote "$pair"): NAME=VALUE"
    text+="${text:+, }{\"name\": $(json "${pair%%=*}"), \"value\": $(json "${pair#*=}")}"
  done
  printf '[%s]' "$text"
}

# shellcheck disable=SC2034  # the names in capitals are read by manifest, through the template
prepare() { # the settings and the command, checked; sets what the manifest names
  check TPU_NAME TPU_ACCELERATOR TPU_TIER TPU_SLICES TPU_RUN_DIR TPU_CACHE_DIR
  check GKE_CONTEXT GKE_NAMESPACE GKE_IMAGE GKE_SERVICE_ACCOUNT GKE_MAX_RESTARTS
  ((TPU_SLICES == 1 || slice_hosts > 1)) || wrong "TPU_SLICES=$TPU_SLICES: GKE joins slices of several hosts only, and $TPU_ACCELERATOR has one"
  ((${#TPU_NAME} <= 40)) || wrong "TPU_NAME=$TPU_NAME: at most 40 letters on GKE, where pods append to it"
  ((${#words[@]})) || wrong "no command: tpu/gke.sh $verb -- lrm train PRESET ..."
  [[ -z $TPU_CACHE_DIR ]] || environment=("JAX_COMPILATION_CACHE_DIR=$TPU_CACHE_DIR" "${environment[@]}")
  no_control "${words[@]}" "${environment[@]}"
  settle_run_dir no
  HOSTS=$slice_hosts CHIPS_PER_HOST=$slice_per_host TOPOLOGY=$slice_topology GKE_ACCELERATOR=$slice_gke
  COMMAND=$(list "${words[@]}")
  ENVIRONMENT=$(variables "${environment[@]}")
}

manifest() { # the template, each ${NAME} replaced once
  local line out rest
  while IFS= read -r line; do
    [[ $line != \#* ]] || continue
    if [[ $line =~ ^(\ *)#spot\ (.*)$ ]]; then
      [[ $TPU_TIER == spot ]] || continue
      line=${BASH_REMATCH[1]}${BASH_REMATCH[2]}
    fi
    out="" rest=$line
    while [[ $rest =~ ^([^\$]*)\$\{([A-Z_]+)\}(.*)$ ]]; do
      out+=${BASH_REMATCH[1]}${!BASH_REMATCH[2]} rest=${BASH_REMATCH[3]}
    done
    printf '%s\n' "$out$rest"
  done <"$here/jobset.yaml"
}

cluster() { # WORDS...: kubectl in the right place
  call kubectl ${GKE_CONTEXT:+--context="$GKE_CONTEXT"} --namespace="$GKE_NAMESPACE" "$@"
}

remove() { cluster delete jobset "$1" --ignore-not-found --wait; }

apply() {
  local state
  state=$(cluster get jobset "$TPU_NAME" --ignore-not-found --output='jsonpath={.status.terminalState}')
  if [[ -n $state && $replace == "$TPU_NAME" ]]; then
    say "$TPU_NAME is $state: deleting it"
    remove "$TPU_NAME"
  elif [[ $state == Completed ]]; then
    say "$TPU_NAME is Completed: nothing to do (again from the run folder: --replace $TPU_NAME)"
    exit 0
  elif [[ -n $state ]]; then
    die 1 "$TPU_NAME is $state: tpu/gke.sh logs says why, --replace $TPU_NAME deletes it and applies"
  fi
  if [[ $dry_run == yes ]]; then
    printf "%s <<'MANIFEST'\n%s\nMANIFEST\n" "$(cluster apply --filename=- 3>&1)" "$(manifest)"
  else
    manifest | cluster apply --filename=-
    say "applied: tpu/gke.sh logs --follow"
  fi
}

logs() {
  [[ $worker =~ ^[0-9]{1,4}$ ]] || wrong "--worker $(quote "$worker"): an index from 0"
  [[ $slice =~ ^[0-9]{1,3}$ ]] || wrong "--slice $(quote "$slice"): an index from 0"
  [[ $lines =~ ^[0-9]{1,6}$ ]] || wrong "--lines $(quote "$lines"): a number"
  local selector="jobset.sigs.k8s.io/jobset-name=$TPU_NAME,jobset.sigs.k8s.io/job-index=$slice"
  cluster logs --selector="$selector,batch.kubernetes.io/job-completion-index=$worker" --container=train --tail="$lines" "${follow[@]}"
}

read_settings
case $verb in
  render) prepare; manifest ;;
  apply)
    prepare
    [[ -z $replace || $replace == "$TPU_NAME" ]] || wrong "--replace $(quote "$replace"): TPU_NAME is $TPU_NAME; nothing else is touched"
    need_kubectl
    apply
    ;;
  status)
    check TPU_NAME GKE_CONTEXT GKE_NAMESPACE
    need_kubectl
    cluster get jobset "$TPU_NAME" --ignore-not-found
    cluster get pods --selector="jobset.sigs.k8s.io/jobset-name=$TPU_NAME" --output=wide
    ;;
  logs)
    check TPU_NAME GKE_CONTEXT GKE_NAMESPACE
    need_kubectl
    logs
    ;;
  delete)
    [[ -n $name ]] || wrong "say the exact name of what is to be deleted: tpu/gke.sh delete NAME"
    TPU_NAME=$name
    check TPU_NAME GKE_CONTEXT GKE_NAMESPACE
    need_kubectl
    remove "$name"
    ;;
esac
