#!/usr/bin/env bash
# Compares trees of distinct solutions with flat sampling before the ceiling, on the standard and the
# hard arithmetic task: the tables and the picture of docs/results.md.
# usage: bash scripts/compare.sh [OPTION…]     options go to `llamao1 compare`
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh
compare() { # task, seeds, tokens a run, learning rate of plain GRPO, options
    .venv/bin/llamao1 compare --config "configs/$1.yaml" --out "runs/compare-$1" --algorithms '' \
        --variant "curriculum: grpo search.chains=8 learn.curriculum=0.5" \
        --variant "grpo: grpo search.chains=8 learn.learning_rate=$4" \
        --variant "rlsp: rlsp" \
        --variant "rlsp-curriculum: rlsp learn.curriculum=0.5" \
        --seeds "$2" --budget-tokens "$3" --set replay.draws=1 --set run.threads=1 \
        --set eval.problems=200 --set 'eval.strategies=[greedy]' "${@:5}"
}
compare quickstart 0,1,2,3,4 80000 3e-4 "$@"
compare hard 0,1,2 130000 1.5e-4 "$@"
