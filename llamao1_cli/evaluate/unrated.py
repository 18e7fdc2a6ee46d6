"""What a language without ratings cannot do, said before a run costs anything."""

from collections.abc import Sequence

from llamao1_cli.config.strategies import STRATEGY_TABLE
from llamao1_cli.errors import UserError
from llamao1_cli.language.protocol import Language

BY_VALUE = {"best_of", "weighted_vote", "search_vote", "mass_value"}  # choices that read values


def check_unrated(strategies: Sequence[str], language: Language, *, valued: bool) -> None:
    """Raise UserError for the first strategy that needs what the language does not give; `valued`
    says whether a value function judges the thoughts."""
    if language.rates:
        return
    for name in strategies:
        entry = STRATEGY_TABLE.get(name)
        if entry is None:
            continue
        if entry.grow == "self_refine":
            raise UserError(
                f"eval.strategies: {name} goes on behind a solution, which ends the turn of a chat "
                "model; leave it out, or set model.language: marked"
            )
        if entry.choose in BY_VALUE and not (valued or entry.external):
            raise UserError(
                f"eval.strategies: {name} needs values, and thoughts have no ratings in the chat "
                "language; set value_head, or leave it out"
            )
