"""The value head: how likely a path ends right, from its ratings and its token log-probs.

The rating tells how hard a problem is, the log-probs tell which of its solutions slipped. A head
this small reads both in next to no time, and needs nothing of the model but what engines return.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from llamao1_cli.errors import UserError
from llamao1_cli.search.tree import Tree
from llamao1_cli.value.features import FEATURES, RATING, PathFigures, extend_paths, feature_rows

# Programs that serve a model folder take every *.safetensors in it for the model's own.
FOLDER = Path("value_head")
FILE = FOLDER / "weights.safetensors"
RANGE = 6.0  # standard deviations from the mean beyond which an input says no more


class ValueHead(nn.Module):
    """The rating's logit plus what a small network adds to it; before it has learned, nothing.

    It runs on the CPU in fp32, and torch's own random state stays as it is.
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, hidden: int, seed: int) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        weight = torch.randn(hidden, len(FEATURES), generator=random) / len(FEATURES) ** 0.5
        self.inner = nn.utils.skip_init(nn.Linear, len(FEATURES), hidden)
        self.outer = nn.utils.skip_init(nn.Linear, hidden, 1)
        self.register_buffer("mean", torch.zeros(len(FEATURES)))
        self.register_buffer("deviation", torch.ones(len(FEATURES)))
        with torch.no_grad():
            self.inner.weight.copy_(weight)
            for parameter in (self.inner.bias, self.outer.weight, self.outer.bias):
                parameter.zero_()

    def standardise(self, features: torch.Tensor) -> None:
        """Take over mean and deviation of features `[N, F]` to read inputs by."""
        self.mean.copy_(features.mean(0))
        self.deviation.copy_(features.std(0, correction=0).clamp(min=1e-3))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits `[N]` of features `[N, F]`."""
        return features[:, RATING] + self._added(features)

    def _added(self, features: torch.Tensor) -> torch.Tensor:
        inputs = ((features - self.mean) / self.deviation).clamp(-RANGE, RANGE)
        added: torch.Tensor = self.outer(torch.tanh(self.inner(inputs))).squeeze(-1)
        return added

    @property
    def untrained(self) -> bool:
        """Whether it adds nothing to any rating."""
        return not any(bool(parameter.any()) for parameter in self.outer.parameters())

    def judge(self) -> "PathJudge":
        """What gives the nodes of growing trees their values."""
        return PathJudge(self)

    def save(self, folder: Path) -> None:
        """Write the head beside the model in `folder`."""
        (folder / FILE).parent.mkdir(parents=True, exist_ok=True)
        save_file(self.state_dict(), folder / FILE)

    def load(self, folder: Path) -> None:
        """Take over the head that `save` wrote; a folder without one leaves it as it is.

        Raises UserError for a head of another kind or size.
        """
        if not saved_head(folder / FILE):
            return
        try:
            self.load_state_dict(load_file(folder / FILE))
        except SafetensorError as error:
            raise UserError(f"{folder / FILE}: not a value head: {error}") from None
        except RuntimeError:
            raise UserError(
                f"value_head.hidden_size: {folder / FILE} has another; set the one it trained with"
            ) from None

    def load_judge(self, folder: Path) -> None:
        """Take over what `reward train --kind values` wrote; UserError if there is no head."""
        if not saved_head(folder / "model" / FILE):
            raise UserError(
                f"value_head.path: {folder} holds no value head; name a folder that `llamao1 "
                "reward train --kind values` wrote"
            )
        self.load(folder / "model")


def saved_head(file: Path) -> bool:
    """Whether a model folder holds this file of a value head; UserError if it holds another's."""
    if file.is_file() or not any(file.parent.glob("*.safetensors")):
        return file.is_file()
    raise UserError(
        f"value_head.kind: {file.parent} holds a value head of another kind; set the one it "
        "trained with"
    )


class PathJudge:
    """Gives the nodes of growing trees their values, and reads every thought once."""

    def __init__(self, head: ValueHead) -> None:
        self._head = head
        self._paths: dict[int, list[PathFigures]] = {}  # of each tree's nodes, by the tree's id

    @torch.no_grad()
    def __call__(self, trees: Sequence[Tree]) -> None:
        """Value the nodes that the trees have gained since they were last seen, all at once."""
        if self._head.untrained:
            return  # a node starts with its rating
        nodes, paths = [], list[PathFigures]()
        for tree in trees:
            known = self._paths.setdefault(id(tree), [])
            fresh = tree.nodes[len(known) :]
            extend_paths(known, fresh)
            nodes += fresh
            paths += known[len(known) - len(fresh) :]
        values = self._head(torch.from_numpy(feature_rows(paths))).sigmoid()
        for node, value in zip(nodes, values.tolist(), strict=True):
            node.value = value
