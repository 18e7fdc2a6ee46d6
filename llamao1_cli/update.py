"""One optimizer step of self-play: a batch of experiences in, new weights and TD errors out."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from accelerate import Accelerator
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from llamao1_cli.codec import Codec
from llamao1_cli.config import LearnConfig
from llamao1_cli.engine.protocol import Sampling
from llamao1_cli.errors import UserError
from llamao1_cli.experience import Experience
from llamao1_cli.losses import kl_estimate, log_ratio, policy_loss, value_loss
from llamao1_cli.optimization import optimizer_step
from llamao1_cli.sampling import action_scores

Weights = Mapping[str, torch.Tensor]


@dataclass
class Sums:
    """What an update adds up over its micro-batches, on one rank."""

    amounts: dict[str, float] = field(default_factory=dict)
    errors: dict[int, float] = field(default_factory=dict)  # TD error by place in the batch

    def add(self, name: str, amount: torch.Tensor | float) -> None:
        """Add to a named sum."""
        self.amounts[name] = self.amounts.get(name, 0.0) + float(amount)


@dataclass(frozen=True)
class Batch:
    """A padded micro-batch `[B, T]`; logits at t - 1 speak of token t."""

    ids: torch.Tensor
    mask: torch.Tensor
    action: torch.Tensor
    place: torch.Tensor
    logprob: torch.Tensor
    advantage: torch.Tensor
    rated: torch.Tensor
    target: torch.Tensor
    fresh: torch.Tensor  # [B] bool: sampled by the weights that the iteration began with


class Updater:
    """Policy, value and KL losses of experiences under the model that is being trained."""

    def __init__(
        self,
        config: LearnConfig,
        codec: Codec,
        sampling: Sampling,
        accelerator: Accelerator,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        self._config, self._codec = config, codec
        self._sampling = sampling
        self._accelerator, self._model, self._optimizer = accelerator, model, optimizer
        self._grammar: torch.Tensor | None = None
        self.reference: Weights | None = None  # trainable weights of the reference policy
        if config.checkpoint_activations:
            _enable_checkpoints(accelerator.unwrap_model(model))

    def step(
        self,
        experiences: Sequence[Experience],
        weights: np.ndarray,
        rate: float,
        name: str,
        iteration: int = 0,
    ) -> tuple[dict[str, float], np.ndarray]:
        """One optimizer step on the whole batch, shared out over the ranks.

        `logprob_gap` is that of the experiences sampled in `iteration`, 0 if there are none.
        Gives metrics and each experience's mean TD error |target - value| `[B]`, both those of the
        whole batch on every rank.
        """
        # Dropout would make the update's policy another one than the rollout's.
        self._model.eval()
        if self._config.checkpoint_activations:
            _let_layers_checkpoint(self._model)
        totals = {
            "tokens": max(sum(int(e.action.sum()) for e in experiences), 1),
            "values": max(sum(float(e.rated.sum()) for e in experiences), 1.0),
            "iteration": float(iteration),
        }
        sums = Sums()
        losses = [
            partial(self._loss, [experiences[i] for i in part], weights[part], part, totals, sums)
            for part in self._parts(experiences)
        ]
        norm = optimizer_step(
            self._accelerator,
            self._model,
            self._optimizer,
            losses,
            rate=rate,
            max_grad_norm=self._config.max_grad_norm,
            name=name,
        )
        metrics, errors = self._whole(sums, len(experiences))
        return self._means(metrics, totals) | {"grad_norm": norm, "learning_rate": rate}, errors

    def _parts(self, experiences: Sequence[Experience]) -> list[np.ndarray]:
        """This rank's places in the batch, as micro-batches of like length.

        A rank without a share takes part with an empty one, or the others would wait for it.
        """
        order = sorted(range(len(experiences)), key=lambda i: len(experiences[i].ids))
        rank, world = self._accelerator.process_index, self._accelerator.num_processes
        mine = np.array(order[rank::world], int)
        size = self._config.micro_batch_size
        return [mine[i : i + size] for i in range(0, len(mine), size)] or [mine]

    def _loss(
        self,
        experiences: list[Experience],
        weights: np.ndarray,
        places: np.ndarray,
        totals: dict[str, float],
        sums: Sums,
    ) -> torch.Tensor:
        """The loss of a micro-batch over the tokens and values of the whole step."""
        config, device = self._config, self._accelerator.device
        if not experiences:
            logits = self._model(
                input_ids=torch.zeros(1, 1, dtype=torch.long, device=device)
            ).logits
            return logits.float().sum() * 0.0
        batch = collate(experiences, device, int(totals["iteration"]))
        importance = torch.tensor(weights, dtype=torch.float32, device=device).unsqueeze(-1)
        logprobs, differences = self._forward(self._model, batch)
        policy, clipped = policy_loss(
            logprobs,
            batch.logprob,
            batch.advantage * importance,
            batch.action,
            clip=config.clip,
            cap=config.ratio_cap,
        )
        value = value_loss(differences, batch.target, batch.rated * importance)
        loss = policy / totals["tokens"] + config.value_weight * value / totals["values"]
        if config.kl_weight:
            kl = kl_estimate(logprobs, self._reference_logprobs(batch), batch.action)
            sums.add("kl_reference", kl.detach())
            loss = loss + config.kl_weight * kl / totals["tokens"]
        with torch.no_grad():
            self._note(sums, batch, places, logprobs.detach(), differences.detach())
        sums.add("policy_loss", policy.detach())
        sums.add("value_loss", value.detach())
        sums.add("clip_fraction", clipped)
        return loss

    def _forward(self, model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probs `[B, T]` of sampled tokens, as they are sampled, and positive - negative logits
        `[B, T]` where the value is read; 0 elsewhere.

        Logits are made only at positions that some row of the batch reads.
        """
        before = torch.roll(batch.action, -1, dims=1)  # logits at t - 1 speak of token t
        valued = batch.rated > 0
        read = (before | valued).any(0).nonzero().squeeze(-1)
        logits = model(input_ids=batch.ids, attention_mask=batch.mask, logits_to_keep=read).logits
        tokens, sampling = batch.ids[batch.action], self._sampling
        scores = action_scores(
            logits[before[:, read]],
            self._allowed(logits)[batch.place[batch.action]],
            sampling.temperature or 1.0,  # greedy choices are scored under temperature 1
            sampling.top_k,
            sampling.top_p,
            keep=tokens,
        )
        picked = scores.log_softmax(-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
        rating = logits[valued[:, read]].float()
        difference = rating[:, self._codec.positive] - rating[:, self._codec.negative]
        zeros = torch.zeros_like(batch.logprob)
        return (
            zeros.masked_scatter(batch.action, picked),
            zeros.masked_scatter(valued, difference),
        )

    def _allowed(self, logits: torch.Tensor) -> torch.Tensor:
        if self._grammar is None:
            self._grammar = self._codec.grammar(logits.shape[-1]).to(logits.device)
        return self._grammar

    def _reference_logprobs(self, batch: Batch) -> torch.Tensor:
        assert self.reference is not None
        model = self._accelerator.unwrap_model(self._model)
        with torch.no_grad(), _swapped(model, self.reference):
            return self._forward(model, batch)[0]

    def _note(
        self,
        sums: Sums,
        batch: Batch,
        places: np.ndarray,
        logprobs: torch.Tensor,
        differences: torch.Tensor,
    ) -> None:
        """Figures that show trouble first, and the TD errors."""
        apart = log_ratio(logprobs, batch.logprob)
        ratios, fresh = apart[batch.action], apart[batch.action & batch.fresh.unsqueeze(-1)]
        sums.add("fresh_gap", fresh.abs().sum())
        sums.add("fresh_tokens", len(fresh))
        sums.add("kl_behaviour", (ratios.exp() - 1 - ratios).sum())
        largest = float(ratios.abs().max()) if len(ratios) else 0.0
        sums.amounts["log_ratio_max"] = max(sums.amounts.get("log_ratio_max", 0.0), largest)
        errors = (batch.target - differences.sigmoid()).abs() * batch.rated
        sums.add("td_error", errors.sum())
        means = errors.sum(1) / batch.rated.sum(1).clamp(min=1.0)
        sums.errors |= dict(zip(places.tolist(), means.tolist(), strict=True))

    def _whole(self, sums: Sums, size: int) -> tuple[dict[str, float], np.ndarray]:
        """The sums and errors of all ranks."""
        device = self._accelerator.device
        names = sorted(
            {"policy_loss", "value_loss", "clip_fraction", "kl_behaviour", "td_error"}
            | {"fresh_gap", "fresh_tokens"}
            | ({"kl_reference"} if self._config.kl_weight else set())
        )
        amounts = torch.tensor([sums.amounts.get(n, 0.0) for n in names], device=device)
        errors = torch.zeros(size, device=device)
        for place, error in sums.errors.items():
            errors[place] = error
        amounts, errors = (self._accelerator.reduce(t, "sum") for t in (amounts, errors))
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


def collate(experiences: Sequence[Experience], device: torch.device, iteration: int) -> Batch:
    """Experiences as one right-padded batch; fresh are those that were sampled in `iteration`."""
    longest = max(len(experience.ids) for experience in experiences)

    def stack(name: str, dtype: torch.dtype) -> torch.Tensor:
        rows = np.zeros((len(experiences), longest), getattr(experiences[0], name).dtype)
        for row, experience in zip(rows, experiences, strict=True):
            row[: len(experience.ids)] = getattr(experience, name)
        return torch.from_numpy(rows).to(device, dtype)

    lengths = torch.tensor([len(experience.ids) for experience in experiences])
    mask = torch.arange(longest)[None] < lengths[:, None]
    return Batch(
        ids=stack("ids", torch.long),
        mask=mask.long().to(device),
        action=stack("action", torch.bool),
        place=stack("place", torch.long),
        logprob=stack("logprob", torch.float32),
        advantage=stack("advantage", torch.float32),
        rated=stack("rated", torch.float32),
        target=stack("target", torch.float32),
        fresh=torch.tensor([e.iteration == iteration for e in experiences]).to(device),
    )


def trainable_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A copy of the weights that train."""
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


def _enable_checkpoints(model: PreTrainedModel) -> None:
    """Raises UserError for a model whose own dropout the layers' flags would switch on."""
    settings = model.config.to_dict()
    dropout = {k: v for k, v in settings.items() if "drop" in k and isinstance(v, float) and v}
    if dropout:
        raise UserError(
            f"learn.checkpoint_activations: the model has dropout ({dropout}), which checkpointing "
            "would switch on; set it to 0 in the model's config.json"
        )
    model.gradient_checkpointing_enable({"use_reentrant": False})


def _let_layers_checkpoint(model: torch.nn.Module) -> None:
    """Transformers checkpoints a layer while the layer's own flag says that it trains; the flags of
    the modules inside, dropout's among them, stay as they are."""
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.training = True


@contextmanager
def _swapped(model: torch.nn.Module, weights: Weights) -> Iterator[None]:
    """The model with other trainable weights inside; its own ones are back afterwards."""
    parameters = {name: p for name, p in model.named_parameters() if name in weights}
    own = {name: parameter.data for name, parameter in parameters.items()}
    try:
        for name, parameter in parameters.items():
            parameter.data = weights[name].to(parameter.device)
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.data = own[name]
