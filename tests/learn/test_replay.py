"""Prioritized replay: who is drawn how often, at what weight, and who leaves."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from fake_engine import random_tree
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.config import LearnConfig
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.learn.experience import Experience, experiences
from llamao1_cli.learn.experience_arrays import to_arrays
from llamao1_cli.learn.replay import EPSILON, Replay
from llamao1_cli.run.checkpoint import load_replay, save_replay
from llamao1_cli.search.rectify import rectify


def filled(priorities: list[float], alpha: float = 1.0) -> Replay[str]:
    replay: Replay[str] = Replay(100, alpha)
    replay.add([f"item {i}" for i in range(len(priorities))], iteration=1)
    replay.update(range(len(priorities)), [p - EPSILON for p in priorities])
    return replay


def test_draws_are_proportional_to_priorities() -> None:
    priorities, alpha = [1.0, 2.0, 4.0, 0.5], 0.7
    replay, rng = filled(priorities, alpha), np.random.default_rng(0)
    counts: Counter[int] = Counter()
    for _ in range(4000):
        serials, _ = replay.sample(3, 0.4, rng)
        counts.update(serials.tolist())
    powers = [p**alpha for p in priorities]
    for serial, power in enumerate(powers):
        assert counts[serial] / 12_000 == pytest.approx(power / sum(powers), abs=0.012)


@given(
    priorities=st.lists(st.floats(0.01, 100), min_size=1, max_size=20),
    count=st.integers(1, 50),
    seed=st.integers(0, 999),
)
def test_a_draw_takes_floor_or_ceil_of_its_share(
    priorities: list[float], count: int, seed: int
) -> None:
    serials, _ = filled(priorities).sample(count, 1.0, np.random.default_rng(seed))
    counts = Counter(serials.tolist())
    assert len(serials) == count
    for serial, priority in enumerate(priorities):
        share = count * priority / sum(priorities)
        assert np.floor(share - 1e-6) <= counts[serial] <= np.ceil(share + 1e-6)


@pytest.mark.parametrize("size", [1, 7, 32, 99])
def test_a_uniform_draw_of_all_is_one_epoch_in_random_order(size: int) -> None:
    replay = filled([0.1 + i for i in range(size)], alpha=0.0)
    rng = np.random.default_rng(0)
    orders = {tuple(replay.sample(size, 0.4, rng)[0].tolist()) for _ in range(20)}
    assert all(sorted(order) == list(range(size)) for order in orders)
    assert len(orders) > 10 or size == 1


def test_weights_are_of_the_formula_and_of_the_sample() -> None:
    priorities, alpha, beta = [1.0, 3.0, 6.0], 0.5, 0.6
    replay = filled(priorities, alpha)
    serials, weights = replay.sample(60, beta, np.random.default_rng(0))
    powers = np.sqrt(priorities)
    raw = (3 * powers / powers.sum()) ** -beta
    expected = dict(enumerate(raw / raw.max()))
    assert set(serials.tolist()) == {0, 1, 2}
    for serial, weight in zip(serials.tolist(), weights, strict=True):
        assert weight == pytest.approx(expected[serial], rel=1e-6)
    assert weights.max() == pytest.approx(1.0)  # the rarest item's


def test_weights_are_over_the_largest_of_all_items_and_not_of_the_draw() -> None:
    replay = filled([1.0, 1000.0])
    serials, weights = replay.sample(1, 1.0, np.random.default_rng(0))
    assert serials.tolist() == [1]
    assert weights[0] == pytest.approx(1e-3)


def test_uniform_draws_and_beta_zero_have_weight_one() -> None:
    rng = np.random.default_rng(0)
    assert filled([1.0, 5.0], alpha=0.0).sample(4, 1.0, rng)[1].tolist() == [1.0] * 4
    assert filled([1.0, 5.0]).sample(4, 0.0, rng)[1].tolist() == [1.0] * 4


def test_new_items_enter_at_the_largest_priority() -> None:
    replay: Replay[str] = Replay(10, 1.0)
    replay.add(["a", "b"], 1)
    assert list(replay.priorities.values()) == [1.0, 1.0]
    replay.update([0, 1], [7.0, -3.0])
    replay.add(["c"], 2)
    assert list(replay.priorities.values()) == pytest.approx([7.0, 3.0, 7.0], abs=1e-5)


def test_priorities_are_set_per_sample_from_the_size_of_the_error() -> None:
    replay = filled([1.0] * 4)
    replay.update([2, 0, 3], [-0.5, 0.25, 0.0])
    expected = [0.25 + EPSILON, 1.0, 0.5 + EPSILON, EPSILON]
    assert list(replay.priorities.values()) == pytest.approx(expected)


def test_an_item_without_error_can_still_be_drawn() -> None:
    replay = filled([1.0] * 3)
    replay.update([0, 1, 2], [0.0, 0.0, 0.0])
    serials, weights = replay.sample(3, 0.5, np.random.default_rng(0))
    assert sorted(serials.tolist()) == [0, 1, 2]  # all zero is no NaN
    assert weights.tolist() == [1.0] * 3
    replay = filled([1.0] * 3, alpha=0.25)
    replay.update([1], [0.0])
    rng = np.random.default_rng(0)
    assert any(1 in replay.sample(1, 0.5, rng)[0] for _ in range(500))


def test_capacity_and_updates_of_what_was_overwritten() -> None:
    replay: Replay[str] = Replay(3, 1.0)
    replay.add(["a", "b", "c"], 1)
    replay.add(["d", "e"], 2)
    assert replay.items == {2: "c", 3: "d", 4: "e"}
    replay.update([0, 1, 3], [9.0, 9.0, 4.0])  # 0 and 1 are gone, and touch nobody
    assert list(replay.priorities.values()) == pytest.approx([1.0, 4.0, 1.0], abs=1e-5)
    assert set(replay.priorities) == set(replay.iterations) == {2, 3, 4}
    replay.add([f"f{i}" for i in range(5)], 3)
    assert list(replay.items.values()) == ["f2", "f3", "f4"]


def test_old_items_are_dropped() -> None:
    replay: Replay[str] = Replay(10, 1.0)
    for iteration in (1, 2, 3):
        replay.add([f"of {iteration}"] * 2, iteration)
    replay.drop_older(2)
    assert list(replay.items.values()) == ["of 2", "of 2", "of 3", "of 3"]
    assert len(replay) == 4
    replay.drop_older(9)
    assert len(replay) == 0
    with pytest.raises(ValueError, match="empty"):
        replay.sample(1, 0.4, np.random.default_rng(0))
    replay.add(["again"], 9)
    assert list(replay.items) == [6]  # serial numbers are never used again


def stored(language: MarkedLanguage) -> Replay[Experience]:
    """Two trees of each iteration, one of them without actions."""
    trees = [random_tree(language, seed, 15) for seed in (3, 4)]
    for leaf in trees[1].leaf_nodes():
        leaf.earn(1.0)
    for tree in trees:
        rectify(tree, 1.0, "failure")
    replay: Replay[Experience] = Replay(50, 0.6)
    for number in (1, 2):
        for tree in trees:
            tree.iteration = number
        replay.add(experiences(trees, language, LearnConfig(), 1.0), number)
    replay.update([1, 3], [0.3, 1 / 3])
    replay.drop_older(2)
    return replay


def test_a_replay_survives_a_checkpoint(language: MarkedLanguage, tmp_path: Path) -> None:
    before, after = stored(language), Replay[Experience](50, 0.6)
    save_replay(tmp_path, before)
    load_replay(tmp_path, after)
    assert len(after) == len(before) == 2
    assert [len(item.actions.at) > 0 for item in after.items.values()] == [True, False]
    assert (after.priorities, after.iterations) == (before.priorities, before.iterations)
    for old, new in zip(before.items.values(), after.items.values(), strict=True):
        assert old.iteration == new.iteration
        pairs = [(old, new), (old.actions, new.actions), (old.ratings, new.ratings)]
        arrays = [
            (value, vars(b)[name])
            for a, b in pairs
            for name, value in vars(a).items()
            if isinstance(value, np.ndarray)
        ]
        assert len(arrays) == 11
        for a, b in arrays:
            assert np.array_equal(a, b)
            assert a.dtype == b.dtype
    draws = [r.sample(9, 0.4, np.random.default_rng(1)) for r in (before, after)]
    assert np.array_equal(draws[0], draws[1])
    for replay in (before, after):
        replay.add(list(before.items.values())[:1], 3)
    assert before.priorities == after.priorities


def test_an_empty_replay_survives_a_checkpoint(tmp_path: Path) -> None:
    after = Replay[Experience](5, 1.0)
    save_replay(tmp_path, Replay[Experience](5, 1.0))
    load_replay(tmp_path, after)
    assert len(after) == 0


@given(
    ranks=st.integers(1, 5),
    sizes=st.lists(st.integers(0, 7), min_size=1, max_size=6),
    capacity=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_shards_together_are_one_replay(
    ranks: int, sizes: list[int], capacity: int, seed: int
) -> None:
    whole: Replay[str] = Replay(capacity, 0.7)
    shards = [Replay[str](capacity, 0.7, rank, ranks) for rank in range(ranks)]
    rng = np.random.default_rng(seed)
    for number, size in enumerate(sizes):
        fresh = [f"{number}.{place}" for place in range(size)]
        whole.add(fresh, number)
        for shard in shards:
            shard.add(fresh[shard.share], number, size)
        serials, errors = list(whole.items), rng.random(len(whole)).tolist()
        for replay in (whole, *shards):
            replay.update(serials, errors)
            replay.drop_older(number - 3)
        held = [serial for shard in shards for serial in shard.items]
        assert sorted(held) == list(whole.items)  # each in one shard
        assert {s: i for shard in shards for s, i in shard.items.items()} == whole.items
        for shard in shards:
            assert list(shard.priorities.items()) == list(whole.priorities.items())
            assert len(shard.items) <= -(-capacity // ranks)
            if whole.items:
                draws = [r.sample(9, 0.4, np.random.default_rng(seed)) for r in (whole, shard)]
                assert all(np.array_equal(a, b) for a, b in zip(*draws, strict=True))


@pytest.mark.parametrize(("wrote", "reads"), [(2, 1), (1, 2), (2, 3), (3, 2)])
def test_shards_are_dealt_out_again(
    language: MarkedLanguage, tmp_path: Path, wrote: int, reads: int
) -> None:
    whole = stored(language)
    whole.add(list(whole.items.values()), 3)
    for rank in range(wrote):
        shard = Replay[Experience](50, 0.6, rank, wrote)
        for serial, item in whole.items.items():
            own = item if shard.holds(serial) else None
            shard.put(serial, own, whole.priorities[serial], whole.iterations[serial])
        save_replay(tmp_path, shard, rank)
    shards = [Replay[Experience](50, 0.6, rank, reads) for rank in range(reads)]
    for rank, shard in enumerate(shards):
        load_replay(tmp_path, shard)
        assert list(shard.priorities.items()) == list(whole.priorities.items())
        assert shard.iterations == whole.iterations
        assert all(serial % reads == rank for serial in shard.items)
    together = {serial: item for shard in shards for serial, item in shard.items.items()}
    assert together.keys() == whole.items.keys()
    for serial, item in whole.items.items():
        old, new = (to_arrays([each]) for each in (item, together[serial]))
        assert old.keys() == new.keys()
        assert all(np.array_equal(old[name], new[name]) for name in old)
