"""Accuracy of test-time strategies on held-out problems, with what each of them costs.

No strategy sees a true answer: trees grow ungraded, each strategy names its answer, and only then
is everything graded.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from llamao1_cli.answers import canonical_answer
from llamao1_cli.config import EvalConfig, SearchConfig
from llamao1_cli.search.grow import Grade
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.selfplay import SelfPlay
from llamao1_cli.statistics import (
    auc,
    auc_within,
    mean_interval,
    paired_interval,
    pass_at_k,
    wilson_interval,
)
from llamao1_cli.tasks.problem import Problem

Result = dict[str, Any]
Forest = tuple[list[Tree], int, float]  # trees, generated tokens, seconds
OnTurn = Callable[[str, list[Tree]], None]


class Evaluator:
    """Runs strategies on fixed problems; the same seed gives the same samples."""

    def __init__(
        self,
        problems: Sequence[Problem],
        selfplay: SelfPlay,
        grade: Grade,
        search: SearchConfig,
        config: EvalConfig,
    ) -> None:
        self._problems, self._selfplay, self._grade = problems, selfplay, grade
        self._config = config
        flat = {"algorithm": "forks", "forks": 0.0}
        sampled = {"temperature": config.temperature}
        tree = {"algorithm": "mcts", "simulations": config.simulations}
        self._greedy = search.unaided(**flat, chains=1, temperature=0.0)
        self._samples = search.unaided(**flat, **sampled, chains=config.samples)
        self._mcts = search.unaided(**tree, **sampled)

    def run(
        self,
        strategies: Sequence[str],
        on_turn: OnTurn = lambda name, trees: None,
    ) -> Result:
        """`{"strategies": {name: figures}, "differences": {names: figures}, "value": figures or
        None, "rating": figures or None}`: the quality of the nodes' values, and of their ratings
        alone, where samples were drawn."""
        result: Result = {"strategies": {}, "differences": {}, "value": None, "rating": None}
        figures = result["strategies"]
        if "greedy" in strategies:
            forest = self._grow(self._greedy, "greedy", on_turn)
            figures["greedy"] = _accuracy(forest, self._right(forest, first_answer))
        if {"pass", *VOTES} & set(strategies):
            forest = self._grow(self._samples, "samples", on_turn)
            outcomes = self._outcomes(forest[0])
            result["value"] = value_quality(forest[0], outcomes, lambda node: node.value)
            result["rating"] = value_quality(forest[0], outcomes, lambda node: node.thought.value)
            figures |= self._passes(forest, outcomes) if "pass" in strategies else {}
            voted, result["differences"] = self._votes(forest, strategies)
            figures |= voted
        if "mcts" in strategies:
            forest = self._grow(self._mcts, "mcts", on_turn)
            figures["mcts"] = _accuracy(forest, self._right(forest, search_vote))
        return result

    def _passes(self, forest: Forest, outcomes: list[list[bool]]) -> Result:
        """pass@k; each k is charged for all samples."""
        k, results = self._config.samples, {}
        for draws in (2**power for power in range(k.bit_length())):
            # A problem that leaves no room for a thought has one leaf, its root: k failures.
            chances = [pass_at_k(k, sum(row), draws) for row in outcomes]
            results[f"pass@{draws}"] = _figures(forest, chances, mean_interval(chances))
        return results

    def _votes(self, forest: Forest, strategies: Sequence[str]) -> tuple[Result, Result]:
        """The strategies that choose among the same samples, each charged for all of them, and what
        the weighted vote gains over majority."""
        k = self._config.samples
        names = {s: f"{s}_{k}" if s == "best_of" else f"{s}@{k}" for s in VOTES}
        right = {s: self._right(forest, VOTES[s]) for s in VOTES if s in strategies}
        results = {names[s]: _accuracy(forest, row) for s, row in right.items()}
        if not {"majority", "weighted_vote"} <= right.keys():
            return results, {}
        name = f"{names['weighted_vote']} - {names['majority']}"
        return results, {name: _difference(right["weighted_vote"], right["majority"])}

    def _grow(self, search: SearchConfig, name: str, on_turn: OnTurn) -> Forest:
        start = time.perf_counter()
        trees = self._selfplay.play(
            self._problems,
            search,
            f"eval-{name}",
            grade=None,
            on_turn=lambda trees: on_turn(name, trees),
        )
        tokens = sum(len(node.thought.ids) for tree in trees for node in tree.nodes)
        return trees, tokens, time.perf_counter() - start

    def _outcomes(self, trees: list[Tree]) -> list[list[bool]]:
        """Whether each sample is right, a row a problem; a sample without an answer is wrong."""
        leaves = [(tree, leaf) for tree in trees for leaf in tree.leaf_nodes()]
        stated = [(leaf.answer, tree.problem.answer) for tree, leaf in leaves if leaf.answer]
        verdicts = iter(self._grade(stated))
        rows: dict[int, list[bool]] = {id(tree): [] for tree in trees}
        for tree, leaf in leaves:
            rows[id(tree)].append(bool(leaf.answer) and next(verdicts))
        return list(rows.values())

    def _right(self, forest: Forest, choose: Callable[[Tree], str | None]) -> list[bool]:
        """Whether the answer chosen for each problem is right; no answer is wrong."""
        choices = [choose(tree) for tree in forest[0]]
        asked = [
            (choice, problem.answer)
            for choice, problem in zip(choices, self._problems, strict=True)
            if choice is not None
        ]
        verdicts = iter(self._grade(asked))
        return [choice is not None and next(verdicts) for choice in choices]


def first_answer(tree: Tree) -> str | None:
    """The answer of a tree of one chain."""
    return next((node.answer for node in tree.nodes if node.terminal), None)


def majority(tree: Tree) -> str | None:
    """The answer that most samples agree on; the earliest of equals."""
    return _vote(tree, lambda node: 1.0)


def weighted_vote(tree: Tree) -> str | None:
    """The answer whose samples' values sum highest."""
    return _vote(tree, lambda node: node.value)


