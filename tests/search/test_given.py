"""Trees whose search begins behind given thoughts."""

import pytest
from chance_engine import ChanceEngine
from fake_engine import BY_EQUALITY

from llamao1_cli.config import LearnConfig, SearchConfig
from llamao1_cli.engine.protocol import Thought
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.learn.experience import experiences, grew
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.search.tree import Tree
from llamao1_cli.tasks.problem import Problem
from llamao1_cli.value.supervision import supervision_of

PROBLEM = Problem("p", "How many?", "7")


def behind(
    language: MarkedLanguage, engine: ChanceEngine, first: Thought, **search: object
) -> Tree:
    """A tree that begins behind a first thought."""
    config = SearchConfig(**{"max_depth": 2, **search})
    request = SearchRequest([PROBLEM], config, [3], rewards=BY_EQUALITY, given=[[first]])
    (tree,) = grow(request, engine, language)
    return tree


def first_thought(language: MarkedLanguage, engine: ChanceEngine) -> Thought:
    config = SearchConfig(algorithm="distinct", max_depth=2, solutions=1)
    (tree,) = grow(SearchRequest([PROBLEM], config, [1]), engine, language)
    return tree.nodes[1].thought


def test_everything_is_as_given_what_stands_before(language: MarkedLanguage) -> None:
    engine = ChanceEngine(language, seed=11, width=3, length=3)
    first = first_thought(language, engine)
    tree = behind(language, engine, first, algorithm="distinct", solutions=1000)
    below = [each for each in engine.solutions() if each.thoughts[0] == tuple(first.ids)]
    total = sum(each.probability for each in below)
    found = {tuple(leaf.thought.ids): tree.probability(leaf) for leaf in tree.leaf_nodes()}
    expected = {each.thoughts[1]: each.probability / total for each in below}
    assert found == pytest.approx({ids: expected[ids] for ids in found})
    assert sum(found.values()) == pytest.approx(1, abs=1e-4)
    right = sum(each.probability for each in below if each.right) / total
    assert tree.start.target == pytest.approx(right, abs=1e-4)
    assert tree.generated_tokens == sum(node.thought.generated for node in tree.nodes[2:])
    assert Tree.from_json(tree.to_json()) == tree


@pytest.mark.parametrize("algorithm", ["forks", "mcts", "distinct"])
def test_what_was_given_is_neither_trained_nor_charged(
    language: MarkedLanguage, algorithm: str
) -> None:
    engine = ChanceEngine(language, seed=5, width=3, length=3, evenness=3.0)
    first = first_thought(language, engine)
    tree = behind(language, engine, first, algorithm=algorithm)
    assert grew(tree)
    assert [node.parent for node in tree.nodes[:3]] == [None, 0, 1]
    assert tree.nodes[1].thought.generated == 0
    (item,) = experiences([tree], language, LearnConfig(), 1.0)
    context = (
        len(tree.path_ids(tree.start, language)) - 2
    )  # its rating is not read, but shown behind
    assert len(item.actions.at) > 0
    assert item.actions.at.min() > context
    assert len(item.ratings.at) == len(tree.nodes) - 1
    assert item.ratings.leaves.max() == pytest.approx(tree.start.leaves)
    supervision = supervision_of([tree])
    assert supervision.leaves[0] == 0
    assert supervision.leaves[1] == pytest.approx(tree.start.leaves)
