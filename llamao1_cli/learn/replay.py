"""Prioritized experience replay (Schaul et al. 2016), proportional variant."""

from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np

Item = TypeVar("Item")

EPSILON = 1e-6  # keeps an item of zero error drawable


class Replay(Generic[Item]):
    """A ring of items, each with a priority and the iteration it came from.

    P(i) is proportional to priority_i ** alpha; weights are (N P(i)) ** -beta over the largest.

    Several ranks share one replay. Each keeps the items of its shard, those whose serial number is
    its own modulo the ranks, and knows the priorities of all: so every rank draws what one rank
    with the whole replay would.
    """

    def __init__(self, capacity: int, alpha: float, rank: int = 0, ranks: int = 1) -> None:
        self._capacity, self._alpha = capacity, alpha
        self._rank, self._ranks = rank, ranks
        self._added = 0  # serial number of the next item; its slot is serial % capacity
        self.items: dict[int, Item] = {}  # of this shard, by serial
        self.priorities: dict[int, float] = {}  # of all items, by serial, oldest first
        self.iterations: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.priorities)

    @property
    def share(self) -> slice:
        """Returns which of the items that are added next this shard keeps."""
        return slice((self._rank - self._added) % self._ranks, None, self._ranks)

    def holds(self, serial: int) -> bool:
        """Returns whether the item with this serial number belongs to this shard."""
        return serial % self._ranks == self._rank

    def add(self, items: Sequence[Item], iteration: int, total: int | None = None) -> None:
        """Append `total` items at the largest priority; the oldest go beyond the capacity.

        `items` are this shard's `share` of them; without `total` they are all there are.
        """
        priority = max(self.priorities.values(), default=1.0)
        fresh = range(self._added, self._added + (len(items) if total is None else total))
        own = dict(zip(fresh[self.share], items, strict=True))
        for serial in fresh:
            self.put(serial, own.get(serial), priority, iteration)
        for serial in [s for s in self.priorities if s < self._added - self._capacity]:
            self._drop(serial)

    def put(self, serial: int, item: Item | None, priority: float, iteration: int) -> None:
        """Put one item back under its serial number; `item` is None where another shard keeps
        it."""
        if item is not None:
            self.items[serial] = item
        self.priorities[serial] = priority
        self.iterations[serial] = iteration
        self._added = max(self._added, serial + 1)

    def drop_older(self, iteration: int) -> None:
        """Drop the items that came before `iteration`."""
        for serial in [s for s, born in self.iterations.items() if born < iteration]:
            self._drop(serial)

    def sample(
        self, count: int, beta: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns serial numbers and importance weights `[count]` of a draw, in random order.

        Systematic sampling: item i is drawn floor or ceil of count * P(i) times, so that a uniform
        draw of as many as there are is one epoch. Raises ValueError if the replay is empty.
        """
        if not self.priorities:
            raise ValueError("nothing to sample: the replay is empty")
        serials = np.array(list(self.priorities))
        scaled = np.array(list(self.priorities.values())) ** self._alpha
        chances = scaled / scaled.sum()
        points = (rng.random() + np.arange(count)) / count
        drawn = np.searchsorted(np.cumsum(chances), points, side="right")
        drawn = rng.permutation(np.minimum(drawn, len(serials) - 1))
        weights = (len(serials) * chances) ** -beta
        return serials[drawn], (weights / weights.max())[drawn]

    def update(self, serials: Sequence[int], errors: Sequence[float]) -> None:
        """Set priorities to |TD error| + epsilon; items that have left since are passed over."""
        for serial, error in zip(serials, errors, strict=True):
            if serial in self.priorities:
                self.priorities[serial] = abs(error) + EPSILON

    def _drop(self, serial: int) -> None:
        del self.priorities[serial], self.iterations[serial]
        self.items.pop(serial, None)
