#!/usr/bin/env bash
# Everything that must hold: formatting, types, tests. Installs what it needs into .venv.
# usage: bash scripts/test.sh [OPTION…]     options go to pytest
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh test,gguf,tensorboard
# Small models gain nothing from more threads, and idle ones cost time.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}" TOKENIZERS_PARALLELISM=false
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
.venv/bin/pytest "$@"
