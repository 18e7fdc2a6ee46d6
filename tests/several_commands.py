"""Runs several commands in one process, as a rank of those that a launcher started: the start costs
more than the commands. usage: several_commands.py FILE     a JSON list of argument lists"""

import json
import sys
from pathlib import Path

from llamao1_cli.cli import app

for arguments in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
    app(arguments, standalone_mode=False)
