"""Training of the value head on what the outcomes made of recent trees."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch.nn import functional

from llamao1_cli.config import ValueHeadConfig
from llamao1_cli.errors import RunFailedError
from llamao1_cli.losses import value_loss
from llamao1_cli.path_features import PathFigures, extend_paths, feature_rows
from llamao1_cli.search.tree import Tree
from llamao1_cli.value_head import ValueHead

# Iterations that are learned from. The nodes of older ones are of another policy, and calibrate the
# head worse; those of one alone are few.
WINDOW = 4
MARGIN = 0.3  # nodes whose targets differ by no more are not told apart
FILE = "value_examples.safetensors"


@dataclass(frozen=True)
class Examples:
    """What trees teach: `N` nodes, and `P` pairs of them to be told apart."""

    features: np.ndarray  # [N, F] float32
    targets: np.ndarray  # [N] float32: rectified values
    leaves: np.ndarray  # [N] float32: how many leaves a node speaks for
    pairs: np.ndarray  # [P, 2] int64: first the node that has the higher target


def examples_of(trees: Sequence[Tree]) -> Examples:
    """All nodes of rectified trees and all pairs in them, tree after tree."""
    return join([_examples(tree) for tree in trees])


def _examples(tree: Tree) -> Examples:
    paths: list[PathFigures] = []
    extend_paths(paths, tree.nodes)
    return Examples(
        features=feature_rows(paths),
        targets=np.array([node.target for node in tree.nodes], np.float32),
        leaves=np.array([node.leaves for node in tree.nodes], np.float32),
        pairs=tree_pairs(tree),
    )


def join(parts: Sequence[Examples]) -> Examples:
    """The nodes and the pairs of all parts, one after another."""
    starts = np.cumsum([0, *(len(part.targets) for part in parts[:-1])])
    return Examples(
        features=np.concatenate([part.features for part in parts]),
        targets=np.concatenate([part.targets for part in parts]),
        leaves=np.concatenate([part.leaves for part in parts]),
        pairs=np.concatenate([p.pairs + start for p, start in zip(parts, starts, strict=True)]),
    )


def tree_pairs(tree: Tree) -> np.ndarray:
    """Pairs of leaves, and of siblings, whose targets differ by more than `MARGIN` `[P, 2]`: node
    numbers, the one of the higher target first."""
    targets = np.array([node.target for node in tree.nodes])
    groups = [[leaf.id for leaf in tree.leaf_nodes()]]
    groups += [node.children for node in tree.nodes]
    pairs = []
    for group in (np.array(ids, np.int64) for ids in groups):
        better, worse = np.nonzero(targets[group][:, None] - targets[group] > MARGIN)
        pairs.append(np.stack([group[better], group[worse]], axis=1))
    return np.unique(np.concatenate(pairs), axis=0)


def pair_loss(logits: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
    """Mean of -log sigmoid(v of the better - v of the worse) (Bradley and Terry 1952) over pairs
    `[P, 2]` of the nodes with `logits` `[N]`; 0 without pairs."""
    better, worse = logits[pairs[:, 0]], logits[pairs[:, 1]]
    return functional.softplus(worse - better).sum() / max(len(pairs), 1)


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
        value, pair = self._fit(join(self._recent))
        if not math.isfinite(value + pair):
            raise RunFailedError(f"the value head's loss is not finite in iteration {iteration}")
        return {"value_head_loss": value, "value_head_pair_loss": pair}

    def _fit(self, examples: Examples) -> tuple[float, float]:
        """Adam from rest: what it remembers is of the last iteration's loss."""
        head, config = self._head, self._config
        features, targets, leaves, pairs = (
            torch.from_numpy(getattr(examples, field.name)) for field in fields(Examples)
        )
        head.standardise(features)
        optimizer = torch.optim.Adam(head.parameters())
        for step in range(config.steps):
            optimizer.param_groups[0]["lr"] = config.learning_rate * (1 - step / config.steps)
            logits = head(features)
            value = value_loss(logits, targets, leaves) / leaves.sum()
            pair = pair_loss(logits, pairs)
            optimizer.zero_grad()
            (value + config.pair_weight * pair).backward()
            optimizer.step()
        return value.item(), pair.item()

    def save(self, folder: Path) -> None:
        """Write the head beside the model in the checkpoint `folder`, and what it learns from."""
        self._head.save(folder / "model")
        arrays = {
            f"{place}.{name}": array
            for place, examples in enumerate(self._recent)
            for name, array in vars(examples).items()
        }
        save_file(arrays, folder / FILE)

    def load(self, folder: Path) -> None:
        """Put the recent examples back; the head comes with the model's weights."""
        arrays = load_file(folder / FILE)
        names = [field.name for field in fields(Examples)]
        self._recent = [
            Examples(**{name: arrays[f"{place}.{name}"] for name in names})
            for place in range(len(arrays) // len(names))
        ]
