#!/usr/bin/env bash
# Measures optimizer steps on packed trees against their padded paths: the quickstart's own trees, and
# trees of the lengths of GSM8K with SmolLM2-135M.
# usage: bash scripts/bench_update.sh [OPTION…]     options go to `llamao1 bench update`
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh gguf
[ -d models/smollm2-135m ] || bash scripts/get_smollm2.sh
out=runs/bench
.venv/bin/llamao1 train --config configs/quickstart.yaml --overwrite --set run.dir="$out/trees" \
    --set run.iterations=6 --set eval.problems=1 --set 'eval.strategies=[greedy]'
.venv/bin/llamao1 bench update --config configs/quickstart.yaml --trees 32 \
    --stored "$out/trees/trees/iteration-000006.jsonl" --json "$out/update-quickstart.json" "$@"
.venv/bin/llamao1 bench update --model models/smollm2-135m --set search.algorithm=forks \
    --set search.max_depth=6 --prompt-tokens 100-150 --thought-tokens 30-50 --trees 1 \
    --json "$out/update-smollm2.json" "$@"
