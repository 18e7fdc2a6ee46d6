"""Growing the trees of a strategy."""

import math
from collections.abc import Callable, Sequence

from llamao1_cli.config import EvalConfig, SearchConfig
from llamao1_cli.evaluate.judges import NOBODY, Judges
from llamao1_cli.evaluate.strategies import Growth
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
    on_turn: Callable[[list[Tree]], None] = lambda trees: None,
) -> list[Tree]:
    """A tree for each problem, of `budget` tokens at most if one is given; ungraded. `judges` are
    those that the growth's strategies need."""
    plan = growth.plan(search, config, budget)
    name, limit = f"eval-{growth.seeds}", math.inf if budget is None else budget
    if plan.refinement is not None:
        return selfplay.refine(
            problems,
            plan.search,
            name,
            refinement=plan.refinement,
            prefer=judges.prefer,
            on_turn=on_turn,
            budget=limit,
        )
    endpoint = judges.endpoint if growth.external else None
    assert endpoint is not None or not growth.external, f"{growth.name} has no judge"
    return selfplay.play(
        problems,
        plan.search,
        name,
        grade=None,
        on_turn=on_turn,
        rule=plan.rule,
        judge=endpoint.judge() if endpoint else plan.judge,
        budget=limit,
        judging=endpoint.max_tokens if endpoint else 0,
    )
