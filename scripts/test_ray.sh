#!/usr/bin/env bash
# Tests self-play on a Ray cluster of several nodes on this machine, in an environment of its own.
# usage: bash scripts/test_ray.sh [OPTION…]     options go to pytest
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=.venv-ray bash scripts/setup.sh test,ray
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" TOKENIZERS_PARALLELISM=false
.venv-ray/bin/python -m pytest tests/selfplay/test_ray.py "$@"
