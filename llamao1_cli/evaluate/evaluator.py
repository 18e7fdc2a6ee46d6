"""Accuracy of test-time strategies on held-out problems, with what each of them costs.

No strategy sees a true answer: trees grow ungraded, each strategy names its answer, and only then
is everything graded.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llamao1_cli.config import EvalConfig, SearchConfig
from llamao1_cli.evaluate.calibration import step_quality, value_quality
from llamao1_cli.evaluate.intervals import (
    mean_interval,
    paired_difference,
    pass_at_k,
    wilson_interval,
)
from llamao1_cli.evaluate.judges import NOBODY, Judges
from llamao1_cli.evaluate.play import play
from llamao1_cli.evaluate.strategies import PASS, SAMPLES, STRATEGIES, Growth, by_growth
from llamao1_cli.search.protocol import Grade
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.selfplay.local import SelfPlay
from llamao1_cli.tasks.problem import Problem

Result = dict[str, Any]
# Sees a growth's name and all its trees, whenever some of them have grown.
OnNamedGrowth = Callable[[str, list[Tree]], None]

YARDSTICK = "majority"  # what the others are compared with at equal cost


@dataclass(frozen=True)
class Forest:
    """Trees of all problems, and what they cost."""

    trees: list[Tree]
    seconds: float

    @property
    def tokens(self) -> int:
        """Tokens generated for all trees."""
        return sum(tree.generated_tokens for tree in self.trees)


class Evaluator:
    """Runs strategies on fixed problems; the same seed gives the same samples."""

    def __init__(
        self,
        problems: Sequence[Problem],
        selfplay: SelfPlay,
        grade: Grade,
        search: SearchConfig,
        config: EvalConfig,
        judges: Judges = NOBODY,
    ) -> None:
        self._problems, self._selfplay, self._grade = problems, selfplay, grade
        self._search, self._config, self._judges = search, config, judges

    def run(
        self,
        names: Sequence[str],
        on_growth: OnNamedGrowth = lambda name, trees: None,
    ) -> Result:
        """`{"strategies": {name: figures}, "differences": {names: figures}, "value": figures or
        None, "rating": figures or None, "steps": {"value": …, "rating": …} or None}`: the quality
        of the nodes' values, and of their ratings alone, at the end of samples and at all their
        steps, where samples were drawn."""
        result: Result = {"strategies": {}, "value": None, "rating": None, "steps": None}
        figures = result["strategies"]
        for growth, chosen in by_growth(names):
            forest = self._grow(growth, None, on_growth)
            if growth is SAMPLES:
                outcomes = self._outcomes(forest)
                result |= _judged(forest, outcomes)
                figures |= self._passes(forest, outcomes) if PASS in names else {}
            for name in chosen:
                figures[self._label(name)] = _accuracy(forest, self._right(forest, name))
        result["differences"] = self._differences(names, figures)
        return result

    def at_budget(
        self,
        names: Sequence[str],
        budget: int,
        on_growth: OnNamedGrowth = lambda name, trees: None,
    ) -> Result:
        """`{"tokens": budget, "strategies": {name: figures}, "differences": {name: figures}}` of
        strategies that may spend so many tokens a problem each. The differences are to majority
        vote, which is always among them; `pass` is the share of problems with any right sample."""
        figures: Result = {}
        for growth, chosen in by_growth([YARDSTICK, *names]):
            forest = self._grow(growth, budget, on_growth)
            if growth is SAMPLES and PASS in names:
                figures[PASS] = _accuracy(forest, [any(row) for row in self._outcomes(forest)])
            for name in chosen:
                figures[name] = _accuracy(forest, self._right(forest, name))
        right = {name: row["right"] for name, row in figures.items()}
        differences = {
            name: paired_difference(row, right[YARDSTICK])
            for name, row in right.items()
            if name != YARDSTICK
        }
        return {"tokens": budget, "strategies": figures, "differences": differences}

    def _grow(self, growth: Growth, budget: int | None, on_growth: OnNamedGrowth) -> Forest:
        start = time.perf_counter()
        trees = play(
            growth,
            self._problems,
            self._selfplay,
            self._search,
            self._config,
            self._judges,
            budget=budget,
            on_growth=lambda trees: on_growth(growth.name, trees),
        )
        return Forest(trees, time.perf_counter() - start)

    def _label(self, name: str) -> str:
        return STRATEGIES[name].label(name, self._config.samples)

    def _passes(self, forest: Forest, outcomes: list[list[bool]]) -> Result:
        """pass@k; each k is charged for all samples."""
        k, results = self._config.samples, {}
        for draws in sorted({k, *(2**power for power in range(k.bit_length()))}):
            # A problem that leaves no room for a thought has one leaf, its root: k failures.
            chances = [pass_at_k(k, sum(row), draws) for row in outcomes]
            results[f"pass@{draws}"] = _figures(forest, chances, mean_interval(chances))
        results[f"pass@{k}"]["right"] = [int(any(row)) for row in outcomes]
        return results

    def _differences(self, names: Sequence[str], figures: Result) -> Result:
        """On the same samples: what the weighted votes gain over majority, and how far the best of
        them stays behind an oracle. Those of the external judge are drawn from the same seeds."""
        k = self._config.samples
        pairs = []
        if "majority" in names:
            votes = [name for name in STRATEGIES if name in names and _is(name, "weighted_vote")]
            pairs += [(self._label(name), self._label("majority")) for name in votes]
        if PASS in names:
            bests = [name for name in STRATEGIES if name in names and _is(name, "best_of")]
            pairs += [(f"pass@{k}", self._label(name)) for name in bests]
        return {
            f"{one} - {other}": paired_difference(figures[one]["right"], figures[other]["right"])
            for one, other in pairs
        }

    def _outcomes(self, forest: Forest) -> list[list[bool]]:
        """Returns whether each sample is right, a row a problem; a sample without an answer is
        wrong."""
        leaves = [(tree, leaf) for tree in forest.trees for leaf in tree.leaf_nodes()]
        stated = [(leaf.answer, tree.problem.answer) for tree, leaf in leaves if leaf.answer]
        verdicts = iter(self._grade(stated))
        rows: dict[int, list[bool]] = {id(tree): [] for tree in forest.trees}
        for tree, leaf in leaves:
            rows[id(tree)].append(bool(leaf.answer) and next(verdicts))
        return list(rows.values())

    def _right(self, forest: Forest, name: str) -> list[bool]:
        """Returns whether a strategy's answer to each problem is right; no answer is wrong."""
        choices = [STRATEGIES[name].choose(tree) for tree in forest.trees]
        asked = [
            (choice, problem.answer)
            for choice, problem in zip(choices, self._problems, strict=True)
            if choice is not None
        ]
        verdicts = iter(self._grade(asked))
        return [choice is not None and next(verdicts) for choice in choices]


def _is(name: str, kind: str) -> bool:
    """Returns whether a strategy is `kind`, by whatever reduction and whoever's values."""
    return name.partition(":")[0].removesuffix("_judge") == kind


def _judged(forest: Forest, outcomes: list[list[bool]]) -> Result:
    def value(node: Node) -> float:
        return node.value

    def rating(node: Node) -> float:
        return node.thought.rating

    return {
        "value": value_quality(forest.trees, outcomes, value),
        "rating": value_quality(forest.trees, outcomes, rating),
        "steps": {
            "value": step_quality(forest.trees, outcomes, value),
            "rating": step_quality(forest.trees, outcomes, rating),
        },
    }


def _accuracy(forest: Forest, right: Sequence[bool]) -> Result:
    figures = _figures(forest, right, wilson_interval(sum(right), len(right)))
    return figures | {"right": [int(each) for each in right]}


def _figures(forest: Forest, scores: Sequence[float], interval: tuple[float, float]) -> Result:
    return {
        "accuracy": float(np.mean(scores)),
        "correct": float(np.sum(scores)),
        "n": len(scores),
        "ci95": list(interval),
        "generated_tokens": forest.tokens,
        "seconds": forest.seconds,
    }
