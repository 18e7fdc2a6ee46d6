#!/usr/bin/env bash
# Everything that must hold: formatting, types, tests. Installs what it needs into .venv.
# usage: bash scripts/test.sh [OPTION…]     options go to pytest
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh test,docs,gguf,hub,tensorboard,openai,re2,reasoning-gym
# The browser that opens the run report; without it that test is skipped, except in CI.
if ! command -v chromedriver >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium-driver; } \
        >/dev/null || echo "test: chromium-driver cannot be installed" >&2
fi
# Two tests at a time, of one thread each: the threads of small models wait for each other.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" TOKENIZERS_PARALLELISM=false
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
.venv/bin/pytest -n 2 --dist worksteal "$@"
