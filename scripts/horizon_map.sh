#!/usr/bin/env bash
# Maps where trees pay: from short problems to long ones, trees of distinct solutions, with a
# curriculum and with restarts, against the best flat variant; table and picture of docs/results.md.
# It takes two cores about two hours, and goes on where it was stopped.
# usage: bash scripts/horizon_map.sh [OPTION…]     options go to `llamao1 compare`
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh
map=runs/horizon-map
horizon() { # fewest and most steps, context, warm-up texts, tokens a run, options
    local out="$map/$1-$2"
    .venv/bin/llamao1 compare --config configs/long.yaml --out "$out" --algorithms '' \
        --set task.min_operations="$1" --set task.max_operations="$2" \
        --set search.max_depth="$(($2 + 2))" --set model.max_length="$3" \
        --set warmup.examples="$4" --budget-tokens "$5" --seeds 0,1,2 \
        --variant "grpo: grpo search.chains=8 learn.curriculum=null" \
        --variant "grpo-curriculum: grpo search.chains=8" \
        --variant "rlsp: rlsp learn.curriculum=null" \
        --variant "rlsp-restarts: rlsp learn.curriculum=null replay.restarts.share=0.25" \
        --variant "rlsp-curriculum: rlsp" \
        --set run.threads=1 --set eval.problems=150 --set 'eval.strategies=[greedy]' "${@:6}"
    for seed in 0 1 2; do
        .venv/bin/llamao1 eval --run "$out/start-seed$seed" --set 'eval.strategies=[pass]' \
            --json "$out/start-$seed.json"
    done
}
# Two at a time, a thread each.
(horizon 8 12 448 8000 250000 "$@" && horizon 3 5 256 8000 60000 "$@") &
(horizon 5 8 320 8000 140000 "$@" && horizon 12 16 512 9000 300000 "$@")
wait $!
.venv/bin/python scripts/horizon_map.py "$map"/{3-5,5-8,8-12,12-16} --picture docs/images/horizons.svg
