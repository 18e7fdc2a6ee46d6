#!/usr/bin/env bash
# Runs TRL's GRPOTrainer from the starts of a comparison, in an environment of its own.
# usage: bash scripts/compare_trl.sh COMPARISON SECONDS [SEED…]
#   COMPARISON is the --out folder of `llamao1 compare`; without seeds: 0 1 2
set -euo pipefail
cd "$(dirname "$0")/.."
comparison="${1:?usage: bash scripts/compare_trl.sh COMPARISON SECONDS [SEED…]}"
seconds="${2:?usage: bash scripts/compare_trl.sh COMPARISON SECONDS [SEED…]}"
shift 2
VENV=.venv-trl bash scripts/setup.sh trl
[ $# -gt 0 ] || set -- 0 1 2
for seed in "$@"; do
    TRL_EXPERIMENTAL_SILENCE=1 .venv-trl/bin/python scripts/compare_trl.py \
        --compare "$comparison" --seed "$seed" --seconds "$seconds"
done
