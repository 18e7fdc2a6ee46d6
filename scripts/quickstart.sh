#!/usr/bin/env bash
# The main job on a fresh machine: installs llamao1 into .venv and trains the embedded default.
# usage: bash scripts/quickstart.sh [OPTION…]     options go to `llamao1 train`
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh
.venv/bin/llamao1 train --config configs/quickstart.yaml "$@"
