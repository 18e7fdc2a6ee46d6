"""The weights that rollouts run on: a plain copy of the model, adapters merged, in a type of its
own."""

from collections.abc import Iterator
from copy import deepcopy

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from peft.tuners.trainable_tokens import TrainableTokensLayer
from torch import Tensor
from transformers import PreTrainedModel

from llamao1_cli.distributed.sharding import unsharded
from llamao1_cli.engine.builtin.attention import TREE_ATTENTION
from llamao1_cli.engine.builtin.buffers import Buffers, Shape
from llamao1_cli.engine.builtin.groups import Group
from llamao1_cli.engine.builtin.packed_linear import PackedLinear, pack_linears
from llamao1_cli.engine.builtin.step import Feed, run_step
from llamao1_cli.errors import UserError
from llamao1_cli.model.probe import TOLERANCE, logit_gap, narrow_windows

PROBE_TOKENS = 12  # of the path that checks the attention


def rollout_copy(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """Returns a copy of the model in `dtype` with adapters merged, which attends with
    `tree_attention`.

    Raises UserError naming the architecture of a model that this attention does not fit.
    """
    plain = plain_copy(model, dtype)
    pack_linears(plain)
    with torch.inference_mode():
        # From the middle of the vocabulary: special tokens are often untrained, and wild in bf16.
        size = plain.get_input_embeddings().weight.shape[0]
        tokens = [size * (30 + 3 * index) // 100 for index in range(PROBE_TOKENS)]
        ids = torch.tensor([tokens], device=plain.device)
        with narrow_windows(plain):
            expected = plain(input_ids=ids, use_cache=False).logits[0].float()
            plain.set_attn_implementation(TREE_ATTENTION)
            _check(plain, tokens, expected)
    return plain


def plain_copy(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """Returns a copy of the model in `dtype` with adapters merged, for inference."""
    plain = deepcopy(model)
    if isinstance(plain, PeftModel):
        plain = plain.merge_and_unload()
    plain = plain.to(dtype).eval().requires_grad_(False)
    refresh(plain, model)
    return plain


@torch.no_grad()
def refresh(plain: PreTrainedModel, model: PreTrainedModel) -> None:
    """Bring the copy up to the model's weights of now, in place. Where the weights are sharded, all
    ranks must call it."""
    with unsharded(model):
        for name, weight in merged_weights(model):
            owner, _, leaf = name.rpartition(".")
            module = plain.get_submodule(owner)
            if isinstance(module, PackedLinear) and leaf == "weight":
                module.pack(weight)
            else:
                module.get_parameter(leaf).copy_(weight)


def merged_weights(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """Yields every parameter of the plain model with its name there, adapters merged. A tied one
    comes once under each of its names."""
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    for name, parameter in base.named_parameters(remove_duplicate=False):
        owner, marked, leaf = name.rpartition(".base_layer.")
        if not marked:
            if ".lora_" not in name and ".trainable_tokens_" not in name:
                yield name, parameter
            continue
        layer = base.get_submodule(owner)
        plain = f"{owner.removesuffix('.token_adapter')}.{leaf}"
        if leaf != "weight":
            yield plain, parameter
        elif isinstance(layer, LoraLayer):
            deltas = [layer.get_delta_weight(adapter) for adapter in layer.active_adapters]
            yield plain, parameter + sum(deltas)
        else:
            assert isinstance(layer, TrainableTokensLayer)
            yield plain, layer.get_merged_weights(layer.active_adapters)


def shape_of(model: PreTrainedModel) -> Shape:
    """Returns what a token's keys and values look like in the model."""
    config = model.config.get_text_config()
    heads = config.num_attention_heads
    return Shape(
        layers=config.num_hidden_layers,
        query_heads=heads,
        heads=getattr(config, "num_key_value_heads", None) or heads,
        width=getattr(config, "head_dim", None) or config.hidden_size // heads,
        dtype=model.dtype,
        device=model.device,
    )


def _check(model: PreTrainedModel, tokens: list[int], expected: Tensor) -> None:
    """Compare the logits of a prefix and a row, read with `tree_attention`, with the expected ones
    of a plain forward."""
    architecture = type(model).__name__
    try:
        got = _probe(model, tokens)
    except (TypeError, RuntimeError, KeyError, IndexError, AttributeError) as error:
        raise UserError(
            f"the built-in engine does not run {architecture} "
            f"({str(error).splitlines()[0][:120]}); use engine.backend: vllm"
        ) from None
    gap = logit_gap(got, expected, model.dtype)
    if not gap <= TOLERANCE[model.dtype]:
        raise UserError(
            f"the built-in engine gives other logits for {architecture} than the model itself "
            f"(by {gap:.1e} of the largest); use engine.backend: vllm"
        )


def _probe(model: PreTrainedModel, tokens: list[int]) -> Tensor:
    """Returns the logits `[T, V]` of the tokens, read as a prefix, several tokens of a row, and one
    more."""
    first, second = len(tokens) // 2, len(tokens) - 1
    buffers = Buffers(shape_of(model), columns=1)
    buffers.ensure(1, first, second)
    group = Group(tokens[:first], slot=0)
    steps = [
        Feed(tokens[:first], 0, group, None, None, range(first)),
        Feed(tokens[first:second], 0, group, 0, None, range(second - first)),
        Feed(tokens[second:], second - first, group, 0, None, range(1)),
    ]
    return torch.cat([run_step(model, buffers, [feed]) for feed in steps]).float()
