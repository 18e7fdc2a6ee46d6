#!/usr/bin/env bash
#SBATCH --job-name=llamao1
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
# Trains under SLURM: the first GPUs of the first node learn, all others play, on a Ray cluster over
# the nodes of the job. Two minutes before its time is up, or when it is preempted, the run writes a
# checkpoint and the job is queued again; it then goes on where it stopped. Install first, into a
# folder that all nodes see: bash scripts/setup.sh ray
# usage: sbatch --nodes=4 scripts/slurm.sh CONFIG [OPTION…]     options go to `llamao1 train`
#   LEARNERS=2 sets the number of GPUs that learn, ACTORS=8 that of the actors, PORT=6379 Ray's port,
#   LAYOUT=fsdp2 how several learners share the model: a file of configs/accelerate (ddp by default)
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}"
config="${1:?usage: sbatch scripts/slurm.sh CONFIG [OPTION…]}"
shift
bin="${VENV:-.venv}/bin"
[ -x "$bin/ray" ] || {
    echo "slurm: $bin/ray is missing; run bash scripts/setup.sh ray first" >&2
    exit 2
}
learners="${LEARNERS:-1}" port="${PORT:-6379}" layout="configs/accelerate/${LAYOUT:-ddp}.yaml"
[ -f "$layout" ] || {
    echo "slurm: LAYOUT: $layout: no such file; give ddp, fsdp2 or zero2" >&2
    exit 2
}
nodes="${SLURM_JOB_NUM_NODES:?slurm: start this script with sbatch}"
gpus="${SLURM_GPUS_ON_NODE:-0}"
hosts="$(scontrol show hostnames "$SLURM_JOB_NODELIST")"
head="${hosts%%$'\n'*}"
play=(--set self_play.backend=ray)
# The learners' GPUs are hidden from Ray, and Ray's from the learners.
ray_gpus=() learner_gpus=()
if [ "$gpus" -gt 0 ]; then
    [ "$learners" -lt "$((nodes * gpus))" ] && [ "$learners" -le "$gpus" ] || {
        echo "slurm: $learners learners leave no GPU to play on, or are more than a node has" >&2
        exit 2
    }
    ray_gpus=(env "CUDA_VISIBLE_DEVICES=$(seq -s, "$learners" "$((gpus - 1))")")
    learner_gpus=(env "CUDA_VISIBLE_DEVICES=$(seq -s, 0 "$((learners - 1))")")
    play+=(--set self_play.gpus=1 --set "self_play.actors=${ACTORS:-$((nodes * gpus - learners))}")
else
    play+=(--set "self_play.actors=${ACTORS:-$nodes}")
fi

export RAY_USAGE_STATS_ENABLED=0
srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" \
    "${ray_gpus[@]}" "$bin/ray" start --head --block --port="$port" &
export RAY_ADDRESS="$head:$port"
for _ in $(seq 60); do
    "$bin/ray" status --address="$RAY_ADDRESS" >/dev/null 2>&1 && break
    sleep 2
done
if [ "$nodes" -gt 1 ]; then
    srun --overlap --nodes="$((nodes - 1))" --ntasks="$((nodes - 1))" --exclude="$head" \
        "$bin/ray" start --address="$RAY_ADDRESS" --block &
fi

launch=("$bin/python" -m)
if [ "$learners" -gt 1 ]; then
    launch=("$bin/accelerate" launch --config_file "$layout" --num_processes "$learners"
        --main_process_port 0 --module)
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
fi
trainer=
stopped=0
stop() {
    stopped=1
    [ -z "$trainer" ] || kill -TERM "$trainer" 2>/dev/null || true
}
trap stop USR1 TERM
"${learner_gpus[@]}" "${launch[@]}" llamao1_cli train --config "$config" --resume \
    "${play[@]}" "$@" &
trainer=$!
[ "$stopped" = 0 ] || stop # a signal came before the trainer did
code=0
wait "$trainer" || code=$?
# A signal ends `wait` at once; the trainer is still writing its checkpoint.
while kill -0 "$trainer" 2>/dev/null; do
    code=0
    wait "$trainer" || code=$?
done
if [ "$stopped" = 1 ]; then
    echo "slurm: stopped with a checkpoint; the job goes back into the queue"
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
fi
"$bin/ray" stop >/dev/null 2>&1 || true
exit "$code"
