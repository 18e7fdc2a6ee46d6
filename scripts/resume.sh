#!/usr/bin/env bash
# Trains, and goes on from the last checkpoint whenever a signal ended the run.
# usage: bash scripts/resume.sh CONFIG [OPTION…]     options go to `llamao1 train`
#   TRIES=10 sets how often it starts, PYTHON=… what runs it
set -euo pipefail
cd "$(dirname "$0")/.."
config="${1:?usage: bash scripts/resume.sh CONFIG [OPTION…]}"
shift
for _ in $(seq "${TRIES:-10}"); do
    code=0
    "${PYTHON:-python}" -m llamao1_cli train --config "$config" --resume "$@" || code=$?
    # Exit codes from 128 on are signals; after any other a further try would end the same.
    [ "$code" -ge 128 ] || exit "$code"
    echo "resume: a signal ended the run (exit code $code); it goes on from its last checkpoint" >&2
done
exit "$code"
