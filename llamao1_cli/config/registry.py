"""The names that a configuration chooses from, each with the code behind it.

A new algorithm or search rule is one new module and one line here. Code is named as in an entry
point, `module:name`, so that reading a configuration loads none of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


@dataclass(frozen=True)
class Entry:
    """A name's code, and one phrase about it for the reference of all keys."""

    code: str
    phrase: str

    def load(self) -> Any:
        """Returns the class or function behind the name."""
        module, _, name = self.code.partition(":")
        return getattr(import_module(module), name)


@dataclass(frozen=True)
class AlgorithmEntry(Entry):
    """A learning algorithm, with what it needs of the rest of the configuration."""

    plays: bool = True  # False: no self-play, and more of the warm-up's demonstrations
    flat: bool = False  # credits whole solutions and trains no ratings, as published
    whole_solutions: bool = False  # trees must not branch below their root


_LEARN, _RULES = "llamao1_cli.learn.algorithms", "llamao1_cli.search.rules"

ALGORITHMS: dict[str, AlgorithmEntry] = {
    "rlsp": AlgorithmEntry(f"{_LEARN}.rlsp:Rlsp", "a credit for each thought of a tree"),
    "grpo": AlgorithmEntry(
        f"{_LEARN}.grpo:Grpo", "one credit for all thoughts of a solution", flat=True
    ),
    "k15": AlgorithmEntry(
        f"{_LEARN}.k15:K15",
        "Kimi k1.5's mirror descent on whole solutions",
        flat=True,
        whole_solutions=True,
    ),
    "expert_iteration": AlgorithmEntry(
        f"{_LEARN}.expert_iteration:ExpertIteration", "imitation of right solutions", flat=True
    ),
    "continued_warmup": AlgorithmEntry(
        f"{_LEARN}.continued_warmup:ContinuedWarmup",
        "the control: no self-play, more of the warm-up's demonstrations",
        plays=False,
    ),
}

SEARCH_RULES: dict[str, Entry] = {
    "mcts": Entry(f"{_RULES}.mcts:Mcts", "Monte-Carlo tree search"),
    "distinct": Entry(f"{_RULES}.distinct:Distinct", "whole solutions, none of them twice"),
    "forks": Entry(
        f"{_RULES}.forks:Forks", "independent chains, and then forks at their most uncertain steps"
    ),
}


@dataclass(frozen=True)
class OneOf:
    """Marks a string field that takes one of these names; they may grow after it was marked."""

    names: Iterable[str]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Returns the schema of a string that is checked against the names."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, name: str) -> str:
        if name not in [*self.names]:
            *first, last = map(repr, self.names)
            expected = " or ".join([", ".join(first), last]) if first else last
            raise PydanticCustomError("one_of", f"input should be {expected}")
        return name


def phrases(table: dict[str, Entry] | dict[str, AlgorithmEntry]) -> str:
    """Returns what each name of a table stands for, for a field's description."""
    return "; ".join(f"{name}, {entry.phrase}" for name, entry in table.items())
