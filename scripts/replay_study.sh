#!/usr/bin/env bash
# Measures replay: each iteration's trees once, twice (the default) and three times, or as many as
# two passes drawn from those of up to 4 iterations, uniformly or by priority. On trees with forks.
# usage: bash scripts/replay_study.sh [OPTION…]     options go to `llamao1 compare`
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh
forks=(--set search.algorithm=forks --set search.chains=6 --set search.forks=2
    --set learn.learning_rate=7.5e-5)
variants=(--variant "rlsp-once-fast: rlsp replay.draws=1 learn.learning_rate=1.5e-4")
for algorithm in rlsp grpo; do
    variants+=(--variant "$algorithm-once: $algorithm replay.draws=1")
    variants+=(--variant "$algorithm-thrice: $algorithm replay.draws=3")
done
for age in 1 2 3 4; do
    settings="rlsp replay.max_age=$age"
    variants+=(--variant "uniform-$age: $settings")
    variants+=(--variant "prioritised-$age: $settings replay.alpha=0.6")
done
.venv/bin/llamao1 compare --config configs/quickstart.yaml --out runs/replay --algorithms rlsp,grpo \
    "${forks[@]}" "${variants[@]}" --budget-tokens 100000 --set replay.draws=2 --set run.threads=1 \
    --set 'eval.strategies=[greedy]' "$@"
