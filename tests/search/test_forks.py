"""Chains and forks: where the second round branches off."""

from fake_engine import BY_EQUALITY, FakeEngine, shaped_tree

from llamao1_cli.config import SearchConfig
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.search.protocol import Pick
from llamao1_cli.search.rules.forks import Forks, failed, mixed, promising_thoughts, uncertain_steps
from llamao1_cli.search.tree import Tree
from llamao1_cli.tasks.problem import Problem


def played(language: MarkedLanguage, think, count: int = 1, **changes: object) -> list[Tree]:
    problems = [Problem(f"p{i}", f"How many are {i}?", "7") for i in range(count)]
    config = SearchConfig(algorithm="forks", **changes)
    return grow(
        SearchRequest(problems, config, range(count), rewards=BY_EQUALITY),
        FakeEngine(language, think),
        language,
    )


def long_chains(request, depth, meta, rng):
    return (f"\\boxed{{{rng.integers(7, 9)}}}", 0.5) if depth == 4 else ("a step", 0.5)


def always_wrong(request, depth, meta, rng):
    return ("\\boxed{8}", 0.5) if depth == 3 else ("a step", 0.5)


def test_chains_are_independent_and_of_full_length(language: MarkedLanguage) -> None:
    (tree,) = played(language, long_chains, chains=6, forks=0)
    assert len(tree.root.children) == 6
    assert len(tree.nodes) == 1 + 6 * 4
    assert all(len(node.children) <= 1 for node in tree.nodes[1:])
    assert tree.nodes[4].thought.logprobs != tree.nodes[8].thought.logprobs
    short = played(language, long_chains, chains=2, forks=0, max_depth=3)[0]
    assert {leaf.depth for leaf in short.leaf_nodes()} == {3}


def test_forks_stand_below_the_parents_of_the_most_uncertain_steps(
    language: MarkedLanguage,
) -> None:
    (tree,) = played(language, long_chains, chains=4, forks=3, max_forks=9)
    (before,) = played(language, long_chains, chains=4, forks=0)
    assert mixed(before)
    steps = [n for n in before.nodes if n.depth >= 2]
    steps.sort(key=lambda node: -max(node.thought.entropy))
    expected = [node.parent for node in steps[:3]]
    first_new = len(before.nodes)
    assert [n.thought for n in tree.nodes[:first_new]] == [n.thought for n in before.nodes]
    roots = [node for node in tree.nodes[first_new:] if node.parent < first_new]
    assert [node.parent for node in roots] == expected
    assert all(
        tree.nodes[leaf.id].depth == 4 and leaf.outcome is not None for leaf in tree.leaf_nodes()
    )


def test_failed_trees_are_forked_at_their_most_promising_thoughts(language: MarkedLanguage) -> None:
    tree = shaped_tree([0, 1, 2, 0, 4, 5], {3: False, 6: False})
    for node, value in zip(tree.nodes, (0.5, 0.3, 0.2, 0.1, 0.1, 0.4, 0.9), strict=True):
        node.value = value
    # Chains of three: 0.3 / 2 and 0.2 / 1, 0.1 / 2 and 0.4 / 1; conclusions cannot be forked.
    assert [node.id for _, node in promising_thoughts([tree])] == [5, 2, 1, 4]
    assert uncertain_steps([tree]) == []
    tree.nodes[3].earn(1.0)
    assert promising_thoughts([tree]) == []


def test_forks_go_to_mixed_and_to_failed_trees_in_turn_within_budget_and_cap(
    language: MarkedLanguage,
) -> None:
    def think(request, depth, meta, rng):
        hopeless = request.path[: len(stuck)] == stuck
        return (always_wrong if hopeless else long_chains)(request, depth, meta, rng)

    stuck = language.root("How many are 1?")
    settings = {"chains": 4, "max_forks": 3}
    before = played(language, think, 4, forks=0.0, **settings)
    kinds = [(failed(tree), mixed(tree)) for tree in before]
    assert {(True, False), (False, True)} <= {*kinds}
    made = [tree.expansions - 4 for tree in played(language, think, 4, forks=2.0, **settings)]
    assert max(made) == 3  # the cap
    assert sum(made) == min(2 * 4, 3 * sum(map(any, kinds)))  # all that may be forked
    frugal = [tree.expansions - 4 for tree in played(language, think, 4, forks=0.5, **settings)]
    forked = [kind for kind, forks in zip(kinds, frugal, strict=True) for _ in range(forks)]
    assert sorted(forked) == [(False, True), (True, False)]  # the budget, one to each kind


def test_nothing_is_forked_where_nobody_knows_the_outcomes(language: MarkedLanguage) -> None:
    engine = FakeEngine(language, long_chains)
    config = SearchConfig(algorithm="forks", chains=4, forks=5)
    tree = grow(SearchRequest([Problem("p", "How many?", "7")], config, [0]), engine, language)[0]
    assert tree.expansions == len(engine.requests) == 4


def test_there_are_two_rounds_and_no_third(language: MarkedLanguage) -> None:
    (tree,) = played(language, long_chains, chains=4, forks=0)
    rule = Forks(SearchConfig(algorithm="forks", chains=4, forks=2, max_forks=6))
    assert rule.pick([tree]) == [Pick(tree, tree.root, 4)]
    second = rule.pick([tree])
    assert len(second) == 2
    assert all(p.node.depth >= 1 and not p.node.terminal and p.count == 1 for p in second)
    assert rule.pick([tree]) == []
