#!/usr/bin/env bash
# Compares test-time strategies at equal cost on the runs of `bash scripts/seeds.sh quickstart`, and
# prints the table of docs/results.md.
# usage: bash scripts/equal_cost.sh [OPTION…]     options go to `llamao1 eval`
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh
strategies=greedy,majority,weighted_vote,mass,mass_value,pass,pass_distinct
files=()
for seed in 0 1 2; do
    run="runs/quickstart-seed$seed"
    .venv/bin/llamao1 eval --run "$run" --budget 100,150,200,350 --json "$run/equal-cost.json" \
        --set "eval.strategies=[$strategies]" --set eval.problems=200 "$@"
    files+=("$run/equal-cost.json")
done
.venv/bin/python scripts/budget_table.py "${files[@]}"
