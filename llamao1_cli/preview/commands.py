"""What `llamao1 data` does once its options are read, and what runs say of their data."""

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from llamao1_cli.config import Config
from llamao1_cli.errors import UserError
from llamao1_cli.files.whole import check_writable, write_whole
from llamao1_cli.language.protocol import Language
from llamao1_cli.model.load import load_tokenizer
from llamao1_cli.preview.advice import refusals, warnings
from llamao1_cli.preview.preview import preview
from llamao1_cli.preview.tables import summary, tables
from llamao1_cli.report.display import Display
from llamao1_cli.tasks.grading import Grader
from llamao1_cli.tasks.load import load_task
from llamao1_cli.tasks.problem import Task


def data(config: Config, json_file: Path | None) -> None:
    """Print what a run of the configuration will see of its data, and write it as JSON.

    Raises UserError, after that, where nothing useful is left.
    """
    check_writable("--json", json_file)
    task = load_task(config.task)
    tokenizer = load_tokenizer(config.model, task.corpus())
    language = config.model.speaks.make(
        tokenizer, config.search.allowed_metas, config.task.answer_form
    )
    with Grader(config.grading.workers, config.grading.timeout_s) as grader:
        seen = preview(config, task, language, grader.grade, warming=True)
    lost = warnings(seen, config)
    refused = refusals(seen, config, plays=True, evaluates=True)
    if json_file is not None:
        settings = {
            "model.max_length": config.model.max_length,
            "search.max_depth": config.search.max_depth,
            "search.max_thought_tokens": config.search.max_thought_tokens,
        }
        result = {"settings": settings} | asdict(seen) | {"warnings": lost, "refusals": refused}
        write_whole(json_file, json.dumps(result, indent=1) + "\n")
    console, display = Console(highlight=False), Display()
    for table in tables(seen, config):
        console.print(table)
    for line in lost:
        display.say(f"warning: {line}")
    _refuse(refused)


def say_what_is_seen(
    config: Config,
    task: Task,
    language: Language,
    display: Display,
    *,
    warming: bool,
    plays: bool,
    evaluates: bool,
) -> None:
    """Print a run's data in three lines, and a warning for each kind that is lost.

    Raises UserError where nothing useful is left for a run that warms up, plays or evaluates.
    """
    with Grader(config.grading.workers, config.grading.timeout_s) as grader:
        seen = preview(config, task, language, grader.grade, warming=warming)
    _refuse(refusals(seen, config, plays=plays, evaluates=evaluates))
    for line in summary(seen, config):
        display.say(line)
    for line in warnings(seen, config):
        display.say(f"warning: {line}")


def _refuse(reasons: list[str]) -> None:
    if reasons:
        raise UserError("; ".join(reasons))
