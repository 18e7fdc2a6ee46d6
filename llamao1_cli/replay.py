"""Prioritized experience replay (Schaul et al. 2016), proportional variant."""

from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np

Item = TypeVar("Item")

EPSILON = 1e-6  # keeps an item of zero error drawable


class Replay(Generic[Item]):
    """A ring of items, each with a priority and the iteration it came from.

    P(i) is proportional to priority_i ** alpha; weights are (N P(i)) ** -beta over the largest.
    """

    def __init__(self, capacity: int, alpha: float) -> None:
        self._capacity, self._alpha = capacity, alpha
        self._added = 0  # serial number of the next item; its slot is serial % capacity
        self.items: dict[int, Item] = {}  # by serial, oldest first
        self.priorities: dict[int, float] = {}
        self.iterations: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.items)

    def add(self, items: Sequence[Item], iteration: int) -> None:
        """Append items at the largest priority; the oldest give way beyond the capacity."""
        priority = max(self.priorities.values(), default=1.0)
        for item in items:
            self.put(self._added, item, priority, iteration)
        for serial in [s for s in self.items if s < self._added - self._capacity]:
            self._drop(serial)

    def put(self, serial: int, item: Item, priority: float, iteration: int) -> None:
        """Place one item under its serial number, as a checkpoint restores it."""
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
        """Serial numbers and importance weights `[count]` of a draw, in random order.

        Systematic sampling: item i is drawn floor or ceil of count * P(i) times, so that a uniform
        draw of as many as there are is one epoch. Raises ValueError if the replay is empty.
        """
        if not self.items:
            raise ValueError("nothing to sample: the replay is empty")
        serials = np.array(list(self.items))
        scaled = np.array([self.priorities[s] for s in serials]) ** self._alpha
        chances = scaled / scaled.sum()
        points = (rng.random() + np.arange(count)) / count
        drawn = np.searchsorted(np.cumsum(chances), points, side="right")
        drawn = rng.permutation(np.minimum(drawn, len(serials) - 1))
        weights = (len(serials) * chances) ** -beta
        return serials[drawn], (weights / weights.max())[drawn]

    def update(self, serials: Sequence[int], errors: Sequence[float]) -> None:
        """Set priorities to |TD error| + epsilon; items that have left since are passed over."""
        for serial, error in zip(serials, errors, strict=True):
            if serial in self.items:
                self.priorities[serial] = abs(error) + EPSILON

    def _drop(self, serial: int) -> None:
        del self.items[serial], self.priorities[serial], self.iterations[serial]
