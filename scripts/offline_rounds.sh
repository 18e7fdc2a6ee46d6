#!/usr/bin/env bash
# The offline loop of rStar-Math (Guan et al. 2025). Round 0 warms the configured model up. Every
# later round plays with the weights and the values of the round before, trains them on the two best
# right solutions of each problem, and learns new values from its trees. Each round is evaluated.
# usage: bash scripts/offline_rounds.sh CONFIG ROUNDS [OPTION…]
#   options, such as --set run.seed=1, go to every command that reads the configuration
#   OUT=FOLDER names the folder of the rounds; run again, it goes on behind the last finished one
set -euo pipefail
if (($# < 2)) || ! [[ $2 =~ ^[0-9]+$ ]]; then
    echo "usage: bash scripts/offline_rounds.sh CONFIG ROUNDS [OPTION…]" >&2
    exit 2
fi
config=$(realpath "$1") rounds=$2
shift 2
cd "$(dirname "$0")/.."
bash scripts/setup.sh
llamao1=.venv/bin/llamao1
configured=(--config "$config" "$@")
out="${OUT:-runs/$(basename "$config" .yaml)}"

for ((number = 0; number <= rounds; number++)); do
    round="$out/round-$number" before="$out/round-$((number - 1))"
    [ ! -f "$round/eval.json" ] || continue
    rm -rf "$round"
    echo "round $number of $rounds: $round"
    started=() values=()
    if ((number > 0)); then
        started=(--set "model.path='$before/model'" --set model.gguf_file=null)
        played=("${started[@]}")
        [ ! -d "$before/values" ] || played+=(--set "value_head.path='$before/values'")
        "$llamao1" self-play "${configured[@]}" "${played[@]}" --out "$round/trees"
        "$llamao1" reward train --kind values "${configured[@]}" "${started[@]}" \
            --trees "$round/trees" --out "$round/values"
        "$llamao1" export "$round/trees" --to sft --tokenizer "$before/model" \
            --out "$round/traces.jsonl"
        started+=(--set "warmup.data={path: '$round/traces.jsonl'}")
        values=(--set "value_head.path='$round/values'")
    fi
    "$llamao1" sft "${configured[@]}" "${started[@]}" --set run.dir="$round/sft"
    "$llamao1" export "$round/sft" --to hf --out "$round/model"
    "$llamao1" eval "${configured[@]}" --set "model.path='$round/model'" \
        --set model.gguf_file=null "${values[@]}" --json "$round/eval.json"
done
