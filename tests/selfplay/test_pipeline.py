"""Handing problems out: nothing is lost, nothing comes twice, nothing is too old."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.errors import RunFailedError
from llamao1_cli.search.tree import Tree
from llamao1_cli.selfplay.ray.pipeline import MOST_LOSSES, Pipeline, Play
from llamao1_cli.tasks.problem import Problem

Outcome = tuple[int, bool]  # which of the chunks in flight comes back next, and whether it is lost


class FakeCrew:
    """Gives chunks back in the order and with the fate that `outcomes` tells."""

    def __init__(self, places: int, outcomes: Sequence[Outcome] = ()) -> None:
        self._places, self._outcomes = places, list(outcomes)
        self._chunks: list[tuple[Sequence[Play], int]] = []
        self.number = 1  # iteration whose weights chunks are played with that are submitted now
        self.submitted: list[list[int]] = []

    def room(self) -> bool:
        return len(self._chunks) < self._places

    def submit(self, plays: Sequence[Play]) -> None:
        assert self.room()
        self.submitted.append([play.seed for play in plays])
        self._chunks.append((plays, self.number))

    def wait(self) -> list[tuple[Sequence[Play], list[Tree] | None]]:
        which, lost = self._outcomes.pop(0) if self._outcomes else (0, False)
        plays, number = self._chunks.pop(which % len(self._chunks))
        return [(plays, None if lost else [_tree(play, number) for play in plays])]


def _tree(play: Play, number: int) -> Tree:
    tree = Tree.plant(play.problem, play.seed, 0.5)
    tree.iteration = number
    return tree


def plays(iteration: int, count: int) -> list[Play]:
    return [
        Play((iteration, i), Problem(f"{iteration}-{i}", "?", "1"), 100 * iteration + i)
        for i in range(count)
    ]


def seeds(trees: Sequence[Tree]) -> list[int]:
    return [tree.seed for tree in trees]


def test_in_turn_every_iteration_is_its_own_in_order_and_in_chunks() -> None:
    crew = FakeCrew(2, [(1, False)])
    pipeline = Pipeline(crew, 2, max_staleness=0)
    for number in (1, 2):
        crew.number = number
        pipeline.add(plays(number, 5))
        trees = pipeline.collect(5, number)
        assert seeds(trees) == [100 * number + i for i in range(5)]
        assert {tree.iteration for tree in trees} == {number}
        assert pipeline.outstanding() == []
    assert crew.submitted[:3] == [[100, 101], [102, 103], [104]]


def test_a_lost_chunk_goes_first_of_all_that_wait() -> None:
    crew = FakeCrew(1, [(0, True)])
    pipeline = Pipeline(crew, 2, max_staleness=0)
    pipeline.add(plays(1, 4))
    assert seeds(pipeline.collect(4, 1)) == [100, 101, 102, 103]
    assert crew.submitted == [[100, 101], [100, 101], [102, 103]]
    assert pipeline.replayed == 2


def test_what_plays_on_is_collected_later_or_dropped_when_too_old() -> None:
    crew = FakeCrew(3, [(1, False), (1, False)])
    pipeline = Pipeline(crew, 2, max_staleness=1)
    crew.number = 1
    pipeline.add(plays(1, 2) + plays(2, 2) + plays(3, 2))
    # The chunks of 2 and 3 overtake that of 1, which was grown by the weights of iteration 1.
    assert seeds(pipeline.collect(2, 1)) == [200, 201]
    crew.number = 2
    assert seeds(pipeline.collect(2, 2)) == [300, 301]
    crew.number = 3
    trees = pipeline.collect(2, 3)  # 1 comes back, two iterations old, and is played again
    assert seeds(trees) == [100, 101]
    assert [tree.iteration for tree in trees] == [3, 3]
    assert (pipeline.dropped, pipeline.replayed) == (2, 0)


def test_a_problem_that_kills_every_actor_ends_the_run() -> None:
    pipeline = Pipeline(FakeCrew(1, [(0, True)] * MOST_LOSSES), 1, max_staleness=0)
    pipeline.add(plays(1, 1))
    with pytest.raises(RunFailedError, match="problem 1-0"):
        pipeline.collect(1, 1)


@given(
    count=st.integers(1, 5),
    chunk=st.integers(1, 4),
    places=st.integers(1, 5),
    staleness=st.integers(0, 3),
    iterations=st.integers(1, 6),
    outcomes=st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=40),
)
def test_every_problem_is_learned_from_once_and_never_too_old(
    count: int,
    chunk: int,
    places: int,
    staleness: int,
    iterations: int,
    outcomes: list[Outcome],
) -> None:
    crew = FakeCrew(places, outcomes)
    pipeline = Pipeline(crew, chunk, staleness)
    collected: list[int] = []
    handed = 0
    for number in range(1, iterations + 1):
        crew.number = number
        while handed < min(number + staleness, iterations):
            handed += 1
            pipeline.add(plays(handed, count))
        try:
            trees = pipeline.collect(count, number)
        except RunFailedError:
            return  # the same problem was lost too often
        assert len(trees) == count
        assert all(0 <= number - tree.iteration <= staleness for tree in trees)
        collected += seeds(trees)
        left = [100 * iteration + place for iteration, place in pipeline.outstanding()]
        everything = [play.seed for n in range(1, handed + 1) for play in plays(n, count)]
        assert sorted(collected + left) == everything
    assert pipeline.outstanding() == []
