"""Growing the trees of a strategy."""

import math
from collections.abc import Callable, Sequence

from llamao1_cli.config import EvalConfig, SearchConfig
from llamao1_cli.search.tree import Tree
from llamao1_cli.selfplay import SelfPlay
from llamao1_cli.strategies.registry import Growth
from llamao1_cli.tasks.problem import Problem


def play(
    growth: Growth,
    problems: Sequence[Problem],
    selfplay: SelfPlay,
    search: SearchConfig,
    config: EvalConfig,
    *,
    budget: int | None = None,
    on_turn: Callable[[list[Tree]], None] = lambda trees: None,
) -> list[Tree]:
    """A tree for each problem, of `budget` tokens at most if one is given; ungraded."""
    plan = growth.plan(search, config, budget)
    return selfplay.play(
        problems,
        plan.search,
        f"eval-{growth.seeds}",
        grade=None,
        on_turn=on_turn,
        rule=plan.rule,
        judge=plan.judge,
        budget=math.inf if budget is None else budget,
    )
