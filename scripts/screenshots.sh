#!/usr/bin/env bash
# Takes the screenshots of README and documentation from a run, with a browser that has no window.
# usage: bash scripts/screenshots.sh [RUN]     without RUN: runs/quickstart
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh test
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
.venv/bin/llamao1 report "${1:-runs/quickstart}" --out "$work/report.html"
.venv/bin/python scripts/screenshots.py "$work/report.html" docs/images
