"""One optimizer step of self-play: a batch of experiences in, new weights and TD errors out."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from accelerate import Accelerator

from llamao1_cli.config import LearnConfig
from llamao1_cli.distributed.optimizer_step import optimizer_step
from llamao1_cli.language.distribution import action_logprobs
from llamao1_cli.language.protocol import Language
from llamao1_cli.language.sampling import Sampling
from llamao1_cli.learn.algorithms import configured_algorithm
from llamao1_cli.learn.algorithms.protocol import ActionBatch
from llamao1_cli.learn.batch import Packed, Part, micro_batches, pack
from llamao1_cli.learn.experience import Actions, Experience, Ratings
from llamao1_cli.learn.losses import (
    kl_estimate,
    log_ratio,
    value_loss,
)
from llamao1_cli.model.activation_checkpointing import enable_checkpointing, let_layers_checkpoint
from llamao1_cli.model.packed_attention import attending_packed
from llamao1_cli.model.packed_forward import check_packs, packed_logits

Weights = Mapping[str, torch.Tensor]

_NONE, _ZERO = np.zeros(0, np.int32), np.zeros(1, np.int32)
# A tree of one token that trains neither policy nor value.
NOTHING = Experience(
    ids=_ZERO,
    before=_ZERO - 1,
    actions=Actions(_NONE, _NONE, _NONE, _NONE, _NONE, _NONE),
    ratings=Ratings(at=_ZERO, leaves=_ZERO, target=_ZERO),
    iteration=0,
)


@dataclass
class Sums:
    """What an update adds up over its micro-batches, on one rank."""

    errors: torch.Tensor  # [B] TD errors of each tree's ratings, a leaf at a time
    amounts: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, amount: torch.Tensor | float) -> None:
        """Add to a named sum."""
        self.amounts[name] = self.amounts.get(name, 0.0) + float(amount)


class Updater:
    """Policy, value and KL losses of experiences under the model that is being trained."""

    def __init__(
        self,
        config: LearnConfig,
        language: Language,
        sampling: Sampling,
        accelerator: Accelerator,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        self._config, self._language = config, language
        self._sampling, self._algorithm = sampling, configured_algorithm(config)
        self._accelerator, self._model, self._optimizer = accelerator, model, optimizer
        self._grammar: torch.Tensor | None = None
        self.reference: Weights | None = None  # trainable weights of the reference policy
        check_packs(accelerator.unwrap_model(model))
        if config.checkpoint_activations:
            enable_checkpointing(accelerator.unwrap_model(model))

    def step(
        self,
        experiences: Sequence[Experience],
        weights: np.ndarray,
        rate: float,
        name: str,
        iteration: int = 0,
    ) -> tuple[dict[str, float], np.ndarray]:
        """Take one optimizer step on the whole batch, shared out over the ranks.

        Returns metrics and each tree's mean TD error |target - rating| over its leaves `[B]`, on
        every rank those of the whole batch. The metric `logprob_gap` is that of the experiences
        sampled in `iteration`, 0 if there are none.
        """
        # Dropout would make the update's policy another one than the rollout's.
        self._model.eval()
        if self._config.checkpoint_activations:
            let_layers_checkpoint(self._model)
        leaves = np.array([item.ratings.leaves.sum() for item in experiences])
        totals = {
            "tokens": max(sum(len(item.actions.at) for item in experiences), 1),
            "values": max(float(leaves.sum()), 1.0),
            "iteration": float(iteration),
        }
        device = self._accelerator.device
        sums = Sums(torch.zeros(len(experiences), device=device))
        importance = torch.tensor(weights, dtype=torch.float32, device=device)
        with attending_packed(self._model):
            norm = optimizer_step(
                self._accelerator,
                self._model,
                self._optimizer,
                [
                    partial(self._loss, parts, importance, totals, sums)
                    for parts in self._micro_batches(experiences)
                ],
                rate=rate,
                max_grad_norm=self._config.max_grad_norm,
                name=name,
            )
        metrics, errors = self._whole(sums)
        means = self._means(metrics, totals) | {"grad_norm": norm, "learning_rate": rate}
        return means, errors / np.maximum(leaves, 1.0)

    def _micro_batches(self, experiences: Sequence[Experience]) -> list[list[Part]]:
        """Returns this rank's trees.

        Ranks whose weights are sharded meet in every pass, so one that has fewer than another makes
        up for it with trees that teach nothing.
        """
        order = sorted(range(len(experiences)), key=lambda i: len(experiences[i].ids))
        rank, world = self._accelerator.process_index, self._accelerator.num_processes
        limit = self._config.micro_batch_tokens
        shares = [
            micro_batches([(i, experiences[i]) for i in order[each::world]], limit)
            for each in range(world)
        ]
        idle = max(map(len, shares)) - len(shares[rank])
        return shares[rank] + [[(0, NOTHING)]] * idle

    def _loss(
        self,
        parts: list[Part],
        importance: torch.Tensor,
        totals: dict[str, float],
        sums: Sums,
    ) -> torch.Tensor:
        """Returns the loss of a micro-batch over the tokens and ratings of the whole step;
        `importance` `[B]` weighs the trees."""
        config = self._config
        packed = pack(parts, int(totals["iteration"]), self._accelerator.device)
        # Before the policy's own pass, whose backward pass needs its weights as they are.
        reference = self._reference_logprobs(packed) if config.kl_weight else None
        logprobs, differences = self._forward(self._model, packed)
        policy = self._policy_loss(logprobs, packed, importance, sums)
        value = value_loss(
            differences, packed.target, packed.leaves * importance[packed.rating_tree]
        )
        loss = policy / totals["tokens"] + config.value_weight * value / totals["values"]
        if reference is not None:
            kl = kl_estimate(logprobs, reference)
            sums.add("kl_reference", kl.detach())
            loss = loss + config.kl_weight * kl / totals["tokens"]
        with torch.no_grad():
            self._note(sums, packed, logprobs.detach(), differences.detach())
        sums.add("policy_loss", policy.detach())
        sums.add("value_loss", value.detach())
        return loss

    def _policy_loss(
        self, logprobs: torch.Tensor, packed: Packed, importance: torch.Tensor, sums: Sums
    ) -> torch.Tensor:
        """Returns the algorithm's loss of the actions, summed."""
        actions = ActionBatch(
            behaviour=packed.logprob,
            advantage=packed.advantage,
            tree=packed.action_tree,
            solution=packed.solution,
            solution_tree=packed.solution_tree,
            importance=importance,
        )
        loss, counts = self._algorithm.policy_loss(logprobs, actions)
        for name, count in counts.items():
            sums.add(name, count)
        return loss

    def _forward(self, model: torch.nn.Module, packed: Packed) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns log-probs `[A]` of the actions, as they are sampled, and the positive minus the
        negative logits `[M]` of the ratings."""
        logits, tokens = packed_logits(model, packed), packed.token
        policy, rating = logits.split([len(tokens), len(logits) - len(tokens)])
        allowed = self._allowed(logits)[packed.role]
        picked = action_logprobs(policy, tokens, allowed, self._sampling)
        return picked[packed.predicted], self._language.rating_logits(rating)[packed.rated]

    def _allowed(self, logits: torch.Tensor) -> torch.Tensor:
        if self._grammar is None:
            self._grammar = self._language.grammar(logits.shape[-1]).to(logits.device)
        return self._grammar

    def _reference_logprobs(self, packed: Packed) -> torch.Tensor:
        assert self.reference is not None
        model = self._accelerator.unwrap_model(self._model)
        with torch.no_grad(), _swapped(model, self.reference):
            return self._forward(model, packed)[0]

    def _note(
        self, sums: Sums, packed: Packed, logprobs: torch.Tensor, differences: torch.Tensor
    ) -> None:
        """Add up the figures that show trouble first, and the TD errors."""
        ratios = log_ratio(logprobs, packed.logprob)
        fresh = ratios[packed.fresh]
        sums.add("fresh_gap", fresh.abs().sum())
        sums.add("fresh_tokens", len(fresh))
        sums.add("kl_behaviour", (ratios.exp() - 1 - ratios).sum())
        largest = float(ratios.abs().max()) if len(ratios) else 0.0
        sums.amounts["log_ratio_max"] = max(sums.amounts.get("log_ratio_max", 0.0), largest)
        errors = (packed.target - differences.sigmoid()).abs() * packed.leaves
        sums.add("td_error", errors.sum())
        sums.errors.index_add_(0, packed.rating_tree, errors)

    def _whole(self, sums: Sums) -> tuple[dict[str, float], np.ndarray]:
        """Returns the sums and errors of all ranks."""
        device = self._accelerator.device
        # Every rank has made a pass, if only over `NOTHING`, so that all have the same names.
        names = sorted({"clip_fraction", *sums.amounts} - {"log_ratio_max"})
        amounts = torch.tensor([sums.amounts.get(n, 0.0) for n in names], device=device)
        amounts, errors = (self._accelerator.reduce(t, "sum") for t in (amounts, sums.errors))
        largest = self._accelerator.gather(
            torch.tensor([sums.amounts.get("log_ratio_max", 0.0)], device=device)
        )
        metrics = dict(zip(names, amounts.tolist(), strict=True))
        return metrics | {"log_ratio_max": float(largest.max())}, errors.cpu().numpy()

    def _means(self, metrics: dict[str, float], totals: dict[str, float]) -> dict[str, float]:
        by_value = {"value_loss", "td_error"}
        gap = metrics.pop("fresh_gap") / max(metrics.pop("fresh_tokens"), 1.0)
        return (
            {"logprob_gap": gap}
            | {
                name: amount
                if name == "log_ratio_max"
                else amount / totals["values" if name in by_value else "tokens"]
                for name, amount in metrics.items()
            }
            | {"tokens": float(totals["tokens"])}
        )


def trainable_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Returns a copy of the weights that train, by name."""
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


@contextmanager
def _swapped(model: torch.nn.Module, weights: Weights) -> Iterator[None]:
    """Inside, the model has other trainable weights, which are exchanged with its own; afterwards
    both are back. (Weights that are sharded can be written, but not replaced.)"""
    pairs = [(p.data, weights[name]) for name, p in model.named_parameters() if name in weights]
    _exchange(pairs)
    try:
        yield
    finally:
        _exchange(pairs)


@torch.no_grad()
def _exchange(pairs: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
    for one, other in pairs:
        held = one.clone()
        one.copy_(other)
        other.copy_(held)
