#!/usr/bin/env bash
# Makes .venv and installs llamao1 into it with the pinned versions; run again, it only checks.
# usage: bash scripts/setup.sh [EXTRA[,EXTRA…]]     e.g. test, gguf, tensorboard
set -euo pipefail
cd "$(dirname "$0")/.."

extras="${1:-}"
python="${PYTHON:-python3}"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "setup: Python 3.11 or newer is needed; name one with PYTHON=/path/to/python" >&2
    exit 2
}

# The stamp names what was installed, so that an unchanged checkout starts at once.
stamp=".venv/.installed-${extras//,/-}"
if [ -f "$stamp" ] && [ "$stamp" -nt pyproject.toml ] && [ "$stamp" -nt constraints.txt ]; then
    exit 0
fi
[ -x .venv/bin/python ] || "$python" -m venv .venv
echo "setup: installing llamao1${extras:+ with $extras} into .venv"
.venv/bin/python -m pip install --quiet --disable-pip-version-check \
    --constraint constraints.txt --editable ".${extras:+[$extras]}"
touch "$stamp"
