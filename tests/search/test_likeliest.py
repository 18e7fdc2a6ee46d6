"""The most probable solutions first, against the list of all of them."""

from chance_engine import ANSWERS, ChanceEngine
from fake_engine import answer_of, by_equality
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.config import SearchConfig
from llamao1_cli.evaluate.choices import mass
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.search.frontier import Frontier
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.search.rules.likeliest import Likeliest, _Progress
from llamao1_cli.search.tree import Tree
from llamao1_cli.tasks.problem import Problem

SIZES = {"width": 2, "length": 3, "depth": 2}


def searched(
    language: MarkedLanguage, engine: ChanceEngine, count: int, *, until_decided: bool
) -> Tree:
    search = SearchConfig(max_depth=2).unaided(temperature=0.0)
    rule = Likeliest(count, 2, until_decided=until_decided)
    problem = Problem("p", "How many?", "7")
    (tree,) = grow(SearchRequest([problem], search, [0], rule=rule), engine, language)
    return tree


@given(st.integers(0, 10**6))
def test_an_answer_that_is_decided_is_the_most_probable_one(
    language: MarkedLanguage, seed: int
) -> None:
    engine = ChanceEngine(language, seed=seed, **SIZES)
    shares = dict.fromkeys(ANSWERS, 0.0)
    for each in engine.solutions():
        shares[ANSWERS[not each.right]] += each.probability
    tree = searched(language, engine, 10_000, until_decided=True)
    if abs(shares["7"] - shares["8"]) > 1e-3:
        assert answer_of(mass(tree, by_equality)) == max(shares, key=lambda answer: shares[answer])
    whole = searched(language, engine, 10_000, until_decided=False)
    assert tree.generated_tokens <= whole.generated_tokens
    assert answer_of(mass(whole, by_equality)) == answer_of(mass(tree, by_equality))


def progress(*answers: tuple[str, float]) -> _Progress:
    start = Tree.plant(Problem("p", "How many?", "7"), 0, 0.5).start
    counted = _Progress(Frontier(start, None, whole=True))
    for answer, chance in answers:
        counted.covered += chance
        counted.count(answer, chance)
    return counted


def test_equal_answers_are_one_and_undecided_ones_may_be() -> None:
    assert progress(("7", 0.3), ("7.0", 0.2), ("8", 0.1)).decided is False  # 0.4 is left
    assert progress(("7", 0.4), ("7.0", 0.2), ("8", 0.1)).decided
    assert progress(("7", 0.45), ("8", 0.3), ("9", 0.2)).decided
    # Both of them may be 1/√3, together more than 7 has.
    formulas = ((r"\frac{1}{\sqrt3}", 0.3), (r"\frac{\sqrt3}{3}", 0.2))
    assert progress(("7", 0.45), *formulas).decided is False


@given(st.integers(0, 10**6), st.integers(1, 12))
def test_solutions_come_from_where_most_is_left(
    language: MarkedLanguage, seed: int, count: int
) -> None:
    """Greedy decoding first; then each leaves the known ones at the most probable branch."""
    engine = ChanceEngine(language, seed=seed, **SIZES)
    chances = {each.thoughts: each.probability for each in engine.solutions()}
    tree = searched(language, engine, count, until_decided=False)
    found = [
        tuple(tuple(node.thought.ids) for node in tree.path(leaf)[1:])
        for leaf in sorted(tree.leaf_nodes(), key=lambda leaf: leaf.id)
    ]
    assert len(found) == len({*found}) <= count
    known: list[tuple[int, ...]] = []
    for solution in (tokens(each) for each in found):
        branches: dict[tuple[int, ...], float] = {}
        for other, chance in ((tokens(each), p) for each, p in chances.items()):
            if other not in known:
                start = left_at(other, known)
                branches[start] = branches.get(start, 0.0) + chance
        assert branches[left_at(solution, known)] >= max(branches.values()) - 1e-5
        known.append(solution)


def tokens(solution: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    """All tokens of a solution, with a mark where a thought ends."""
    return tuple(token for thought in solution for token in (*thought, -1))


def left_at(solution: tuple[int, ...], known: list[tuple[int, ...]]) -> tuple[int, ...]:
    """What a solution shares with one of the known ones at most."""
    sizes = (
        next((i for i, (a, b) in enumerate(zip(solution, other, strict=False)) if a != b), 0)
        for other in known
    )
    return solution[: max(sizes, default=0)]
