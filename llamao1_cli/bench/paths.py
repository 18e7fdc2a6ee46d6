"""Two plain ways to train on trees: every path from root to leaf is a row of a padded batch."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from transformers import PreTrainedModel

from llamao1_cli.config import LearnConfig
from llamao1_cli.language.distribution import action_logprobs
from llamao1_cli.language.protocol import Language
from llamao1_cli.language.sampling import Sampling
from llamao1_cli.learn.experience import scaled_advantages
from llamao1_cli.learn.losses import policy_loss, value_loss
from llamao1_cli.search.tree import Node, Tree, node_tokens


@dataclass(frozen=True)
class TrainingPath:
    """One path from root to leaf as arrays over its tokens `[T]`, or a padded batch `[B, T]`.

    A node that several paths share trains in the first of them and is context in the others.
    """

    ids: np.ndarray
    mask: np.ndarray  # 1 where there is a token
    action: np.ndarray  # bool: a sampled token that trains the policy
    role: np.ndarray  # row of the language's grammar that a sampled token follows
    logprob: np.ndarray
    advantage: np.ndarray
    leaves: np.ndarray  # where a rating is read, how many leaves it stands for; else 0
    target: np.ndarray


class PathStep:
    """An optimizer step over all paths of some trees, with the losses of `Updater`."""

    def __init__(
        self,
        model: PreTrainedModel,
        language: Language,
        config: LearnConfig,
        sampling: Sampling,
        optimizer: torch.optim.Optimizer,
        paths: Sequence[TrainingPath],
        *,
        lean: bool,
    ) -> None:
        """`lean` puts paths of like length together, and makes logits only where some row of the
        batch trains; else paths are in the order they come, with logits and log-probs at every
        token."""
        self._model, self._language, self._config = model, language, config
        self._sampling, self._optimizer, self._lean = sampling, optimizer, lean
        vocabulary = model.get_output_embeddings().weight.shape[0]
        self._grammar = language.grammar(vocabulary).to(model.device)
        if lean:
            paths = sorted(paths, key=lambda path: len(path.ids))
        self._rows = _rows(paths, config.micro_batch_tokens)
        self._tokens = max(sum(int(path.action.sum()) for path in paths), 1)
        self._values = max(sum(float(path.leaves.sum()) for path in paths), 1.0)
        self.forwarded = sum(batch.ids.size for batch in self._rows)

    def __call__(self, rate: float) -> None:
        """Take one step at the learning rate."""
        config = self._config
        self._model.eval()  # nothing is checkpointed here
        for batch in self._rows:
            arrays = {
                f.name: torch.from_numpy(getattr(batch, f.name)) for f in fields(TrainingPath)
            }
            rows = {name: array.to(self._model.device) for name, array in arrays.items()}
            rated = rows["leaves"] > 0
            logprobs, differences = self._forward(rows, rated)
            behaviour, advantage = (rows[n][rows["action"]] for n in ("logprob", "advantage"))
            policy, _ = policy_loss(
                logprobs,
                behaviour,
                advantage,
                clip=config.clip,
                clip_high=config.clip_upwards,
                cap=config.ratio_cap,
            )
            value = value_loss(differences, rows["target"][rated], rows["leaves"][rated])
            loss = policy / self._tokens + config.value_weight * value / self._values
            loss.backward()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), config.max_grad_norm)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._optimizer.zero_grad()

    def _forward(
        self, rows: dict[str, torch.Tensor], rated: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns log-probs of the actions, and positive - negative logits of the ratings, row by
        row."""
        ids, mask, action = rows["ids"], rows["mask"], rows["action"]
        before = torch.roll(action, -1, dims=1)  # logits at t - 1 speak of token t
        read = (before | rated).any(0) if self._lean else torch.ones_like(before[0])
        kept = read.nonzero().squeeze(-1)
        logits = self._model(input_ids=ids, attention_mask=mask, logits_to_keep=kept).logits
        if self._lean:
            chosen = logits[before[:, read]]
            logprobs = self._logprobs(chosen, ids[action], rows["role"][action])
        else:
            following, roles = (torch.roll(rows[n], -1, dims=1) for n in ("ids", "role"))
            logprobs = self._logprobs(logits, following, roles)[before]
        return logprobs, self._language.rating_logits(logits[rated[:, read]])

    def _logprobs(
        self, logits: torch.Tensor, tokens: torch.Tensor, roles: torch.Tensor
    ) -> torch.Tensor:
        return action_logprobs(logits, tokens, self._grammar[roles], self._sampling)


def tree_paths(
    trees: Sequence[Tree],
    language: Language,
    config: LearnConfig,
    discount: float,
    min_tokens: int = 1,
) -> list[TrainingPath]:
    """Returns the paths that the trees' experiences hold: one a leaf, or one a tree without
    signal."""
    made = []
    credit = scaled_advantages(trees, config, discount)
    for tree, values in zip(trees, credit, strict=True):
        leaves, seen = list(tree.leaf_nodes()), set[int]()
        for leaf in leaves[:1] if values is None else leaves:
            nodes = tree.path(leaf)
            if len(nodes) > 1:
                made.append(_path(tree, nodes, values, language, seen, min_tokens))
                seen.update(node.id for node in nodes)
    return made


def _path(
    tree: Tree,
    nodes: list[Node],
    credit: np.ndarray | None,
    language: Language,
    seen: set[int],
    min_tokens: int,
) -> TrainingPath:
    ids = tree.path_ids(nodes[-1], language)
    size, end = len(ids), 0
    action, role = np.zeros(size, bool), np.zeros(size, np.int64)
    logprob, advantage, leaves, target = (np.zeros(size, np.float32) for _ in range(4))
    for node in nodes:
        tokens = node_tokens(tree, node, language)
        count = len(node.thought.ids)
        start, read, end = end + tokens.sampled, end + tokens.read, end + len(tokens.ids)
        own = slice(start, start + count)
        action[own] = credit is not None and node.id not in seen
        role[own] = [language.role(i, node.thought.forced_meta, min_tokens) for i in range(count)]
        logprob[own] = node.thought.logprobs
        advantage[own] = 0.0 if credit is None else credit[node.id]
        weight = tree.root.leaves if credit is None else node.leaves
        leaves[read], target[read] = weight * (node.id not in seen), node.target
    mask = np.ones(size, np.int64)
    return TrainingPath(np.array(ids), mask, action, role, logprob, advantage, leaves, target)


def _rows(paths: Sequence[TrainingPath], limit: int) -> list[TrainingPath]:
    """Returns padded batches of at most `limit` tokens, padding included, or of one longer path."""
    groups: list[list[TrainingPath]] = []
    for path in paths:
        longest = max([len(path.ids), *(len(p.ids) for p in groups[-1])]) if groups else 0
        if not groups or longest * (len(groups[-1]) + 1) > limit:
            groups.append([])
        groups[-1].append(path)
    return [_padded(group) for group in groups]


def _padded(paths: Sequence[TrainingPath]) -> TrainingPath:
    longest = max(len(path.ids) for path in paths)
    columns = (
        [np.pad(getattr(path, f.name), (0, longest - len(path.ids))) for path in paths]
        for f in fields(TrainingPath)
    )
    return TrainingPath(*(np.stack(rows) for rows in columns))
