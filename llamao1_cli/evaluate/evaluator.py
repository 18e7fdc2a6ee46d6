"""Accuracy of test-time strategies on held-out problems, with what each of them costs.

No strategy sees a true answer or a reward: trees grow without them, each strategy chooses one of
its solutions, and only then are solutions rewarded.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from llamao1_cli.config import EvalConfig, SearchConfig
from llamao1_cli.config.strategies import PASS, PASS_DISTINCT
from llamao1_cli.evaluate.intervals import paired_difference
from llamao1_cli.evaluate.judges import NOBODY, Judges
from llamao1_cli.evaluate.play import play
from llamao1_cli.evaluate.scoring import (
    Forest,
    Result,
    accuracy,
    choice_rewards,
    passes,
    passes_in_order,
    qualities,
    sample_rewards,
)
from llamao1_cli.evaluate.strategies import (
    LIKELIEST,
    PASSES,
    SAMPLES,
    STRATEGIES,
    Growth,
    by_growth,
)
from llamao1_cli.search.tree import Tree
from llamao1_cli.selfplay.local import SelfPlay
from llamao1_cli.tasks.problem import Problem, Solution
from llamao1_cli.tasks.verifier import Verifier

# Sees a growth's name and all its trees, whenever some of them have grown.
OnNamedGrowth = Callable[[str, list[Tree]], None]

YARDSTICK = "majority"  # what the others are compared with at equal cost


class Evaluator:
    """Runs strategies on fixed problems; the same seed gives the same samples."""

    def __init__(
        self,
        problems: Sequence[Problem],
        selfplay: SelfPlay,
        verifier: Verifier,
        search: SearchConfig,
        config: EvalConfig,
        judges: Judges = NOBODY,
    ) -> None:
        self._problems, self._selfplay, self._verifier = problems, selfplay, verifier
        self._search, self._config, self._judges = search, config, judges
        self._rewards = replace(verifier.rewards, of=self._reward)
        self._failed = 0  # rewards so far

    def run(
        self,
        names: Sequence[str],
        on_growth: OnNamedGrowth = lambda name, trees: None,
    ) -> Result:
        """Returns the figures of the strategies, of their differences, and of values and ratings.

        `{"strategies": {name: figures}, "differences": {names: figures}, "value": figures or None,
        "rating": figures or None, "steps": {"value": …, "rating": …} or None}`. The last three, how
        well values and ratings foretell rewards, are None where no samples were drawn.
        `failed_rewards` of the solutions failed, and earned 0.
        """
        result: Result = {"strategies": {}, "value": None, "rating": None, "steps": None}
        figures = result["strategies"]
        for growth, chosen in by_growth(names):
            forest = self._grow(growth, None, on_growth)
            if growth is SAMPLES:
                earned = sample_rewards(forest, self._rewards)
                result |= qualities(forest, earned, self._rewards.solved_at)
                if PASS in names:
                    figures |= passes(forest, self._solved(earned), self._config.samples)
            if growth is LIKELIEST and PASS_DISTINCT in names:
                earned, samples = sample_rewards(forest, self._rewards), self._config.samples
                figures |= passes_in_order(forest, earned, self._rewards.solved_at, samples)
            for name in chosen:
                figures[self._label(name)] = self._accuracy(forest, name)
        result["differences"] = self._differences(names, figures)
        return result | {"failed_rewards": self._drain()}

    def at_budget(
        self,
        names: Sequence[str],
        budget: int,
        on_growth: OnNamedGrowth = lambda name, trees: None,
    ) -> Result:
        """Returns the figures of strategies that may spend `budget` tokens a problem each.

        `{"tokens": budget, "strategies": {name: figures}, "differences": {name: figures}}`. The
        differences are to majority vote, which is always run too; `pass` and `pass_distinct` are
        the shares of problems with any right solution.
        """
        figures: Result = {}
        for growth, chosen in by_growth([YARDSTICK, *names]):
            forest = self._grow(growth, budget, on_growth)
            if PASSES.get(growth) in names:
                best = [max(row) for row in sample_rewards(forest, self._rewards)]
                figures[PASSES[growth]] = accuracy(forest, best, self._rewards.solved_at)
            for name in chosen:
                figures[name] = self._accuracy(forest, name)
        right = {name: row["right"] for name, row in figures.items()}
        differences = {
            name: paired_difference(row, right[YARDSTICK])
            for name, row in right.items()
            if name != YARDSTICK
        }
        row = {"tokens": budget, "strategies": figures, "differences": differences}
        return row | {"failed_rewards": self._drain()}

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

    def _differences(self, names: Sequence[str], figures: Result) -> Result:
        """Returns what weighted votes gain over the majority, and how far the best of n samples
        stays behind an oracle, on the same samples.

        Samples for the external judge are others, but drawn from the same seeds.
        """
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

    def _accuracy(self, forest: Forest, name: str) -> Result:
        """Returns the figures of a strategy that chooses from these trees."""
        earned = choice_rewards(
            forest, STRATEGIES[name].choose, self._verifier.equal, self._rewards
        )
        return accuracy(forest, earned, self._rewards.solved_at)

    def _solved(self, earned: Sequence[Sequence[float]]) -> list[list[bool]]:
        """Returns which of the rewards are enough for a problem to be solved."""
        return [[reward >= self._rewards.solved_at for reward in row] for row in earned]

    def _reward(self, solved: Sequence[tuple[Problem, Solution]]) -> Sequence[float | None]:
        """Returns what solutions earn, and counts those whose reward failed."""
        earned = self._verifier.rewards.of(solved)
        self._failed += earned.count(None)
        return earned

    def _drain(self) -> int:
        """Returns how many rewards failed since the last call."""
        failed, self._failed = self._failed, 0
        return failed


def _is(name: str, kind: str) -> bool:
    """Returns whether a strategy is of a kind, whatever its reduction and its judge are."""
    return name.partition(":")[0].removesuffix("_judge") == kind
