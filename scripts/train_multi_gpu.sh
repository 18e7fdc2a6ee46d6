#!/usr/bin/env bash
# Trains on all GPUs of one box, one process a GPU; without GPUs, on CPU.
# usage: bash scripts/train_multi_gpu.sh CONFIG [OPTION…]     options go to `llamao1 train`
#   PROCESSES=2 sets the number of processes
set -euo pipefail
cd "$(dirname "$0")/.."
config="${1:?usage: bash scripts/train_multi_gpu.sh CONFIG [OPTION…]}"
shift
bash scripts/setup.sh
gpus="$(.venv/bin/python -c 'import torch; print(torch.cuda.device_count())')"
processes="${PROCESSES:-$((gpus > 0 ? gpus : 1))}"
exec .venv/bin/torchrun --standalone --nproc_per_node "$processes" \
    -m llamao1_cli.cli train --config "$config" "$@"
