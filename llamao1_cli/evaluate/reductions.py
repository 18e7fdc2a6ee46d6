"""Ways to reduce the values of a path's steps to one: pure functions of one or more numbers."""

import math
from collections.abc import Callable, Sequence

Reduction = Callable[[Sequence[float]], float]


def last(values: Sequence[float]) -> float:
    """Returns the value of the last step: what is thought of the whole path."""
    return values[-1]


def lowest(values: Sequence[float]) -> float:
    """Returns the smallest value: a path is as good as its weakest step."""
    return min(values)


def product(values: Sequence[float]) -> float:
    """Returns the product: the chance that no step fails, were they independent."""
    return math.prod(values)


def mean(values: Sequence[float]) -> float:
    """Returns the arithmetic mean."""
    return math.fsum(values) / len(values)


# By their names in `config/strategies.py`; strategies without a reduction in their name use `last`.
REDUCTIONS: dict[str, Reduction] = {
    "last": last,
    "min": lowest,
    "product": product,
    "mean": mean,
}
