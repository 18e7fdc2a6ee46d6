"""The test-time strategies: how trees grow for each, and how an answer is taken from them.

This is the one list of their names. `evaluate/strategies.py` has the code behind the words here.
"""

from dataclasses import dataclass

# Whether any solution is right, of samples or of distinct ones: no strategies, but what the best
# choice could reach.
PASS, PASS_DISTINCT = "pass", "pass_distinct"
REDUCTIONS = ("last", "min", "product", "mean")  # of the values of a path's thoughts to one


@dataclass(frozen=True)
class StrategyEntry:
    """One strategy in words."""

    grow: str  # how its trees grow
    choose: str  # how an answer is taken from a tree
    reduce: str = "last"  # what a path is worth, from the values of its thoughts
    external: bool = False  # whether the values are those of the external judge
    label: str = "{name}"  # its name in results


def _reduced(name: str, choose: str, label: str, *, external: bool) -> dict[str, StrategyEntry]:
    """Returns a strategy a reduction: `name` for the last value, `name:min` and so on."""
    return {
        name if reduce == "last" else f"{name}:{reduce}": StrategyEntry(
            "samples", choose, reduce, external, label
        )
        for reduce in REDUCTIONS
    }


STRATEGY_TABLE: dict[str, StrategyEntry] = {
    "greedy": StrategyEntry("greedy", "first_answer"),
    "majority": StrategyEntry("samples", "majority", label="{name}@{samples}"),
    **_reduced("best_of", "best_of", "{name}_{samples}", external=False),
    **_reduced("weighted_vote", "weighted_vote", "{name}@{samples}", external=False),
    **_reduced("best_of_judge", "best_of", "{name}_{samples}", external=True),
    **_reduced("weighted_vote_judge", "weighted_vote", "{name}@{samples}", external=True),
    "mass": StrategyEntry("until_decided", "mass", label="{name}@{samples}"),
    "mass_value": StrategyEntry("likeliest", "mass_value", label="{name}@{samples}"),
    "beam": StrategyEntry("beam", "weighted_vote"),
    "beam_judge": StrategyEntry("beam", "weighted_vote", external=True),
    "mcts": StrategyEntry("mcts", "search_vote"),
    "mcts_reference": StrategyEntry("mcts_reference", "search_vote"),
    "mcts_alphazero": StrategyEntry("mcts_alphazero", "search_vote"),
    "mcts_confidence": StrategyEntry("mcts_confidence", "search_vote"),
    "mcts_judge": StrategyEntry("mcts", "search_vote", external=True),
    "mcts_improvement": StrategyEntry("mcts_improvement", "best_of"),
    "self_refine": StrategyEntry("self_refine", "best_of"),
}

STRATEGY_NAMES = (*STRATEGY_TABLE, PASS, PASS_DISTINCT)
