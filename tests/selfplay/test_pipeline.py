"""Handing problems out: nothing is lost, nothing comes twice, nothing is too old."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.errors import RunFailedError
from llamao1_cli.search.tree import Tree
from llamao1_cli.selfplay.ray.pipeline import MOST_LOSSES, Job, Pipeline
from llamao1_cli.tasks.problem import Problem

Outcome = tuple[int, bool]  # which of the chunks in flight comes back next, and whether it is lost


class FakePool:
    """Gives chunks back in the order and with the fate that `outcomes` tells."""

    def __init__(self, room: int, outcomes: Sequence[Outcome] = ()) -> None:
        self._room, self._outcomes = room, list(outcomes)
        self._chunks: list[tuple[Sequence[Job], int]] = []
        self.number = 1  # iteration whose weights chunks are played with that are submitted now
        self.submitted: list[list[int]] = []

    def has_room(self) -> bool:
        return len(self._chunks) < self._room

    def submit(self, jobs: Sequence[Job]) -> None:
        assert self.has_room()
        self.submitted.append([job.seed for job in jobs])
        self._chunks.append((jobs, self.number))

    def wait(self) -> list[tuple[Sequence[Job], list[Tree] | None]]:
        which, lost = self._outcomes.pop(0) if self._outcomes else (0, False)
        jobs, number = self._chunks.pop(which % len(self._chunks))
        return [(jobs, None if lost else [_tree(job, number) for job in jobs])]


def _tree(job: Job, number: int) -> Tree:
    tree = Tree.plant(job.problem, job.seed, 0.5)
    tree.iteration = number
    return tree


def jobs(iteration: int, count: int) -> list[Job]:
    return [
        Job((iteration, i), Problem(f"{iteration}-{i}", "?", "1"), 100 * iteration + i)
        for i in range(count)
    ]


def seeds(trees: Sequence[Tree]) -> list[int]:
    return [tree.seed for tree in trees]


def test_in_turn_every_iteration_is_its_own_in_order_and_in_chunks() -> None:
    pool = FakePool(2, [(1, False)])
    pipeline = Pipeline(pool, 2, max_staleness=0)
    for number in (1, 2):
        pool.number = number
        pipeline.add(jobs(number, 5))
        trees = pipeline.collect(5, number)
        assert seeds(trees) == [100 * number + i for i in range(5)]
        assert {tree.iteration for tree in trees} == {number}
        assert pipeline.outstanding() == []
    assert pool.submitted[:3] == [[100, 101], [102, 103], [104]]


def test_a_lost_chunk_goes_first_of_all_that_wait() -> None:
    pool = FakePool(1, [(0, True)])
    pipeline = Pipeline(pool, 2, max_staleness=0)
    pipeline.add(jobs(1, 4))
    assert seeds(pipeline.collect(4, 1)) == [100, 101, 102, 103]
    assert pool.submitted == [[100, 101], [100, 101], [102, 103]]
    assert pipeline.replayed == 2


def test_what_plays_on_is_collected_later_or_dropped_when_too_old() -> None:
    pool = FakePool(3, [(1, False), (1, False)])
    pipeline = Pipeline(pool, 2, max_staleness=1)
    pool.number = 1
    pipeline.add(jobs(1, 2) + jobs(2, 2) + jobs(3, 2))
    # The chunks of 2 and 3 overtake that of 1, which was grown by the weights of iteration 1.
    assert seeds(pipeline.collect(2, 1)) == [200, 201]
    pool.number = 2
    assert seeds(pipeline.collect(2, 2)) == [300, 301]
    pool.number = 3
    trees = pipeline.collect(2, 3)  # 1 comes back, two iterations old, and is played again
    assert seeds(trees) == [100, 101]
    assert [tree.iteration for tree in trees] == [3, 3]
    assert (pipeline.dropped, pipeline.replayed) == (2, 0)


def test_a_problem_that_kills_every_actor_ends_the_run() -> None:
    pipeline = Pipeline(FakePool(1, [(0, True)] * MOST_LOSSES), 1, max_staleness=0)
    pipeline.add(jobs(1, 1))
    with pytest.raises(RunFailedError, match="problem 1-0"):
        pipeline.collect(1, 1)


@given(
    count=st.integers(1, 5),
    chunk=st.integers(1, 4),
    room=st.integers(1, 5),
    staleness=st.integers(0, 3),
    iterations=st.integers(1, 6),
    outcomes=st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=40),
)
def test_every_problem_is_learned_from_once_and_never_too_old(
    count: int,
    chunk: int,
    room: int,
    staleness: int,
    iterations: int,
    outcomes: list[Outcome],
) -> None:
    pool = FakePool(room, outcomes)
    pipeline = Pipeline(pool, chunk, staleness)
    collected: list[int] = []
    handed = 0
    for number in range(1, iterations + 1):
        pool.number = number
        while handed < min(number + staleness, iterations):
            handed += 1
            pipeline.add(jobs(handed, count))
        try:
            trees = pipeline.collect(count, number)
        except RunFailedError:
            return  # the same problem was lost too often
        assert len(trees) == count
        assert all(0 <= number - tree.iteration <= staleness for tree in trees)
        collected += seeds(trees)
        left = [100 * iteration + index for iteration, index in pipeline.outstanding()]
        everything = [job.seed for n in range(1, handed + 1) for job in jobs(n, count)]
        assert sorted(collected + left) == everything
    assert pipeline.outstanding() == []
