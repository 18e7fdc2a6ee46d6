"""All strategies by name: how trees grow for them, and how they choose an answer.

Strategies of one growth choose from the same trees, and are charged for them alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from llamao1_cli.config import EvalConfig, SearchConfig
from llamao1_cli.evaluate.choices import (
    Choose,
    best_of,
    first_answer,
    majority,
    search_vote,
    weighted_vote,
)
from llamao1_cli.evaluate.confidence import Confidence
from llamao1_cli.evaluate.reductions import REDUCTIONS
from llamao1_cli.search.grow import Judge, SearchRule
from llamao1_cli.search.refine.self_refine import Refinement
from llamao1_cli.search.rules.beam import Beam
from llamao1_cli.search.rules.improvement import Improvement
from llamao1_cli.search.rules.mcts import Mcts
from llamao1_cli.search.rules.samples import Samples

PASS = "pass"  # whether any sample is right: no strategy, but what the best choice could reach


@dataclass(frozen=True)
class Plan:
    """One growth made ready: for one forest, since rules and judges keep notes of their trees."""

    search: SearchConfig
    rule: SearchRule | None = None  # None: by `refinement`
    judge: Judge | None = None  # None: the run's own values
    refinement: Refinement | None = None


@dataclass(frozen=True)
class Growth:
    """A way to grow trees for problems whose answers nobody knows."""

    name: str
    seeds: str  # growths that share it draw the same first samples, and differ by less chance
    plan: Callable[[SearchConfig, EvalConfig, int | None], Plan]  # None: no budget of tokens
    external: bool = False  # whether values come from the external judge

    def judged(self) -> "Growth":
        """The same growth by the external judge's values, from the same first samples."""
        return replace(self, name=f"{self.name}_judge", external=True)


@dataclass(frozen=True)
class Strategy:
    """A growth and the choice of an answer from its trees."""

    growth: Growth
    choose: Choose
    form: str = "{name}"  # its name in results

    def label(self, name: str, samples: int) -> str:
        """The strategy `name` in results, with the number of samples where it has one."""
        base, _, reduction = name.partition(":")
        return self.form.format(name=base, samples=samples) + (reduction and f":{reduction}")


def _greedy(search: SearchConfig, config: EvalConfig, budget: int | None) -> Plan:
    """The likeliest token each time; a second chain would be the same."""
    return Plan(search.unaided(algorithm="forks", temperature=0.0), Samples(1, endless=False))


def _samples(search: SearchConfig, config: EvalConfig, budget: int | None) -> Plan:
    flat = search.unaided(algorithm="forks", temperature=config.temperature)
    return Plan(flat, Samples(config.samples, endless=budget is not None))


def _beam(search: SearchConfig, config: EvalConfig, budget: int | None) -> Plan:
    steps = search.unaided(algorithm="mcts", rollout=False, temperature=config.temperature)
    return Plan(steps, Beam(config.beam_width, search.candidates, search.max_depth, budget))


def _mcts(
    search: SearchConfig,
    config: EvalConfig,
    budget: int | None,
    *,
    selection: Literal["reference", "alphazero"] | None = None,
    confident: bool = False,
) -> Plan:
    """Under a budget the tokens end the search; a selection that costs none still counts as one,
    or a tree with nothing left to try would be searched for ever."""
    tree = search.unaided(
        algorithm="mcts",
        temperature=config.temperature,
        simulations=config.simulations if budget is None else budget,
        selection=selection or search.selection,
    )
    return Plan(tree, Mcts(tree), Confidence() if confident else None)


def _mcts_improvement(search: SearchConfig, config: EvalConfig, budget: int | None) -> Plan:
    """Without a budget as many roll-outs as `mcts` has at the most."""
    tree = search.unaided(algorithm="mcts", rollout=True, temperature=config.temperature)
    rollouts = config.simulations * search.candidates if budget is None else budget
    return Plan(tree, Improvement(rollouts, search.max_depth))


def _self_refine(search: SearchConfig, config: EvalConfig, budget: int | None) -> Plan:
    """A rewriting takes a token at least, so that under a budget the tokens end the search."""
    whole = search.unaided(temperature=config.temperature)
    rewritings = config.simulations if budget is None else budget
    return Plan(whole, refinement=Refinement(rewritings=rewritings))


GREEDY = Growth("greedy", "greedy", _greedy)
SAMPLES = Growth("samples", "samples", _samples)
BEAM = Growth("beam", "beam", _beam)
MCTS = {
    "mcts": Growth("mcts", "mcts", _mcts),
    "mcts_reference": Growth("mcts_reference", "mcts", partial(_mcts, selection="reference")),
    "mcts_alphazero": Growth("mcts_alphazero", "mcts", partial(_mcts, selection="alphazero")),
    "mcts_confidence": Growth("mcts_confidence", "mcts", partial(_mcts, confident=True)),
}
MCTS["mcts_judge"] = MCTS["mcts"].judged()
IMPROVEMENT = Growth("mcts_improvement", "mcts", _mcts_improvement)
JUDGED_SAMPLES, JUDGED_BEAM = SAMPLES.judged(), BEAM.judged()
SELF_REFINE = Growth("self_refine", "self_refine", _self_refine)


def _reduced(
    name: str, choose: Callable[..., str | None], form: str, growth: Growth = SAMPLES
) -> dict[str, Strategy]:
    """A strategy a reduction: `name` for the last step's value, `name:min` and so on."""
    return {
        name if reduction == "last" else f"{name}:{reduction}": Strategy(
            growth, partial(choose, reduce=reduce), form
        )
        for reduction, reduce in REDUCTIONS.items()
    }


STRATEGIES: dict[str, Strategy] = {
    "greedy": Strategy(GREEDY, first_answer),
    "majority": Strategy(SAMPLES, majority, "{name}@{samples}"),
    **_reduced("best_of", best_of, "{name}_{samples}"),
    **_reduced("weighted_vote", weighted_vote, "{name}@{samples}"),
    **_reduced("best_of_judge", best_of, "{name}_{samples}", JUDGED_SAMPLES),
    **_reduced("weighted_vote_judge", weighted_vote, "{name}@{samples}", JUDGED_SAMPLES),
    "beam": Strategy(BEAM, weighted_vote),
    "beam_judge": Strategy(JUDGED_BEAM, weighted_vote),
    **{name: Strategy(growth, search_vote) for name, growth in MCTS.items()},
    "mcts_improvement": Strategy(IMPROVEMENT, best_of),
    "self_refine": Strategy(SELF_REFINE, best_of),
}


def by_growth(names: Sequence[str]) -> list[tuple[Growth, list[str]]]:
    """The growths that some strategies need, each with those that choose from its trees, in the
    order of the registry; `pass` needs samples and chooses nothing.

    Raises ValueError for a name that is none.
    """
    if unknown := {*names} - {*STRATEGIES, PASS}:
        raise ValueError(f"no strategies: {', '.join(sorted(unknown))}")
    chosen: dict[Growth, list[str]] = {}
    for name, strategy in STRATEGIES.items():
        if name in names:
            chosen.setdefault(strategy.growth, []).append(name)
    if PASS in names:
        chosen.setdefault(SAMPLES, [])
    return list(chosen.items())
