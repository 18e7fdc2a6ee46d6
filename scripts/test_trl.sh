#!/usr/bin/env bash
# Trains on exported rows with TRL's own trainers, on CPU, in an environment of its own.
# usage: bash scripts/test_trl.sh [OPTION…]     options go to pytest
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=.venv-trl bash scripts/setup.sh test,trl
# TRL 1.13 was the last release with a PRMTrainer; it lies beside the current one.
last=.venv-trl/trl-1.13
if [ ! -f "$last/.installed" ]; then
    .venv-trl/bin/python -m pip install --quiet --disable-pip-version-check \
        --no-deps --target "$last" 'trl==1.13.0'
    touch "$last/.installed"
fi
export TRL_EXPERIMENTAL_SILENCE=1
.venv-trl/bin/python -m pytest tests/export/test_trl.py "$@"
PYTHONPATH="$last${PYTHONPATH:+:$PYTHONPATH}" .venv-trl/bin/python -m pytest tests/export/test_trl.py "$@"
