#!/usr/bin/env bash
# Compares algorithms on the standard and the hard arithmetic task: the tables of the README.
# usage: bash scripts/compare.sh [OPTION…]     options go to `llamao1 compare`
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh
for task in quickstart:90 hard:120; do # its configuration, and the seconds of a run
    .venv/bin/llamao1 compare --config "configs/${task%:*}.yaml" --out "runs/compare-${task%:*}" \
        --budget-seconds "${task#*:}" --set run.threads=1 --set eval.every=10 \
        --set 'eval.strategies=[greedy]' "$@"
done
