"""All strategies by name: how trees grow for them, and how they choose an answer.

Strategies that share a growth choose from the same trees, and each is charged for all of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from llamao1_cli.config import EvalConfig, SearchConfig
from llamao1_cli.config.strategies import PASS, PASS_DISTINCT, STRATEGY_TABLE, StrategyEntry
from llamao1_cli.evaluate.choices import CHOICES, REDUCING, Choose
from llamao1_cli.evaluate.confidence import Confidence
from llamao1_cli.evaluate.reductions import REDUCTIONS
from llamao1_cli.search.protocol import Judge, SearchRule
from llamao1_cli.search.refine.solutions import Refinement
from llamao1_cli.search.rules.beam import Beam
from llamao1_cli.search.rules.improvement import Improvement
from llamao1_cli.search.rules.likeliest import Likeliest
from llamao1_cli.search.rules.mcts import Mcts
from llamao1_cli.search.rules.samples import Samples


@dataclass(frozen=True)
class Setup:
    """What a growth needs for one forest; rules and judges keep notes of its trees."""

    search: SearchConfig
    rule: SearchRule | None = None  # None: `refinement` grows the trees
    judge: Judge | None = None  # None: the run's own values
    refinement: Refinement | None = None


@dataclass(frozen=True)
class Growth:
    """A way to grow trees for problems whose answers nobody knows."""

    name: str
    seeds: str  # growths that share it draw the same first samples, so that chance differs less
    set_up: Callable[[SearchConfig, EvalConfig, int | None], Setup]  # last: token budget, if any
    external: bool = False  # whether values come from the external judge

    def judged(self) -> "Growth":
        """Returns the same growth by the external judge's values, from the same first samples."""
        return replace(self, name=f"{self.name}_judge", external=True)


@dataclass(frozen=True)
class Strategy:
    """A growth and the choice of an answer from its trees."""

    growth: Growth
    choose: Choose
    form: str  # its name in results

    def label(self, name: str, samples: int) -> str:
        """Returns the strategy's name in results, with the number of samples where it has one."""
        base, _, reduction = name.partition(":")
        return self.form.format(name=base, samples=samples) + (reduction and f":{reduction}")


def _greedy(search: SearchConfig, config: EvalConfig, budget: int | None) -> Setup:
    """Take the likeliest token each time; a second chain would be the same."""
    one = search.unaided(temperature=0.0, replacement=True)
    return Setup(one, Samples(1, search.max_depth, endless=False))


def _samples(search: SearchConfig, config: EvalConfig, budget: int | None) -> Setup:
    flat = search.unaided(temperature=config.temperature, replacement=True)
    rule = Samples(config.samples, search.max_depth, endless=budget is not None)
    return Setup(flat, rule)


def _likeliest(
    search: SearchConfig, config: EvalConfig, budget: int | None, *, until_decided: bool = False
) -> Setup:
    """Take the most probable solutions, whose meta-actions the model writes: all tokens have a
    probability, at temperature 0 that of temperature 1. A solution takes a token at least, so that
    a budget ends the search."""
    alone = search.unaided(meta_actions="model", temperature=0.0, replacement=True)
    solutions = config.samples if budget is None else budget
    return Setup(alone, Likeliest(solutions, search.max_depth, until_decided=until_decided))


def _beam(search: SearchConfig, config: EvalConfig, budget: int | None) -> Setup:
    steps = search.unaided(temperature=config.temperature)
    return Setup(steps, Beam(config.beam_width, search.candidates, search.max_depth, budget))


def _mcts(
    search: SearchConfig,
    config: EvalConfig,
    budget: int | None,
    *,
    selection: Literal["reference", "alphazero"] | None = None,
    confident: bool = False,
) -> Setup:
    """Search as MCTS does. Under a budget the tokens end the search, or as many simulations: where
    a tree has nothing left to try, they cost no tokens and would never end."""
    tree = search.unaided(
        temperature=config.temperature,
        simulations=config.simulations if budget is None else budget,
        selection=selection or search.selection,
    )
    return Setup(tree, Mcts(tree), Confidence() if confident else None)


def _mcts_improvement(search: SearchConfig, config: EvalConfig, budget: int | None) -> Setup:
    """Search for the best conclusion; without a budget, by at most as many roll-outs as `mcts`."""
    tree = search.unaided(temperature=config.temperature)
    rollouts = config.simulations * search.candidates if budget is None else budget
    return Setup(tree, Improvement(rollouts, search.max_depth))


def _self_refine(search: SearchConfig, config: EvalConfig, budget: int | None) -> Setup:
    """Rewrite whole solutions; a rewriting takes a token at least, so that a budget ends the
    search."""
    whole = search.unaided(temperature=config.temperature)
    rewritings = config.simulations if budget is None else budget
    return Setup(whole, refinement=Refinement(rewritings=rewritings))


SAMPLES = Growth("samples", "samples", _samples)
LIKELIEST = Growth("likeliest", "likeliest", _likeliest)
SELF_REFINE = Growth("self_refine", "self_refine", _self_refine)
_GROWTHS = (
    Growth("greedy", "greedy", _greedy),
    SAMPLES,
    LIKELIEST,
    Growth("until_decided", "likeliest", partial(_likeliest, until_decided=True)),
    Growth("beam", "beam", _beam),
    Growth("mcts", "mcts", _mcts),
    Growth("mcts_reference", "mcts", partial(_mcts, selection="reference")),
    Growth("mcts_alphazero", "mcts", partial(_mcts, selection="alphazero")),
    Growth("mcts_confidence", "mcts", partial(_mcts, confident=True)),
    Growth("mcts_improvement", "mcts", _mcts_improvement),
    SELF_REFINE,
)
GROWTHS = {growth.name: growth for growth in _GROWTHS}


PASSES = {SAMPLES: PASS, LIKELIEST: PASS_DISTINCT}  # whether any solution is right


def _strategy(entry: StrategyEntry) -> Strategy:
    """Returns the strategy that an entry of the configuration's list describes."""
    growth, choose = GROWTHS[entry.grow], CHOICES[entry.choose]
    if entry.choose in REDUCING:
        choose = partial(choose, reduce=REDUCTIONS[entry.reduce])
    return Strategy(growth.judged() if entry.external else growth, choose, entry.label)


STRATEGIES: dict[str, Strategy] = {name: _strategy(entry) for name, entry in STRATEGY_TABLE.items()}


def by_growth(names: Sequence[str]) -> list[tuple[Growth, list[str]]]:
    """Returns the growths that strategies need, each with the names of those that choose from it.

    They come in the order of the table; `pass` and `pass_distinct` need solutions and choose
    nothing. Raises ValueError for an unknown name.
    """
    if unknown := {*names} - {*STRATEGIES, *PASSES.values()}:
        raise ValueError(f"no strategies: {', '.join(sorted(unknown))}")
    chosen: dict[Growth, list[str]] = {}
    for name, strategy in STRATEGIES.items():
        if name in names:
            chosen.setdefault(strategy.growth, []).append(name)
    for growth, name in PASSES.items():
        if name in names:
            chosen.setdefault(growth, [])
    return list(chosen.items())
