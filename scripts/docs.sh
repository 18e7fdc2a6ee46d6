#!/usr/bin/env bash
# Builds the documentation into site/, without the network; open site/index.html in any browser.
# usage: bash scripts/docs.sh [OPTION…]     options go to `mkdocs build`, such as --site-dir FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh docs
# Material prints an advertisement of another program here; it is no warning about these pages.
export NO_MKDOCS_2_WARNING=1
.venv/bin/mkdocs build --strict --clean "$@"
