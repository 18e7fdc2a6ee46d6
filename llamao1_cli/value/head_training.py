"""Training of the value head on the targets of recent trees."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from llamao1_cli.config import ValueHeadConfig
from llamao1_cli.errors import RunFailedError
from llamao1_cli.files.reading import reading
from llamao1_cli.search.tree import Tree
from llamao1_cli.value.features import FEATURES, PathStats, extend_paths, feature_rows
from llamao1_cli.value.head import ValueHead
from llamao1_cli.value.supervision import Supervision, join, supervision_of

# Newest iterations whose trees are learned from. Older ones were sampled from another policy and
# calibrate the head worse; one iteration alone has few nodes.
WINDOW = 4
EXAMPLES_FILE = "value_examples.safetensors"


@dataclass(frozen=True)
class Examples:
    """The nodes of an iteration's trees: the head's inputs, and what it is to learn from them."""

    features: np.ndarray  # [N, F] float32
    supervision: Supervision


def examples_of(trees: Sequence[Tree], names: Sequence[str] = FEATURES) -> Examples:
    """Returns all nodes of trees with targets, tree by tree, with the named features."""
    rows = []
    for tree in trees:
        paths: list[PathStats] = []
        extend_paths(paths, tree.nodes)
        rows.append(feature_rows(paths, names))
    return Examples(np.concatenate(rows), supervision_of(trees))


class HeadTrainer:
    """Trains a value head on the trees of the last `WINDOW` iterations, on every rank alike."""

    def __init__(self, head: ValueHead, config: ValueHeadConfig) -> None:
        self._head, self._config = head, config
        self._recent: list[Examples] = []  # an iteration each, oldest first

    def learn(self, trees: Sequence[Tree], iteration: int) -> dict[str, float]:
        """Train from the present weights on; returns the mean losses of the last step.

        Raises RunFailedError if a loss is not finite.
        """
        self._recent = [*self._recent, examples_of(trees, self._head.names)][-WINDOW:]
        value, pair = self._fit()
        if not math.isfinite(value + pair):
            raise RunFailedError(f"the value head's loss is not finite in iteration {iteration}")
        return {"value_head_loss": value, "value_head_pair_loss": pair}

    def _fit(self) -> tuple[float, float]:
        """Take all steps with a fresh Adam; last iteration's moments are of another loss."""
        head, config = self._head, self._config
        features = torch.from_numpy(np.concatenate([each.features for each in self._recent]))
        supervision = join([each.supervision for each in self._recent])
        leaves, pairs = supervision.sizes
        head.standardise(features)
        optimizer = torch.optim.Adam(head.parameters())
        for step in range(config.steps):
            optimizer.param_groups[0]["lr"] = config.learning_rate * (1 - step / config.steps)
            value, pair = supervision.losses(head(features))
            optimizer.zero_grad()
            (value / leaves + config.pair_weight * pair / pairs).backward()
            optimizer.step()
        return value.item() / leaves, pair.item() / pairs

    def save(self, folder: Path) -> None:
        """Write the head beside the model in the checkpoint `folder`, and the recent examples."""
        self._head.save(folder / "model")
        arrays = {
            f"{index}.{name}": array
            for index, each in enumerate(self._recent)
            for name, array in ({"features": each.features} | vars(each.supervision)).items()
        }
        save_file(arrays, folder / EXAMPLES_FILE)

    def load(self, folder: Path) -> None:
        """Put the recent examples back; the head comes with the model's weights."""
        iterations: dict[int, dict[str, np.ndarray]] = {}  # arrays by name, by their index
        with reading(folder / EXAMPLES_FILE) as path:
            for key, array in load_file(path).items():
                index, _, name = key.partition(".")
                iterations.setdefault(int(index), {})[name] = array
            ordered = [arrays for _, arrays in sorted(iterations.items())]
            self._recent = [
                Examples(arrays.pop("features"), Supervision(**arrays)) for arrays in ordered
            ]