def search_vote(tree: Tree) -> str | None:
    """The answer whose leaves' values, each times its visits, sum highest."""
    return _vote(tree, lambda node: node.value * max(node.visits, 1))


def best_judged(tree: Tree) -> str | None:
    """The answer of the sample with the highest value."""
    ends = [node for node in tree.nodes if node.terminal]
    return max(ends, key=lambda node: node.value).answer if ends else None


def _vote(tree: Tree, weight: Callable[[Node], float]) -> str | None:
    totals: dict[str, float] = {}
    first: dict[str, str] = {}
    for node in tree.nodes:
        if node.answer is not None:
            form = canonical_answer(node.answer)
            totals[form] = totals.get(form, 0.0) + weight(node)
            first.setdefault(form, node.answer)
    return first[max(totals, key=lambda form: totals[form])] if totals else None


# Strategies that choose an answer among the same samples.
VOTES = {"majority": majority, "best_of": best_judged, "weighted_vote": weighted_vote}


def value_quality(
    trees: list[Tree], outcomes: list[list[bool]], worth: Callable[[Node], float]
) -> Result:
    """How well what samples' last thoughts are worth foretells their outcomes.

    `brier_constant` is the Brier score of always saying the mean; `auc_within` compares right and
    wrong samples of one problem only.
    """
    values = [[worth(leaf) for leaf in tree.leaf_nodes()] for tree in trees]
    flat = np.array([value for row in values for value in row])
    truth = np.array([outcome for row in outcomes for outcome in row], float)
    return {
        "auc": auc(flat, truth),
        "auc_within": auc_within(values, outcomes),
        "brier": float(np.mean((flat - truth) ** 2)),
        "brier_constant": float(np.mean((truth.mean() - truth) ** 2)),
        "n": len(truth),
    }


def _accuracy(forest: Forest, right: list[bool]) -> Result:
    figures = _figures(forest, right, wilson_interval(sum(right), len(right)))
    return figures | {"right": [int(each) for each in right]}


def _difference(first: list[bool], second: list[bool]) -> Result:
    """How much more often the first is right than the second on the same problems."""
    return {
        "difference": float(np.mean(first) - np.mean(second)),
        "ci95": list(paired_interval(first, second)),
        "n": len(first),
    }


def _figures(forest: Forest, scores: Sequence[float], interval: tuple[float, float]) -> Result:
    _, tokens, seconds = forest
    return {
        "accuracy": float(np.mean(scores)),
        "correct": float(np.sum(scores)),
        "n": len(scores),
        "ci95": list(interval),
        "generated_tokens": tokens,
        "seconds": seconds,
    }
