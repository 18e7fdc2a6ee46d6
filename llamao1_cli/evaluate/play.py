"""Grows the trees that a strategy chooses its answers from."""

import math
from collections.abc import Sequence

from llamao1_cli.config import EvalConfig, SearchConfig
from llamao1_cli.evaluate.judges import NOBODY, Judges
from llamao1_cli.evaluate.strategies import Growth
from llamao1_cli.search.grow import SearchRequest
from llamao1_cli.search.pending import TokenBudget
from llamao1_cli.search.protocol import OnGrowth, unwatched
from llamao1_cli.search.tree import Tree
from llamao1_cli.selfplay.local import SelfPlay
from llamao1_cli.tasks.problem import Problem


def play(
    growth: Growth,
    problems: Sequence[Problem],
    selfplay: SelfPlay,
    search: SearchConfig,
    config: EvalConfig,
    judges: Judges = NOBODY,
    *,
    budget: int | None = None,
    on_growth: OnGrowth = unwatched,
) -> list[Tree]:
    """Returns a tree for each problem, of `budget` tokens at most if one is given; ungraded.
    `judges` are those that the growth's strategies need."""
    setup = growth.set_up(search, config, budget)
    endpoint = judges.endpoint if growth.external else None
    assert endpoint is not None or not growth.external, f"{growth.name} has no judge"
    request = SearchRequest(
        problems,
        setup.search,
        rule=setup.rule,
        judge=endpoint.judge() if endpoint else setup.judge,
        budget=TokenBudget(
            math.inf if budget is None else budget, endpoint.max_tokens if endpoint else 0
        ),
        on_growth=on_growth,
    )
    name = f"eval-{growth.seeds}"
    if setup.refinement is not None:
        return selfplay.refine(request, name, setup.refinement, judges.prefer)
    return selfplay.play(request, name)
