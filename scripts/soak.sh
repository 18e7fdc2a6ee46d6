#!/usr/bin/env bash
# The long cases, one line each: what | how often | lost | result. About half an hour of one core.
# usage: bash scripts/soak.sh [OPTION…]     options go to pytest, such as -k killed
#   LLAMAO1_FUZZ=20000 inputs for each of the readers, of which there are twelve
#   LLAMAO1_SOAK_ITERATIONS=200 iterations of the run whose memory is watched
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh test,openai
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" TOKENIZERS_PARALLELISM=false
export LLAMAO1_FUZZ="${LLAMAO1_FUZZ:-20000}"
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
status=0
PYTHONUNBUFFERED=1 .venv/bin/pytest -m "soak or fuzz" -s "$@" 2>&1 | tee "$log" |
    sed -un 's/^\.*soak | //p' || status=$?
if [ "$status" != 0 ]; then
    tail -n 40 "$log" >&2
fi
exit "$status"
