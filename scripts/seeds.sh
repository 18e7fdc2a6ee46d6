#!/usr/bin/env bash
# Repeats a configuration on seeds 0, 1 and 2 and prints a table of docs/results.md.
# usage: bash scripts/seeds.sh NAME [OPTION…]     configs/NAME.yaml; options go to `llamao1 train`
set -euo pipefail
cd "$(dirname "$0")/.."
name="${1:-quickstart}"
extras=""
if grep -q 'kind: reasoning_gym' "configs/$name.yaml"; then extras=reasoning-gym; fi
bash scripts/setup.sh "$extras"
for seed in 0 1 2; do
    .venv/bin/llamao1 train --config "configs/$name.yaml" \
        --set run.seed="$seed" --set run.dir="runs/$name-seed$seed" --overwrite "${@:2}"
done
.venv/bin/python scripts/seeds_table.py "runs/$name-seed0" "runs/$name-seed1" "runs/$name-seed2"
