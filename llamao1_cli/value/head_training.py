"""Training of the value head on what the outcomes made of recent trees."""

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
from llamao1_cli.value.features import PathFigures, extend_paths, feature_rows
from llamao1_cli.value.head import ValueHead
from llamao1_cli.value.lessons import Lesson, join, lesson_of

# Iterations that are learned from. The nodes of older ones are of another policy, and calibrate the
# head worse; those of one alone are few.
WINDOW = 4
FILE = "value_examples.safetensors"


@dataclass(frozen=True)
class Examples:
    """The nodes of an iteration's trees as the head reads them, and what they teach."""

    features: np.ndarray  # [N, F] float32
    lesson: Lesson


def examples_of(trees: Sequence[Tree]) -> Examples:
    """All nodes of rectified trees, tree after tree."""
    rows = []
    for tree in trees:
        paths: list[PathFigures] = []
        extend_paths(paths, tree.nodes)
        rows.append(feature_rows(paths))
    return Examples(np.concatenate(rows), lesson_of(trees))


class ValueTrainer:
    """Trains a head on the trees of the last `WINDOW` iterations, on every rank alike."""

    def __init__(self, head: ValueHead, config: ValueHeadConfig) -> None:
        self._head, self._config = head, config
        self._recent: list[Examples] = []  # an iteration each, oldest first

    def learn(self, trees: Sequence[Tree], iteration: int) -> dict[str, float]:
        """Go on from the weights as they are; gives the losses of the last step.

        Raises RunFailedError if a loss is not finite.
        """
        self._recent = [*self._recent, examples_of(trees)][-WINDOW:]
        value, pair = self._fit()
        if not math.isfinite(value + pair):
            raise RunFailedError(f"the value head's loss is not finite in iteration {iteration}")
        return {"value_head_loss": value, "value_head_pair_loss": pair}

    def _fit(self) -> tuple[float, float]:
        """Adam from rest: what it remembers is of the last iteration's loss."""
        head, config = self._head, self._config
        features = torch.from_numpy(np.concatenate([each.features for each in self._recent]))
        lesson = join([each.lesson for each in self._recent])
        leaves, pairs = lesson.sizes
        head.standardise(features)
        optimizer = torch.optim.Adam(head.parameters())
        for step in range(config.steps):
            optimizer.param_groups[0]["lr"] = config.learning_rate * (1 - step / config.steps)
            value, pair = lesson.losses(head(features))
            optimizer.zero_grad()
            (value / leaves + config.pair_weight * pair / pairs).backward()
            optimizer.step()
        return value.item() / leaves, pair.item() / pairs

    def save(self, folder: Path) -> None:
        """Write the head beside the model in the checkpoint `folder`, and what it learns from."""
        self._head.save(folder / "model")
        arrays = {
            f"{place}.{name}": array
            for place, each in enumerate(self._recent)
            for name, array in ({"features": each.features} | vars(each.lesson)).items()
        }
        save_file(arrays, folder / FILE)

    def load(self, folder: Path) -> None:
        """Put the recent examples back; the head comes with the model's weights."""
        places: dict[int, dict[str, np.ndarray]] = {}
        with reading(folder / FILE) as path:
            for key, array in load_file(path).items():
                place, _, name = key.partition(".")
                places.setdefault(int(place), {})[name] = array
            ordered = [arrays for _, arrays in sorted(places.items())]
            self._recent = [
                Examples(arrays.pop("features"), Lesson(**arrays)) for arrays in ordered
            ]
