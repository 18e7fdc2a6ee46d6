#!/usr/bin/env bash
# Trains on all GPUs of one box, one process a GPU; without GPUs, on CPU. Run again, it goes on where
# it stopped.
# usage: bash scripts/train_multi_gpu.sh CONFIG [OPTION…]     options go to `llamao1 train`
#   PROCESSES=2     sets the number of processes
#   LAYOUT=fsdp2    how they share the model: a file of configs/accelerate (ddp by default)
set -euo pipefail
cd "$(dirname "$0")/.."
config="${1:?usage: bash scripts/train_multi_gpu.sh CONFIG [OPTION…]}"
shift
layout="configs/accelerate/${LAYOUT:-ddp}.yaml"
if [ ! -f "$layout" ]; then
    echo "train_multi_gpu: LAYOUT: $layout: no such file; give ddp, fsdp2 or zero2" >&2
    exit 2
fi
extra=""
if grep -q "^distributed_type: DEEPSPEED" "$layout"; then
    extra=deepspeed
fi
bash scripts/setup.sh "$extra"
count='import torch; print(max(torch.cuda.device_count(), 1))'
processes="${PROCESSES:-$(.venv/bin/python -c "$count")}"
case " $* " in
*" --overwrite "* | *" --resume "*) ;;
*) set -- --resume "$@" ;;
esac
if [ "$processes" = 1 ]; then
    exec .venv/bin/llamao1 train --config "$config" "$@"
fi
# Schedulers announce with SIGUSR1 too that they will take the machine; the launcher passes it on.
# How long the ranks may then go on, to end their steps and write a checkpoint, is for those to say:
# the launcher would kill them after 30 seconds.
export PET_SIGNALS_TO_HANDLE=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=3600
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec .venv/bin/accelerate launch --config_file "$layout" --num_processes "$processes" \
    --main_process_port 0 --module llamao1_cli train --config "$config" "$@"
