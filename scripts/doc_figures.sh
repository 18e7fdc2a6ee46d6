#!/usr/bin/env bash
# Draws the figures of the documentation from a run of the quickstart, into docs/images/.
# usage: bash scripts/doc_figures.sh [RUN]     without RUN: runs/quickstart
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh
.venv/bin/python scripts/doc_figures.py "${1:-runs/quickstart}" docs/images
