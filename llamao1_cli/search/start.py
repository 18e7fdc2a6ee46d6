"""Where a tree begins."""

from dataclasses import dataclass

from llamao1_cli.engine.protocol import Thought
from llamao1_cli.tasks.problem import Problem


@dataclass(frozen=True)
class Start:
    """A problem, and the thoughts on it that a tree begins behind."""

    problem: Problem
    given: tuple[Thought, ...] = ()
