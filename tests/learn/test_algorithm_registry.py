"""An algorithm of one's own: a class, a line in the registry, and a run trains with it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from safetensors.numpy import load_file
from torch import Tensor

from llamao1_cli.config import LearnConfig
from llamao1_cli.config.file import load_config
from llamao1_cli.config.reference import reference
from llamao1_cli.config.registry import ALGORITHMS, AlgorithmEntry
from llamao1_cli.errors import UserError
from llamao1_cli.learn.algorithms.protocol import ActionBatch
from llamao1_cli.run import commands
from llamao1_cli.search.tree import Tree

TINY = Path(__file__).parents[2] / "configs" / "tiny.yaml"


class Sharpened:
    """Makes every sampled token likelier, and counts them under a metric of its own."""

    losses: ClassVar[list[float]] = []

    def __init__(self, config: LearnConfig) -> None:
        assert config.algorithm == "sharpened"

    def advantages(self, tree: Tree, discount: float) -> np.ndarray | None:
        return np.array([0.0, *[2.0] * (len(tree.nodes) - 1)])

    def scale(self, advantages: Sequence[np.ndarray]) -> float:
        return 2.0

    def policy_loss(
        self, logprobs: Tensor, actions: ActionBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        assert (actions.advantage == 1.0).all()  # scaled
        loss = -(actions.importance[actions.tree] * logprobs).sum()
        self.losses.append(float(loss))
        return loss, {"sharpened_tokens": (actions.advantage > 0).sum()}


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = AlgorithmEntry(f"{__name__}:Sharpened", "every sampled token made likelier")
    monkeypatch.setitem(ALGORITHMS, "sharpened", entry)
    monkeypatch.setattr(Sharpened, "losses", [])


@pytest.mark.slow
def test_a_registered_algorithm_trains(tmp_path: Path) -> None:
    overrides = ["learn.algorithm=sharpened", "run.iterations=1", "eval.strategies=[greedy]"]
    config = load_config(TINY, [f"run.dir={tmp_path / 'run'}", "learn.value_weight=0", *overrides])
    commands.train(config, trees=None, resume=False, overwrite=False)
    assert Sharpened.losses
    assert all(loss > 0 for loss in Sharpened.losses)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    (row,) = [row for row in map(json.loads, lines) if row["stage"] == "self-play"]
    assert row["sharpened_tokens"] == 1.0  # a mean over tokens, of which all count
    assert row["policy_loss"] > 0
    before, after = (
        load_file(tmp_path / "run" / "checkpoints" / name / "model" / "model.safetensors")
        for name in ("iteration-000000", "iteration-000001")
    )
    assert any((before[key] != after[key]).any() for key in before)


def test_a_registered_algorithm_is_known_by_name() -> None:
    with pytest.raises(UserError, match="'continued_warmup' or 'sharpened'"):
        load_config(TINY, ["learn.algorithm=sharp"])
    assert load_config(TINY, ["learn.algorithm=sharpened"]).learn.algorithm == "sharpened"
    assert "`continued_warmup`, `sharpened`" in reference()
