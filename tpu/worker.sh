#!/usr/bin/env bash
# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
#
# worker.sh VERB: the part of tpu/ that runs on a worker; tpu/setup.sh puts it there.
#
#   install ARCHIVE EXTRAS   a commit of LRM-JAX from ~/ARCHIVE into ~/lrm-jax/venv
#   start [--restarts N] [--env NAME=VALUE]... -- COMMAND...
#                            detached; leaves the same command alone where it runs (0),
#                            refuses another one (2)
#   stop                     SIGTERM, a minute to save
#   status                   one line
#   log [--lines N] [--follow]
#
# --dry-run as the first word prints what would be run, and changes nothing.
# The folder is LRM_WORKER_HOME (default: ~/lrm-jax): src/, venv/, job/{command,pid,state,log}.
set -euo pipefail

base=${LRM_WORKER_HOME:-$HOME/lrm-jax}
job=$base/job
dry_run=no

die() { # CODE MESSAGE
  printf '%s: %s\n' "$(uname -n)" "$2" >&2
  exit "$1"
}

call() {
  if [[ $dry_run == yes ]]; then
    printf '%q ' "$@"
    printf '\n'
  else
    "$@"
  fi
}

say() { printf '%s: %s\n' "$(uname -n)" "$1"; }

is_free() { # nobody holds the lock, which a job holds until its last process is gone
  [[ ! -e $job/lock ]] || flock --nonblock "$job/lock" true
}

install() {
  [[ $# == 2 ]] || die 2 "install ARCHIVE EXTRAS"
  local archive=$HOME/$1 mark="$1 $2" uv
  if [[ -e $base/installed && $(<"$base/installed") == "$mark" ]]; then
    say "$mark is installed"
    return
  fi
  is_free || die 2 "a job runs: tpu/stop.sh before another installation"
  command -v python3 >/dev/null || die 1 "python3 is not on PATH: another TPU_RUNTIME"
  call rm -rf "$base/src" "$base/installed"
  call mkdir -p "$base/src"
  call tar -xzf "$archive" -C "$base/src" --strip-components=1
  # The images bring Python 3.10; uv, for this user alone, fetches a newer one.
  call env PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --user --quiet --upgrade uv
  uv=$HOME/.local/bin/uv
  call "$uv" venv --quiet --allow-existing --python 3.12 "$base/venv"
  call "$uv" pip install --quiet --python "$base/venv/bin/python" -e "$base/src[$2]"
  [[ $dry_run == yes ]] || printf '%s' "$mark" >"$base/installed"
  say "installed $mark"
}

start() {
  local restarts=0 environment=()
  while (($#)); do
    case $1 in
      --restarts) restarts=$2; shift ;;
      --env) environment+=("$2"); shift ;;
      --) shift; break ;;
      *) die 2 "unknown word $1" ;;
    esac
    shift
  done
  (($#)) || die 2 "no command"
  command -v flock >/dev/null || die 1 "flock is not on PATH"
  if [[ $dry_run == yes ]]; then
    call env "${environment[@]}" "$@"
    return
  fi
  mkdir -p "$job"
  exec 9>"$job/lock"
  if ! flock --nonblock 9; then
    printf '%s\0' "${environment[@]}" -- "$@" | cmp -s - "$job/command" ||
      die 2 "another job runs: $(tr '\0' ' ' <"$job/command"): tpu/stop.sh ends it"
    say "runs already"
    return
  fi
  printf '%s\0' "${environment[@]}" -- "$@" >"$job/command"
  # The lock goes with the open file: held until supervisor and command are both gone.
  setsid nohup bash "${BASH_SOURCE[0]}" supervise "$restarts" "${environment[@]}" -- "$@" </dev/null >>"$job/log" 2>&1 &
  say "started"
}

supervise() { # RESTARTS NAME=VALUE... -- COMMAND...: in its own session, from start
  local restarts=$1 tries=0 code child="" interrupted=no stopping=no
  shift
  while [[ $1 != -- ]]; do
    export "${1?}"
    shift
  done
  shift
  trap 'stopping=yes interrupted=yes; [[ -z $child ]] || kill -TERM "$child" 2>/dev/null || true' TERM
  echo $$ >"$job/pid"
  [[ ! -d $base/src ]] || cd "$base/src"
  PATH=$base/venv/bin:$PATH
  while :; do
    printf '== %s: %s\n' "$(date -u +%FT%TZ)" "$*"
    echo "running since $(date -u +%FT%TZ)" >"$job/state"
    "$@" &
    child=$!
    [[ $stopping == no ]] || kill -TERM "$child" 2>/dev/null || true
    while :; do
      interrupted=no code=0
      wait "$child" || code=$?
      [[ $interrupted == yes ]] || break # a trap ends the wait, not the child
    done
    printf '== %s: ended with code %s\n' "$(date -u +%FT%TZ)" "$code"
    echo "ended with code $code at $(date -u +%FT%TZ)" >"$job/state"
    tries=$((tries + 1))
    # 2 is wrong input: again would be the same.
    if [[ $code == 0 || $code == 2 || $stopping == yes ]] || ((tries > restarts)); then break; fi
    sleep "${LRM_WORKER_PAUSE_S:-5}"
    [[ $stopping == no ]] || break
  done
}

stop() {
  if is_free; then
    say "no job runs"
    return
  fi
  local pid
  pid=$(<"$job/pid")
  # Where the supervisor was killed the command is still in its process group.
  if [[ $(ps -o stat= -p "$pid") == [!Z]* ]]; then call kill -TERM "$pid"; else call kill -TERM -- "-$pid"; fi
  [[ $dry_run == no ]] || return 0
  flock --wait "${LRM_WORKER_STOP_S:-60}" "$job/lock" true || die 1 "the job still runs a minute after SIGTERM (process group $pid)"
  status
}

status() {
  local installed="nothing installed" state="no job yet"
  [[ ! -e $base/installed ]] || installed=$(<"$base/installed")
  [[ ! -e $job/state ]] || state=$(<"$job/state")
  # Killed outright, the supervisor wrote no end.
  if [[ $state == running* ]] && is_free; then state="gone, was $state"; fi
  say "$installed; $state"
}

log() {
  local lines=200 follow=()
  while (($#)); do
    case $1 in
      --lines) lines=$2; shift ;;
      --follow) follow=(-F) ;;
      *) die 2 "unknown word $1" ;;
    esac
    shift
  done
  [[ -e $job/log ]] || die 1 "no log yet: tpu/run.sh -- COMMAND"
  if ((${#follow[@]})); then
    is_free && follow=() || follow+=(--sleep-interval=0.2 --pid="$(<"$job/pid")")
  fi
  call tail -n "$lines" "${follow[@]}" "$job/log"
}

if [[ ${1:-} == --dry-run ]]; then
  dry_run=yes
  shift
fi
case ${1:-} in
  install | start | stop | status | log | supervise) "$@" ;;
  --help) sed -n '5,/^[^#]/{s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}" ;;
  *) die 2 "install, start, stop, status or log" ;;
esac
