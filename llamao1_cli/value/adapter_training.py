"""Training of the value adapter on what the outcomes made of an iteration's trees."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file

from llamao1_cli.config import ValueAdapterConfig
from llamao1_cli.distributed.optimizer_state import moments, restore_moments
from llamao1_cli.errors import RunFailedError
from llamao1_cli.files.reading import reading
from llamao1_cli.model.activation_checkpointing import let_layers_checkpoint
from llamao1_cli.search.tree import Tree
from llamao1_cli.value.adapter import ValueAdapter
from llamao1_cli.value.lessons import Lesson, join, lesson_of
from llamao1_cli.value.tree_tokens import TreeTokens

FILE = "value_optimizer.safetensors"
MAX_NORM = 1.0  # gradients are clipped to it

Example = tuple[TreeTokens, Lesson]


class AdapterTrainer:
    """Trains an adapter on fresh trees, each under the weights that the policy has by then.

    The ranks share a step's trees and add up their gradients, so that their adapters stay alike.
    """

    def __init__(
        self, adapter: ValueAdapter, config: ValueAdapterConfig, accelerator: Accelerator
    ) -> None:
        self._adapter, self._config, self._accelerator = adapter, config, accelerator
        self._weights = list(adapter.weights.values())
        self._optimizer = torch.optim.AdamW(self._weights, weight_decay=0.0)

    def learn(self, trees: Sequence[Tree], iteration: int) -> dict[str, float]:
        """Go on from the weights as they are; gives the mean losses of the last pass.

        Raises RunFailedError if a loss or a gradient is not finite; the weights are then as they
        were before that step.
        """
        config, lessons = self._config, [lesson_of([tree]) for tree in trees]
        examples = list(zip(self._adapter.read(trees), lessons, strict=True))
        starts = range(0, len(examples), config.batch_size)
        sums = torch.zeros(2)
        with self._adapter.whole():
            for place, start in enumerate([*starts] * config.epochs):
                if start == 0:
                    sums.zero_()
                self._optimizer.param_groups[0]["lr"] = config.learning_rate * (
                    1 - place / (len(starts) * config.epochs)
                )
                sums += self._step(examples[start : start + config.batch_size], iteration)
        leaves, pairs = join(lessons).sizes
        return {
            "value_head_loss": float(sums[0]) / leaves,
            "value_head_pair_loss": float(sums[1]) / pairs,
        }

    def _step(self, examples: Sequence[Example], iteration: int) -> torch.Tensor:
        """One step on the whole batch; gives the sums of its two losses."""
        accelerator = self._accelerator
        mine = examples[accelerator.process_index :: accelerator.num_processes]
        sizes = join([lesson for _, lesson in examples]).sizes
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
        """Add the gradients of this rank's trees to its weights; gives the sums of both losses.

        A pair may stand in two micro-batches. So all logits come first, then their gradients, and
        then each micro-batch passes its own on; the last one keeps its activations meanwhile.
        """
        adapter, lesson = self._adapter, join([lesson for _, lesson in examples])
        *early, last = adapter.batches([tokens for tokens, _ in examples])
        with adapter.reading() as model:
            let_layers_checkpoint(model)
            logits = torch.zeros(len(lesson.targets), device=last.ids.device)
            with torch.no_grad():
                for batch in early:
                    logits[batch.nodes] = adapter.logits(batch)
            kept = adapter.logits(last)
            logits[last.nodes] = kept.detach()
            value, pair = lesson.losses(logits.requires_grad_())
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
        state = moments(self._optimizer)
        save_file({n: value.cpu().contiguous() for n, value in state.items()}, folder / FILE)

    def load(self, folder: Path) -> None:
        """Put the optimizer's state back; the adapter comes with the model's weights."""
        with reading(folder / FILE) as path:
            restore_moments(self._optimizer, load_file(path))
