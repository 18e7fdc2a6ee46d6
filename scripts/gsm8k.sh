#!/usr/bin/env bash
# GSM8K with SmolLM2-135M on a fresh machine: installs llamao1 into .venv, makes the model folder,
# warms up on worked solutions, and trains by self-play; evaluates before and after.
# usage: bash scripts/gsm8k.sh TRAIN.jsonl TEST.jsonl [OPTION…]     options go to `llamao1 train`
# Adapters train unless options say otherwise; every weight with
#   --set model.lora=null --set warmup.learning_rate=5e-5 --set learn.learning_rate=1e-5
set -euo pipefail
if (($# < 2)); then
    echo "usage: bash scripts/gsm8k.sh TRAIN.jsonl TEST.jsonl [OPTION…]" >&2
    exit 2
fi
train=$(realpath "$1") test=$(realpath "$2")
shift 2
cd "$(dirname "$0")/.."
bash scripts/setup.sh
bash scripts/get_smollm2.sh
.venv/bin/llamao1 train --config configs/gsm8k_smollm2.yaml \
    --set task.train.path="$train" --set task.test.path="$test" "$@"
