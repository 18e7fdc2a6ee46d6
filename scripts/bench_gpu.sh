#!/usr/bin/env bash
# The same measurement on a GPU: a Llama with random weights in bf16, of about 1.3 billion parameters.
# usage: bash scripts/bench_gpu.sh [OPTION…]     options go to `llamao1 bench rollout`
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh
mkdir -p runs/bench
.venv/bin/llamao1 bench rollout --config configs/quickstart.yaml \
    --set model.device=cuda --set model.dtype=bfloat16 --set run.threads=0 \
    --set model.build.hidden_size=2048 --set model.build.layers=24 --set model.build.heads=16 \
    --set model.build.feed_forward=5632 --set engine.memory_gib=60 --set search.max_depth=12 \
    --trees 128 --variant reference --variant generate --variant tree-bfloat16 \
    --json runs/bench/gpu.json "$@"
.venv/bin/python scripts/bench_table.py runs/bench/gpu.json
