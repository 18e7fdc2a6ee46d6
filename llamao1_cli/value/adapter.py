"""The value adapter: how likely a path ends right, read by the policy's own network with low-rank
weights added to it.

It reads each tree packed, every token together with the log-prob at which it was sampled. A value's
logit is the rating's plus the output of a linear head. The policy's modules stay as they are: hooks
add the low-rank part while the adapter reads, and are gone again afterwards.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from llamao1_cli.distributed.sharding import unsharded
from llamao1_cli.errors import UserError
from llamao1_cli.language.protocol import Language
from llamao1_cli.model.packed_attention import attending_packed
from llamao1_cli.search.tree import Tree
from llamao1_cli.value.head import VALUE_FOLDER, saved_head
from llamao1_cli.value.tree_tokens import TokenBatch, TokenReader, TreeTokens, token_batches

ADAPTER_FILE = VALUE_FOLDER / "adapter.safetensors"
SCALE = 2.0  # LoRA's alpha over its rank
LOWEST = -10.0  # lower log-probs are clipped to it
LOGPROB, HEAD, BIAS = "logprob", "head", "bias"


class ValueAdapter:
    """A policy's network with `weights` of its own, in fp32, that give the logits of values."""

    def __init__(
        self, model: PreTrainedModel, language: Language, rank: int, seed: int, max_tokens: int
    ) -> None:
        plain = model.get_base_model() if isinstance(model, PeftModel) else model
        self._model, self._language, self._max_tokens = model, language, max_tokens
        self._decoder: PreTrainedModel = plain.base_model
        self._linears = dict(_linears(self._decoder))
        self.weights = self._initial(rank, seed)

    @property
    def untrained(self) -> bool:
        """Whether every value is still the rating; see `ValueFunction`."""
        return not any(bool(self.weights[name].any()) for name in (HEAD, BIAS))

    def judge(self) -> "AdapterJudge":
        """Returns a judge for trees that grow together; see `ValueFunction`."""
        return AdapterJudge(self, self._language)

    def read(self, trees: Sequence[Tree]) -> list[TreeTokens]:
        """Returns the tokens of whole trees."""
        return [TokenReader(self._language).read(tree) for tree in trees]

    def batches(self, items: Sequence[TreeTokens]) -> list[TokenBatch]:
        """Returns all nodes of all trees in micro-batches."""
        return token_batches(items, self._max_tokens, self._model.device)

    def whole(self) -> AbstractContextManager[None]:
        """Inside, every rank has the policy's weights whole; see `ValueFunction`."""
        return unsharded(self._model)

    def tensors(self) -> Mapping[str, Tensor]:
        """Returns the adapter's weights themselves; see `ValueFunction`."""
        return self.weights

    @contextmanager
    def reading(self) -> Iterator[PreTrainedModel]:
        """Inside, the policy computes with the adapter; a backward pass that computes activations
        again must run inside too."""
        self._model.eval()  # without dropout
        hooks = [
            module.register_forward_hook(_adding(self.weights[down], self.weights[up]))
            for (down, up), module in self._linears.items()
        ]
        try:
            with attending_packed(self._model):
                yield self._model
        finally:
            for hook in hooks:
                hook.remove()

    def logits(self, batch: TokenBatch) -> Tensor:
        """Returns the logits `[N]` of the micro-batch's nodes; call it inside `reading`."""
        known = torch.stack([batch.logprobs.clamp(min=LOWEST), -batch.logprobs.expm1()], -1)
        embedded = self._decoder.get_input_embeddings()(batch.ids)
        embedded = embedded + (known @ self.weights[LOGPROB]).to(embedded.dtype)
        states = self._decoder(
            inputs_embeds=embedded.unsqueeze(0),
            position_ids=batch.positions.unsqueeze(0),
            use_cache=False,
            layout=batch.layout,
        ).last_hidden_state[0, batch.at]
        head, bias = self.weights[HEAD], self.weights[BIAS]
        return batch.ratings + states.float() @ head + bias

    @torch.no_grad()
    def values(self, items: Sequence[TreeTokens]) -> list[float]:
        """Returns the values of all nodes of all trees."""
        batches = self.batches(items)
        logits = torch.zeros(sum(len(item.at) for item in items), device=self._model.device)
        with self.reading():
            for batch in batches:
                logits[batch.nodes] = self.logits(batch)
        values: list[float] = logits.sigmoid().tolist()
        return values

    def save(self, folder: Path) -> None:
        """Write the weights beside the model in `folder`."""
        (folder / ADAPTER_FILE).parent.mkdir(parents=True, exist_ok=True)
        save_file({n: w.detach().cpu() for n, w in self.weights.items()}, folder / ADAPTER_FILE)

    @torch.no_grad()
    def load(self, folder: Path) -> None:
        """Take over what `save` wrote; see `ValueFunction`. Raises UserError for the weights of
        another kind, rank or model.
        """
        if not saved_head(folder / ADAPTER_FILE):
            return
        try:
            stored = load_file(folder / ADAPTER_FILE)
        except SafetensorError as error:
            raise UserError(f"{folder / ADAPTER_FILE}: not a value adapter: {error}") from None
        if {n: w.shape for n, w in stored.items()} != {n: w.shape for n, w in self.weights.items()}:
            raise UserError(
                f"value_head.rank: {folder / ADAPTER_FILE} has another, or is of another model; "
                "set the one it trained with"
            )
        for name, weight in self.weights.items():
            weight.copy_(stored[name])

    def _initial(self, rank: int, seed: int) -> dict[str, Tensor]:
        """Returns first weights, under which every value is the rating."""
        random = torch.Generator().manual_seed(seed)
        width = self._decoder.get_input_embeddings().weight.shape[1]
        weights = {
            LOGPROB: torch.zeros(2, width),
            HEAD: torch.zeros(width),
            BIAS: torch.zeros(()),
        }
        for (down, up), module in self._linears.items():
            inputs, outputs = _sizes(module)
            # As LoRA starts: uniform in +-1 / sqrt(inputs) down, zero up.
            start = torch.rand(rank, inputs, generator=random) * 2 - 1
            weights[down] = start / inputs**0.5
            weights[up] = torch.zeros(outputs, rank)
        device = self._model.device
        return {n: w.to(device).requires_grad_() for n, w in weights.items()}


