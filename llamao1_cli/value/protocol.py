"""What every value function can do, and what trains one."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from torch import Tensor

from llamao1_cli.search.protocol import Judge, keep_ratings
from llamao1_cli.search.tree import Tree


class ValueFunction(Protocol):
    """Values of the nodes of trees: the probabilities that their paths end right.

    Before it has learned, every value is the node's rating, or 0.5 where nothing is rated.
    """

    @property
    def untrained(self) -> bool:
        """Whether every value is still the rating."""
        ...

    def judge(self) -> Judge:
        """Returns a judge for trees that grow together; it reads every thought once."""
        ...

    def whole(self) -> AbstractContextManager[None]:
        """Inside, no rank needs the others to judge, even where they share out the weights."""
        ...

    def tensors(self) -> Mapping[str, Tensor]:
        """Returns its weights themselves by name, all that another process needs to judge alike."""
        ...

    def save(self, folder: Path) -> None:
        """Write it beside the model in `folder`."""
        ...

    def load(self, folder: Path) -> None:
        """Take over what `save` wrote; a folder without a value function leaves it as it is.

        Raises UserError for one of another kind or size.
        """
        ...


def judge_by(value_function: ValueFunction | None) -> Judge:
    """Returns the value function's judge; without one every node's value stays its rating."""
    return keep_ratings if value_function is None else value_function.judge()


class ValueTrainer(Protocol):
    """Trains a value function on trees whose nodes have their targets."""

    def learn(self, trees: Sequence[Tree], iteration: int) -> dict[str, float]:
        """Train on the trees of an iteration; returns the mean losses by the metric's name.

        Raises RunFailedError if a loss is not finite.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write the value function and the state of its training into a checkpoint's folder."""
        ...

    def load(self, folder: Path) -> None:
        """Put the state of the training back; the value function comes with the model's weights."""
        ...
