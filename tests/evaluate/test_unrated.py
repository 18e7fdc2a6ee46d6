"""Strategies that need values or ratings say so where there are none."""

import pytest
from chat_models import chat_language

from llamao1_cli.config.strategies import STRATEGY_NAMES
from llamao1_cli.errors import UserError
from llamao1_cli.evaluate.unrated import check_unrated
from llamao1_cli.language.marked_language import MarkedLanguage

CHAT = chat_language()
NEED_NOTHING = {"greedy", "majority", "mass", "pass", "pass_distinct"}


@pytest.mark.parametrize("name", STRATEGY_NAMES)
def test_what_reads_values_needs_a_value_function(name: str, language: MarkedLanguage) -> None:
    check_unrated([name], language, valued=False)
    if name in NEED_NOTHING or name.split(":")[0].endswith("_judge"):
        check_unrated([name], CHAT, valued=False)
    elif name == "self_refine":
        with pytest.raises(UserError, match=r"^eval\.strategies: self_refine .* leave it out"):
            check_unrated([name], CHAT, valued=True)
    else:
        check_unrated([name], CHAT, valued=True)
        with pytest.raises(UserError, match=rf"^eval\.strategies: {name} needs values.*value_head"):
            check_unrated(["greedy", name], CHAT, valued=False)
