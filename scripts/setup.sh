#!/usr/bin/env bash
# Makes .venv and installs llamao1 into it with the pinned versions; run again, it only checks.
# usage: bash scripts/setup.sh [EXTRA[,EXTRA…]]     e.g. test, gguf, tensorboard
# VENV=FOLDER names another environment.
set -euo pipefail
cd "$(dirname "$0")/.."

extras="${1:-}"
venv="${VENV:-.venv}"
python="${PYTHON:-python3}"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "setup: Python 3.11 or newer is needed; name one with PYTHON=/path/to/python" >&2
    exit 2
}

# A stamp an extra, holding the digest of what decides the versions: an unchanged checkout starts
# at once.
digest="$(cat pyproject.toml constraints.txt | "$python" -c \
    'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')"
missing=0
for name in base ${extras//,/ }; do
    [ "$(cat "$venv/.installed-$name" 2>/dev/null)" = "$digest" ] || missing=1
done
[ "$missing" = 1 ] || exit 0

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
echo "setup: installing llamao1${extras:+ with $extras} into $venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --constraint constraints.txt --editable ".${extras:+[$extras]}"
for name in base ${extras//,/ }; do
    echo "$digest" >"$venv/.installed-$name"
done
