#!/usr/bin/env bash
# Measures replay: each iteration's trees alone, or as many again drawn from those of up to 4
# iterations, uniformly or by priority.
# usage: bash scripts/replay_study.sh [OPTION…]     options go to `llamao1 compare`
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh
variants=()
for age in 1 2 3 4; do
    settings="rlsp replay.draws=2 replay.max_age=$age"
    variants+=(--variant "uniform-$age: $settings")
    variants+=(--variant "prioritised-$age: $settings replay.alpha=0.6")
done
.venv/bin/llamao1 compare --config configs/quickstart.yaml --out runs/replay --algorithms rlsp \
    --variant "epochs-2: rlsp replay.draws=2" "${variants[@]}" --budget-tokens 100000 \
    --set 'eval.strategies=[greedy]' "$@"