class AdapterJudge:
    """Sets the values of the nodes of growing trees; reads the paths of new nodes alone."""

    def __init__(self, adapter: ValueAdapter, language: Language) -> None:
        self._adapter, self._language = adapter, language
        self._readers: dict[int, TokenReader] = {}  # by the tree's id

    def __call__(self, trees: Sequence[Tree]) -> None:
        """Set the values of the nodes that the trees have gained since the last call."""
        if self._adapter.untrained:
            return  # a node starts with its rating
        nodes, items = [], []
        for tree in trees:
            reader = self._readers.setdefault(id(tree), TokenReader(self._language))
            items.append(reader.read(tree))
            nodes += tree.nodes[len(tree.nodes) - len(items[-1].at) :]
        for node, value in zip(nodes, self._adapter.values(items), strict=True):
            node.value = value


def _linears(decoder: PreTrainedModel) -> Iterator[tuple[tuple[str, str], nn.Module]]:
    """Yields the linear layers of a decoder with the names of the weights added to each; one with
    LoRA of the policy's own is one layer."""
    for name, module in decoder.named_modules():
        inside = ".base_layer" in name or ".lora_" in name
        if isinstance(module, nn.Linear | Conv1D | LoraLayer) and not inside:
            yield (f"{name}.down", f"{name}.up"), module


def _sizes(module: nn.Module) -> tuple[int, int]:
    """Returns the numbers of inputs and outputs of a linear layer."""
    if isinstance(module, Conv1D):
        inputs, outputs = module.weight.shape
    else:
        inputs, outputs = module.in_features, module.out_features
    return int(inputs), int(outputs)


def _adding(down: Tensor, up: Tensor) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    """Returns a forward hook that adds the low-rank part to a linear layer's output."""

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        x = inputs[0]
        low = functional.linear(x, down.to(x.dtype))
        return output + SCALE * functional.linear(low, up.to(x.dtype))

    return hook
