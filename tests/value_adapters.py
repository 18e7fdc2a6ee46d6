"""Value adapters on toy models, and peft's own on single paths to hold them against."""

import copy

import torch
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedModel

from llamao1_cli.engine.builtin.weights import plain_copy
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.value.adapter import ValueAdapter
from llamao1_cli.value.features import logit


def adapter_on(
    model: PreTrainedModel, language: MarkedLanguage, seed: int = 0, limit: int = 8192
) -> ValueAdapter:
    return ValueAdapter(model, language, rank=4, seed=seed, max_tokens=limit)


def opinionated(
    model: PreTrainedModel, language: MarkedLanguage, seed: int = 0, limit: int = 8192
) -> ValueAdapter:
    """An adapter as if it had learned something, whatever it is."""
    adapter = adapter_on(model, language, seed, limit)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in adapter.weights.items():
            if not name.endswith(".down"):
                weight.copy_(torch.randn(weight.shape, generator=random) * 0.1)
    return adapter


def adapted(model: PreTrainedModel) -> PreTrainedModel:
    """The model with a policy's LoRA whose adapters do something."""
    torch.manual_seed(0)
    lora = LoraConfig(r=4, lora_dropout=0.5, target_modules=["q_proj", "v_proj"])
    model = get_peft_model(copy.deepcopy(model), lora)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def by_peft(model: PreTrainedModel, adapter: ValueAdapter) -> PreTrainedModel:
    """The policy, its own LoRA merged, with the adapter's weights as peft's LoRA."""
    plain = plain_copy(model, torch.float32)
    prefix = plain.base_model_prefix
    names = [name.removesuffix(".down") for name in adapter.weights if name.endswith(".down")]
    lora = LoraConfig(r=4, lora_alpha=8, target_modules=[f"{prefix}.{name}" for name in names])
    wrapped = get_peft_model(plain, lora)
    with torch.no_grad():
        for name in names:
            layer = wrapped.get_base_model().base_model.get_submodule(name)
            layer.lora_A["default"].weight.copy_(adapter.weights[f"{name}.down"])
            layer.lora_B["default"].weight.copy_(adapter.weights[f"{name}.up"])
    return wrapped.eval()


def path_logit(
    wrapped: PreTrainedModel,
    weights: dict[str, torch.Tensor],
    language: MarkedLanguage,
    tree: Tree,
    node: Node,
) -> torch.Tensor:
    """The node's logit from one plain forward over its own path, token by token."""
    ids, logprobs = language.root(tree.problem.text), [0.0] * len(language.root(tree.problem.text))
    for step in tree.path(node)[1:]:
        forced = step.thought.meta if step.thought.forced_meta else None
        made = language.node(
            step.depth,
            step.thought.ids,
            forced_meta=forced,
            complete=step.thought.complete,
            shown=step.thought.shown,
        )
        tokens, offset = made.ids, made.sampled
        rest = len(tokens) - offset - len(step.thought.ids)
        ids += tokens
        logprobs += [*[0.0] * offset, *step.thought.logprobs, *[0.0] * rest]
    ids, told = ids[:-2], torch.tensor(logprobs[:-2])  # up to the start of the rating
    told = torch.stack([told.clamp(min=-10.0), 1 - told.exp()], 1)
    base = wrapped.get_base_model()
    embedded = base.get_input_embeddings()(torch.tensor([ids])) + told @ weights["logprob"]
    states = base.base_model(inputs_embeds=embedded, use_cache=False).last_hidden_state
    return logit(node.thought.rating) + states[0, -1] @ weights["head"] + weights["bias"]
