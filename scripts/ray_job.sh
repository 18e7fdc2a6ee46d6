#!/usr/bin/env bash
# Submits a run to a Ray cluster as a job: the trainer runs there, and actors play wherever there is
# room. A trainer that is killed starts again and goes on from its last checkpoint. The nodes need
# llamao1's dependencies with the extra `ray` (this machine and the head also `ray[default]`), and
# must all see the model, the data and the run folder.
# usage: bash scripts/ray_job.sh CONFIG [OPTION…]     options go to `llamao1 train`, such as
#        --set run.dir=/shared/runs/one --set self_play.actors=16 --set self_play.gpus=1
#   RAY_API_SERVER_ADDRESS=http://HOST:8265 names the cluster, GPUS=1 what the trainer reserves
set -euo pipefail
cd "$(dirname "$0")/.."
config="${1:?usage: bash scripts/ray_job.sh CONFIG [OPTION…]}"
shift
exec "${VENV:-.venv}/bin/ray" job submit \
    --address "${RAY_API_SERVER_ADDRESS:-http://127.0.0.1:8265}" \
    --working-dir . \
    --runtime-env-json '{"excludes": [".git", ".venv*", "runs", "models", "data"]}' \
    --entrypoint-num-gpus "${GPUS:-0}" \
    -- bash scripts/resume.sh "$config" --set self_play.backend=ray "$@"
