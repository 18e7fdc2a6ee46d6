"""Problems from data files or data sets of the hub."""

from dataclasses import dataclass

import numpy as np

from llamao1_cli.config import DataSource, DataTask
from llamao1_cli.config.template import TemplateParts, template_parts
from llamao1_cli.errors import UserError
from llamao1_cli.language.answers import stated_answer
from llamao1_cli.language.marked import MarkedNode
from llamao1_cli.tasks.fields import Row, answer_field, filled, is_rationale, text_field
from llamao1_cli.tasks.problem import EQUALITY, Problem, RewardSource, of_a_pass, written_alike
from llamao1_cli.tasks.rows import read_rows
from llamao1_cli.tasks.solutions import demonstrate


@dataclass(frozen=True)
class _Row:
    problem: Problem
    solution: str | None


class DataSet:
    """A task of problems with known answers; held-out ones are left out of the training set."""

    instruction = ""
    reward: RewardSource = EQUALITY

    def __init__(self, config: DataTask) -> None:
        self.name = config.train.path or config.train.hub or "data"
        self.levels, self._answers = config.levels, config.answer_form
        self._test = [row.problem for row in _read_rows(config, config.test, None)]
        held_out = {written_alike(problem.text) for problem in self._test}
        rows = _read_rows(config, config.train, config.solution_field)
        self._train = [row for row in rows if written_alike(row.problem.text) not in held_out]
        self.left_out = len(rows) - len(self._train)  # training rows that are held out
        if not self._train:
            raise UserError("task.train: every problem is also in task.test; give other problems")

    @property
    def problems(self) -> tuple[list[Problem], list[Problem]]:
        """All training problems and all held-out ones, in the order of their rows."""
        return [row.problem for row in self._train], self._test

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
        return [demonstrate(row.problem, _solution(row), rng, self._answers) for row in rows]

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
    template = config.problem_template
    parts = None if template is None else template_parts(template)
    rows = []
    for where, row in read_rows(source):
        text = _problem(row, config.problem_field, parts, where)
        answer = _answer(row, config.answer_field, where)
        solution = solution_field and _not_empty(
            text_field(row, solution_field, where), solution_field, where
        )
        rows.append(_Row(Problem(where, text, answer), solution))
    if not rows:
        raise UserError(f"{source.path or source.hub}: no problems in it; give a file with rows")
    return rows


def _problem(row: Row, field: str, parts: TemplateParts | None, where: str) -> str:
    if parts is None:
        return _not_empty(text_field(row, field, where), field, where).strip()
    text = filled(parts, row, where).strip()
    if not text:
        raise UserError(f"{where}: task.problem_template makes no text of it")
    return text


def _answer(row: Row, field: str, where: str) -> str:
    text = _not_empty(answer_field(row, field, where), field, where).strip()
    stated = stated_answer(text)
    if stated is None and is_rationale(text):
        raise UserError(
            f"{where}: field `{field}` explains, and states no answer: {text!r:.60}; end it with "
            "`#### 18` or `\\boxed{18}`, or name the field of the plain answer in "
            "task.answer_field"
        )
    return stated or text


def _not_empty(text: str, field: str, where: str) -> str:
    if not text.strip():
        raise UserError(f"{where}: field `{field}` is empty")
    return text
