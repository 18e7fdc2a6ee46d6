#!/usr/bin/env bash
# Tests DeepSpeed's ZeRO on two ranks of this machine, on CPU, in an environment of its own.
# usage: bash scripts/test_deepspeed.sh [OPTION…]     options go to pytest
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=.venv-deepspeed bash scripts/setup.sh test,deepspeed
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" TOKENIZERS_PARALLELISM=false
.venv-deepspeed/bin/python -m pytest tests/run/test_deepspeed.py "$@"
