"""Which problems can be played: those behind which the engine makes a thought."""

import pytest
from built_in_engine import engine

from llamao1_cli.config import SearchConfig
from llamao1_cli.errors import UserError
from llamao1_cli.evaluate.playable import playable
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.model.load import LanguageModel
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.tasks.problem import Problem

PROBLEMS = [Problem(str(n), "pens " * n, "1") for n in range(1, 30)]
LENGTH = 60


@pytest.mark.parametrize("metas", ["model", "matrix"])
def test_a_problem_is_playable_where_the_engine_makes_a_thought(
    tiny: LanguageModel, language: MarkedLanguage, metas: str
) -> None:
    search = SearchConfig(
        simulations=1, candidates=1, max_thought_tokens=10, max_depth=1, meta_actions=metas
    )
    player = engine(tiny.model, language, max_length=LENGTH)
    trees = grow(SearchRequest(PROBLEMS, search, seeds=range(len(PROBLEMS))), player, language)
    found = playable(PROBLEMS, language, search, LENGTH)
    assert found == [tree.problem for tree in trees if tree.root.children]
    assert 0 < len(found) < len(PROBLEMS)


def test_where_no_problem_can_be_played_the_remedy_is_named(language: MarkedLanguage) -> None:
    search = SearchConfig(max_thought_tokens=10)
    with pytest.raises(UserError, match=r"model\.max_length: 20 .* raise it, to \d+ for all"):
        playable(PROBLEMS, language, search, 20)
    with pytest.raises(UserError) as error:
        playable(PROBLEMS, language, search, 20)
    needed = int(str(error.value).partition("raise it, to ")[2].split()[0])
    assert playable(PROBLEMS, language, search, needed) == PROBLEMS
    assert len(playable(PROBLEMS, language, search, needed - 1)) == len(PROBLEMS) - 1
    assert playable([], language, search, 20) == []
