"""Problems from JSONL files or data sets of the hub."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llamao1_cli.config import DataSource, DataTask
from llamao1_cli.errors import UserError
from llamao1_cli.language.answers import stated_answer
from llamao1_cli.language.marked import MarkedNode
from llamao1_cli.tasks.problem import Problem, of_a_pass
from llamao1_cli.tasks.solutions import demonstrate

_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON can escape one, but no encoding can write it


def read_rows(source: DataSource) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each row of a source and where it stands, such as `train.jsonl line 17`.

    Raises UserError for a file that is missing or a line that is not a JSON object.
    """
    rows = _hub_rows(source) if source.path is None else _file_rows(Path(source.path))
    for count, row in enumerate(rows, start=1):
        yield row
        if count == source.limit:
            return


def text_field(row: dict[str, Any], field: str, where: str) -> str:
    """Returns the text in a field of a row; numbers become text. UserError names `where`."""
    if field not in row:
        raise UserError(
            f"{where}: field `{field}` is missing; it has {', '.join(row) or 'nothing'}"
        )
    value = row[field]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UserError(f"{where}: field `{field}` must be text or a number, not {value!r:.60}")
    text = str(value)
    if _SURROGATE.search(text):
        raise UserError(f"{where}: field `{field}` holds half a character (\\ud800 to \\udfff)")
    return text


@dataclass(frozen=True)
class _Row:
    problem: Problem
    solution: str | None


class DataSet:
    """A task of problems with known answers; held-out ones are left out of the training set."""

    def __init__(self, config: DataTask) -> None:
        self.name = config.train.path or config.train.hub or "data"
        self.levels = config.levels
        self._test = [row.problem for row in _read_rows(config, config.test, None)]
        held_out = {problem.text for problem in self._test}
        rows = _read_rows(config, config.train, config.solution_field)
        self._train = [row for row in rows if row.problem.text not in held_out]
        if not self._train:
            raise UserError("task.train: every problem is also in task.test; give other problems")

    def train_problems(
        self,
        seed: int,
        iteration: int,
        count: int,
        *,
        before: int | None = None,
        level: int | None = None,
    ) -> list[Problem]:
        """Returns `count` training problems of an iteration, from pass after pass over the set."""
        start = (iteration - 1) * count if before is None else before
        return [of_a_pass(self._train, [seed, 1], start + i).problem for i in range(count)]

    def test_problems(self, count: int) -> list[Problem]:
        """Returns the first `count` held-out problems."""
        return self._test[:count]

    def demonstrations(self, seed: int, count: int) -> list[list[MarkedNode]]:
        """Returns `count` worked solutions as marked chains, from pass after pass over the set.

        Raises UserError unless `task.solution_field` names the solutions.
        """
        rng = np.random.default_rng([seed, 4])
        rows = [of_a_pass(self._train, [seed, 2], position) for position in range(count)]
        return [demonstrate(row.problem, _solution(row), rng) for row in rows]

    def corpus(self) -> list[str]:
        """Returns texts for a tokenizer: training problems."""
        return [row.problem.text for row in self._train[:5000]]


def _solution(row: _Row) -> str:
    if row.solution is None:
        raise UserError(
            "warmup.data is missing: give marked texts, or name the field of the training problems "
            "that holds worked solutions in task.solution_field"
        )
    return row.solution


def _read_rows(config: DataTask, source: DataSource, solution_field: str | None) -> list[_Row]:
    rows = []
    for where, row in read_rows(source):
        text = _filled(row, config.problem_field, where).strip()
        answer = _filled(row, config.answer_field, where)
        solution = None if solution_field is None else _filled(row, solution_field, where)
        problem = Problem(where, text, stated_answer(answer) or answer.strip())
        rows.append(_Row(problem, solution))
    if not rows:
        raise UserError(f"{source.path or source.hub}: no problems in it; give a file with rows")
    return rows


def _filled(row: dict[str, Any], field: str, where: str) -> str:
    text = text_field(row, field, where)
    if not text.strip():
        raise UserError(f"{where}: field `{field}` is empty")
    return text


def _file_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    where = f"{path} line {number}"
                    yield where, _json_object(line, where)
    except FileNotFoundError:
        raise UserError(f"{path}: no such data file; check the path in the configuration") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None


def _json_object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not valid JSON: {error}") from None
    if not isinstance(row, dict):
        raise UserError(f"{where}: expected a JSON object with named fields")
    return row


def _hub_rows(source: DataSource) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        import datasets
    except ImportError:
        raise UserError(
            f"{source.hub}: reading the hub needs the extra: pip install 'llamao1-cli[hub]'"
        ) from None
    try:
        rows = datasets.load_dataset(source.hub, source.name, split=source.split)
    except Exception as error:  # the hub's client raises errors of many classes
        raise UserError(f"{source.hub}: cannot be loaded: {' '.join(str(error).split())}") from None
    for number, row in enumerate(rows, start=1):
        yield f"{source.hub} row {number}", dict(row)
