"""The value head: how likely a path ends right, from its ratings and its token log-probs.

The rating tells how hard a problem is, the log-probs tell which of its solutions made a mistake. In
a language without ratings, the log-probs and the length are all there is.
The head is a small network that needs nothing but what any engine returns.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from llamao1_cli.errors import UserError
from llamao1_cli.search.tree import Tree
from llamao1_cli.value.features import FEATURES, RATING, PathStats, extend_paths, feature_rows

# Programs that serve a model folder take every *.safetensors in it for the model's own.
VALUE_FOLDER = Path("value_head")
HEAD_FILE = VALUE_FOLDER / "weights.safetensors"
RANGE = 6.0  # inputs are clipped to so many standard deviations from their mean


class ValueHead(nn.Module):
    """A value's logit: the rating's, if there is one, plus the output of a small network, which
    starts at zero; `names` are its features.

    It runs on the CPU in fp32 and leaves torch's own random state alone.
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, hidden: int, seed: int, names: Sequence[str] = FEATURES) -> None:
        super().__init__()
        self.names = names
        random = torch.Generator().manual_seed(seed)
        weight = torch.randn(hidden, len(names), generator=random) / len(names) ** 0.5
        self.inner = nn.utils.skip_init(nn.Linear, len(names), hidden)
        self.outer = nn.utils.skip_init(nn.Linear, hidden, 1)
        self.register_buffer("mean", torch.zeros(len(names)))
        self.register_buffer("deviation", torch.ones(len(names)))
        with torch.no_grad():
            self.inner.weight.copy_(weight)
            for parameter in (self.inner.bias, self.outer.weight, self.outer.bias):
                parameter.zero_()

    def standardise(self, features: torch.Tensor) -> None:
        """Normalise inputs from now on by mean and deviation of these features `[N, F]`."""
        self.mean.copy_(features.mean(0))
        self.deviation.copy_(features.std(0, correction=0).clamp(min=1e-3))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Returns the values' logits `[N]` of features `[N, F]`."""
        added = self._added(features)
        return features[:, RATING] + added if self.names is FEATURES else added

    def _added(self, features: torch.Tensor) -> torch.Tensor:
        inputs = ((features - self.mean) / self.deviation).clamp(-RANGE, RANGE)
        added: torch.Tensor = self.outer(torch.tanh(self.inner(inputs))).squeeze(-1)
        return added

    @property
    def untrained(self) -> bool:
        """Whether every value is still the rating; see `ValueFunction`."""
        return not any(bool(parameter.any()) for parameter in self.outer.parameters())

    def judge(self) -> "PathJudge":
        """Returns a judge for trees that grow together; see `ValueFunction`."""
        return PathJudge(self)

    def whole(self) -> AbstractContextManager[None]:
        """Nothing to do: every rank has the head whole; see `ValueFunction`."""
        return nullcontext()

    def tensors(self) -> Mapping[str, torch.Tensor]:
        """Returns the weights and the normalisation themselves; see `ValueFunction`."""
        return self.state_dict()

    def save(self, folder: Path) -> None:
        """Write the head beside the model in `folder`."""
        (folder / HEAD_FILE).parent.mkdir(parents=True, exist_ok=True)
        save_file(self.state_dict(), folder / HEAD_FILE)

    def load(self, folder: Path) -> None:
        """Take over what `save` wrote; see `ValueFunction`."""
        if not saved_head(folder / HEAD_FILE):
            return
        try:
            self.load_state_dict(load_file(folder / HEAD_FILE))
        except SafetensorError as error:
            raise UserError(f"{folder / HEAD_FILE}: not a value head: {error}") from None
        except RuntimeError:
            raise UserError(
                f"value_head.hidden_size: {folder / HEAD_FILE} has another, or reads thoughts of "
                "another language; set the one it trained with"
            ) from None

    def load_judge(self, folder: Path) -> None:
        """Take over what `reward train --kind values` wrote; UserError if that is no value head."""
        if not saved_head(folder / "model" / HEAD_FILE):
            raise UserError(
                f"value_head.path: {folder} holds no value head; name a folder that `llamao1 "
                "reward train --kind values` wrote"
            )
        self.load(folder / "model")


def saved_head(file: Path) -> bool:
    """Returns whether a value function was saved as `file`; UserError for one of another kind."""
    if file.is_file() or not any(file.parent.glob("*.safetensors")):
        return file.is_file()
    raise UserError(
        f"value_head.kind: {file.parent} holds a value head of another kind; set the one it "
        "trained with"
    )


class PathJudge:
    """Sets the values of the nodes of growing trees, and reads every thought once."""

    def __init__(self, head: ValueHead) -> None:
        self._head = head
        self._paths: dict[int, list[PathStats]] = {}  # of each tree's nodes, by the tree's id

    @torch.no_grad()
    def __call__(self, trees: Sequence[Tree]) -> None:
        """Set the values of the nodes that the trees have gained since the last call."""
        if self._head.untrained:
            return  # a node starts with its rating, or 0.5
        nodes, paths = [], list[PathStats]()
        for tree in trees:
            known = self._paths.setdefault(id(tree), [])
            fresh = tree.nodes[len(known) :]
            extend_paths(known, fresh)
            nodes += fresh
            paths += known[len(known) - len(fresh) :]
        values = self._head(torch.from_numpy(feature_rows(paths, self._head.names))).sigmoid()
        for node, value in zip(nodes, values.tolist(), strict=True):
            node.value = value
