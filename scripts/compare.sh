#!/usr/bin/env bash
# Compares algorithms on the standard and the hard arithmetic task, with two passes over an
# iteration's trees and two of them with a single one: the tables of docs/results.md.
# usage: bash scripts/compare.sh [OPTION…]     options go to `llamao1 compare`
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh
for task in quickstart:90 hard:120; do # its configuration, and the seconds of a run
    .venv/bin/llamao1 compare --config "configs/${task%:*}.yaml" --out "runs/compare-${task%:*}" \
        --variant "rlsp-once: rlsp replay.draws=1" --variant "grpo-once: grpo replay.draws=1" \
        --budget-seconds "${task#*:}" --set replay.draws=2 --set run.threads=1 --set eval.every=10 \
        --set 'eval.strategies=[greedy]' "$@"
done
