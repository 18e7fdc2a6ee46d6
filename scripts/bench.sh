#!/usr/bin/env bash
# Measures rollouts of three models at two widths of the tree, and prints the table of docs/speed.md.
# usage: bash scripts/bench.sh [OPTION…]     options go to `llamao1 bench rollout`
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh gguf
[ -d models/smollm2-135m ] || bash scripts/get_smollm2.sh
out=runs/bench
mkdir -p "$out"
measure() { # name, children a node, options of the model
    local name="$1" children="$2"
    shift 2
    .venv/bin/llamao1 bench rollout --max-children "$children" --set search.max_depth=12 \
        --json "$out/$name-$children.json" "$@"
}
build() { # width, heads
    printf -- '--config configs/quickstart.yaml --set model.build.hidden_size=%s --set model.build.heads=%s --set model.build.feed_forward=%s' \
        "$1" "$2" "$((2 * $1))"
}
for children in 2 5; do
    # shellcheck disable=SC2046
    measure 4x128 "$children" $(build 128 4) "$@"
    # shellcheck disable=SC2046
    measure 4x256 "$children" $(build 256 8) "$@"
    # One call of `generate` for all requests takes minutes here and is left out.
    measure smollm2-135m "$children" --model models/smollm2-135m --simulations 4 \
        --set engine.memory_gib=8 --variant reference --variant tree-float32 \
        --variant tree-bfloat16 "$@"
done
.venv/bin/python scripts/bench_table.py "$out"/*.json
