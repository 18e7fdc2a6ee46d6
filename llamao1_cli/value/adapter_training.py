"""Training of the value adapter on the targets of an iteration's trees."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file

from llamao1_cli.config import ValueAdapterConfig
from llamao1_cli.distributed.optimizer_state import (
    optimizer_tensors,
    restore_optimizer_tensors,
)
from llamao1_cli.errors import RunFailedError
from llamao1_cli.files.reading import reading
from llamao1_cli.model.activation_checkpointing import let_layers_checkpoint
from llamao1_cli.search.tree import Tree
from llamao1_cli.value.adapter import ValueAdapter
from llamao1_cli.value.supervision import Supervision, join, supervision_of
from llamao1_cli.value.tree_tokens import TreeTokens

VALUE_OPTIMIZER_FILE = "value_optimizer.safetensors"
MAX_NORM = 1.0  # gradients are clipped to it

Example = tuple[TreeTokens, Supervision]  # a tree


class AdapterTrainer:
    """Trains an adapter on an iteration's own trees, under the weights that the policy has then.

    Each rank reads its share of a step's trees and their gradients are summed, so that the ranks'
    adapters stay alike.
    """

    def __init__(
        self, adapter: ValueAdapter, config: ValueAdapterConfig, accelerator: Accelerator
    ) -> None:
        self._adapter, self._config, self._accelerator = adapter, config, accelerator
        self._weights = list(adapter.weights.values())
        self._optimizer = torch.optim.AdamW(self._weights, weight_decay=0.0)

    def learn(self, trees: Sequence[Tree], iteration: int) -> dict[str, float]:
        """Train from the present weights on; returns the mean losses of the last pass.

        Raises RunFailedError if a loss or a gradient is not finite; the weights are then as they
        were before that step.
        """
        config, supervised = self._config, [supervision_of([tree]) for tree in trees]
        examples = list(zip(self._adapter.read(trees), supervised, strict=True))
        starts = range(0, len(examples), config.batch_size)
        sums = torch.zeros(2)
        with self._adapter.whole():
            for step, start in enumerate([*starts] * config.epochs):
                if start == 0:
                    sums.zero_()
                self._optimizer.param_groups[0]["lr"] = config.learning_rate * (
                    1 - step / (len(starts) * config.epochs)
                )
                sums += self._step(examples[start : start + config.batch_size], iteration)
        leaves, pairs = join(supervised).sizes
        return {
            "value_head_loss": float(sums[0]) / leaves,
            "value_head_pair_loss": float(sums[1]) / pairs,
        }

    def _step(self, examples: Sequence[Example], iteration: int) -> torch.Tensor:
        """Take one step on the whole batch; returns the sums of its two losses."""
        accelerator = self._accelerator
        mine = examples[accelerator.process_index :: accelerator.num_processes]
        sizes = join([supervision for _, supervision in examples]).sizes
        self._optimizer.zero_grad()
        losses = self._backward(mine, sizes) if mine else torch.zeros(2)
        gradients = [
            torch.zeros_like(weight) if weight.grad is None else weight.grad
            for weight in self._weights
        ]
        flat = torch.cat([losses.to(gradients[0].device), *(g.flatten() for g in gradients)])
        summed = accelerator.reduce(flat, "sum")
        norm = float(summed[2:].norm())
        if not math.isfinite(norm + float(summed[:2].sum())):
            raise RunFailedError(
                f"the value adapter's loss or its gradient is not finite in iteration {iteration}"
            )
        parts = (summed[2:] * min(1.0, MAX_NORM / max(norm, 1e-9))).split(
            [g.numel() for g in gradients]
        )
        for weight, part in zip(self._weights, parts, strict=True):
            weight.grad = part.view_as(weight)
        self._optimizer.step()
        return summed[:2].cpu()

    def _backward(self, examples: Sequence[Example], sizes: tuple[float, int]) -> torch.Tensor:
        """Add the gradients of this rank's trees to its weights; returns the sums of both losses.

        The two nodes of a pair may be in different micro-batches. So all logits are computed first,
        then the losses' gradients by them, and then each micro-batch runs again and backward; the
        last one keeps its activations and need not run again.
        """
        adapter, supervision = self._adapter, join([each for _, each in examples])
        *early, last = adapter.batches([tokens for tokens, _ in examples])
        with adapter.reading() as model:
            let_layers_checkpoint(model)
            logits = torch.zeros(len(supervision.targets), device=last.ids.device)
            with torch.no_grad():
                for batch in early:
                    logits[batch.nodes] = adapter.logits(batch)
            kept = adapter.logits(last)
            logits[last.nodes] = kept.detach()
            value, pair = supervision.losses(logits.requires_grad_())
            leaves, pairs = sizes
            (value / leaves + self._config.pair_weight * pair / pairs).backward()
            assert logits.grad is not None
            # Only the adapter's weights: the policy's own must keep the gradients they have.
            kept.backward(logits.grad[last.nodes], inputs=self._weights)
            for batch in early:
                adapter.logits(batch).backward(logits.grad[batch.nodes], inputs=self._weights)
        return torch.stack([value.detach(), pair.detach()])

    def save(self, folder: Path) -> None:
        """Write the adapter beside the model in the checkpoint `folder`, and its optimizer."""
        self._adapter.save(folder / "model")
        state = optimizer_tensors(self._optimizer)
        save_file(
            {n: value.cpu().contiguous() for n, value in state.items()},
            folder / VALUE_OPTIMIZER_FILE,
        )

    def load(self, folder: Path) -> None:
        """Put the optimizer's state back; the adapter comes with the model's weights."""
        with reading(folder / VALUE_OPTIMIZER_FILE) as path:
            restore_optimizer_tensors(self._optimizer, load_file(path))
