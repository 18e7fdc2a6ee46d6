"""Restarts: later trees begin along paths that ended right, where success is neither sure nor rare.

With success p a step, a problem of H steps is solved from its beginning with probability p^H, but
from behind h of them with p^(H - h). So trees that begin on a known good path learn the last steps
first, and as these get surer the beginning moves towards the problem (reverse curricula: Florensa
et al. 2017; prefixes of successful solutions: PrefixRL, 2026). The given thoughts are context: they
are neither trained nor charged. What is replayed here are states to act from, not old actions.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from llamao1_cli.engine.protocol import Thought
from llamao1_cli.learn.credit import target_of
from llamao1_cli.search.start import Start
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.tasks.problem import Problem

RARE, SURE = 0.2, 0.8  # success below and above which a beginning teaches little
LATEST = 0.5  # weight of the latest outcome in what is expected


@dataclass
class Success:
    """A path that ended right, and what to expect of trees that begin along it."""

    problem: Problem
    thoughts: list[Thought]  # the last one states the answer
    expected: list[float]  # success behind 0, 1, … thoughts, the last one left out
    used: int  # iteration that it last served in, or was found in

    @property
    def depth(self) -> int:
        """How many thoughts to give: those behind which success is most uncertain."""
        return 1 + int(np.argmin([abs(each - 0.5) for each in self.expected[1:]]))

    def note(self, depth: int, success: float) -> None:
        """Take in how trees that began behind `depth` thoughts ended; nearer the problem success is
        no likelier, and behind more of the path no rarer."""
        self.expected[depth] += LATEST * (success - self.expected[depth])
        now = self.expected[depth]
        for other, expected in enumerate(self.expected):
            self.expected[other] = min(expected, now) if other < depth else max(expected, now)


class Restarts:
    """The paths that trees may begin along, one a problem, and `capacity` problems at most."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._successes: dict[str, Success] = {}  # by the problem's id

    def __len__(self) -> int:
        return len(self._successes)

    def choose(self, count: int) -> list[Start]:
        """Returns at most `count` beginnings: those that have waited longest, and of them the most
        uncertain."""
        waiting = sorted(self._successes.values(), key=_urgency)
        return [Start(each.problem, tuple(each.thoughts[: each.depth])) for each in waiting[:count]]

    def take_in(self, trees: Sequence[Tree], iteration: int, seed: int) -> dict[str, float]:
        """Take in an iteration's trees; returns its metrics.

        What began along a path, or at its problem, says what to expect there, and a path whose
        every beginning is sure is dropped. Problems that are rarely solved from their own beginning
        leave a path, drawn from their right ones.
        """
        begun = [tree for tree in trees if tree.begun]
        for tree in trees:
            self._note(tree, iteration)
        for index, tree in enumerate(trees):
            if not tree.begun and target_of(tree.root) < RARE:
                self._keep(tree, iteration, np.random.default_rng([seed, 6, iteration, index]))
        oldest = sorted(self._successes, key=lambda name: self._successes[name].used)
        for name in oldest[: max(len(oldest) - self._capacity, 0)]:
            del self._successes[name]
        return {
            "restarts": float(len(begun)),
            "restart_success": _mean([target_of(tree.start) for tree in begun]),
            "restart_depth": _mean([float(tree.begun) for tree in begun]),
            "restart_paths": float(len(self)),
        }

    def state(self) -> list[Any]:
        """Returns all paths as plain JSON values."""
        return [asdict(success) for success in self._successes.values()]

    def restore(self, state: list[Any]) -> None:
        """Take over what `state` returned. Raises ValueError, in one line, for what it did not."""
        try:
            successes = _SUCCESSES.validate_python(state)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        self._successes = {each.problem.id: each for each in successes}

    def _note(self, tree: Tree, iteration: int) -> None:
        success = self._successes.get(tree.problem.id)
        if success is None or tree.begun >= len(success.expected):
            return
        success.used = iteration if tree.begun else success.used
        success.note(tree.begun, target_of(tree.start))
        if min(success.expected[1:]) > SURE:
            del self._successes[tree.problem.id]

    def _keep(self, tree: Tree, iteration: int, rng: np.random.Generator) -> None:
        """Keep one right path of a tree, unless its problem has one."""
        right = [leaf for leaf in tree.leaf_nodes() if leaf.outcome and leaf.depth > 1]
        if not right or tree.problem.id in self._successes:
            return
        path = tree.path(right[int(rng.integers(len(right)))])
        self._successes[tree.problem.id] = Success(
            tree.problem, [node.thought for node in path[1:]], _expected(path), iteration
        )


_SUCCESSES = TypeAdapter(list[Success])


def _expected(path: Sequence[Node]) -> list[float]:
    """Returns what to expect behind each node of a path but the last: what its tree made of it
    where several thoughts were tried there, and else its value."""
    return [target_of(node) if len(node.children) > 1 else node.value for node in path[:-1]]


def _urgency(success: Success) -> tuple[int, float]:
    chance = success.expected[success.depth]
    return success.used, -chance * (1 - chance)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(len(values), 1)
