#!/usr/bin/env bash
# Repeats the quickstart on seeds 0, 1 and 2 and prints the table of docs/results.md.
# usage: bash scripts/quickstart_seeds.sh [OPTION…]     options go to `llamao1 train`
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh
for seed in 0 1 2; do
    .venv/bin/llamao1 train --config configs/quickstart.yaml \
        --set run.seed="$seed" --set run.dir="runs/quickstart-seed$seed" --overwrite "$@"
done
.venv/bin/python scripts/seeds_table.py runs/quickstart-seed0 runs/quickstart-seed1 runs/quickstart-seed2
