"""Small random models that say varied things, and what a plain forward pass makes of them."""

import math
from dataclasses import dataclass
from functools import cache

import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PhimoeConfig,
    PhimoeForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from llamao1_cli.engine.protocol import Request, Thought
from llamao1_cli.language.marked import MARKERS, Meta
from llamao1_cli.language.marked_language import MarkedLanguage

GROUPED = {"intermediate_size": 48, "num_key_value_heads": 2, "head_dim": 8}
SLIDING = {"use_sliding_window": True, "sliding_window": 21, "max_window_layers": 1}
KINDS = {
    "llama": (LlamaConfig, LlamaForCausalLM, GROUPED),
    "mistral": (MistralConfig, MistralForCausalLM, {**GROUPED, "sliding_window": 19}),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, GROUPED),
    # One layer reads everything, the other slides.
    "qwen2-sliding": (Qwen2Config, Qwen2ForCausalLM, {**GROUPED, **SLIDING}),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, GROUPED),
    # Soft caps on attention and on logits, queries scaled by their own number.
    "gemma2": (
        Gemma2Config,
        Gemma2ForCausalLM,
        {
            **GROUPED,
            "sliding_window": 23,
            "query_pre_attn_scalar": 5,
            "attn_logit_softcapping": 3.0,
            "final_logit_softcapping": 6.0,
        },
    ),
    "gemma3": (
        Gemma3TextConfig,
        Gemma3ForCausalLM,
        {**GROUPED, "sliding_window": 17, "layer_types": ["sliding_attention", "full_attention"]},
    ),
    # Its positions are absolute: a shift would show.
    "gpt2": (GPT2Config, GPT2LMHeadModel, {}),
}
FAVOURED = "\\boxed{7}. \\boxed{12}. + = step"


def toy_model(language: MarkedLanguage, kind: str = "llama", seed: int = 0) -> PreTrainedModel:
    """A random model that ends thoughts, starts meta-actions and boxes numbers often enough."""
    torch.manual_seed(seed)
    config, model_class, extra = KINDS[kind]
    model = model_class(
        config(
            vocab_size=len(language.tokenizer) + 3,  # some models have rows that no token uses
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=512,
            initializer_range=0.3,
            tie_word_embeddings=False,
            bos_token_id=None,
            eos_token_id=None,
            pad_token_id=None,
            **extra,
        )
    )
    biased = torch.nn.Linear(32, model.config.vocab_size, bias=True)
    with torch.no_grad():
        biased.weight.copy_(model.lm_head.weight)
        biased.bias.zero_()
        biased.bias[[*set(language.encode(FAVOURED)), language.thought_end]] = 3.0
        biased.bias[[language.meta(meta) for meta in Meta]] = 4.0
    model.lm_head = biased
    return model.eval()


@dataclass
class Figures:
    """What a thought's fields should be."""

    logprobs: list[float]
    entropy: list[float]
    varentropy: list[float]
    value: float
    best: list[int]  # the likeliest allowed token at each place


@cache
def masked_window(vocabulary: int) -> PreTrainedModel:
    """A model with sliding windows in the masks it makes, which its attention is not told of."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    experts = {"num_local_experts": 2, "num_experts_per_tok": 1}
    return PhimoeForCausalLM(
        PhimoeConfig(vocab_size=vocabulary, **sizes, **GROUPED, **experts, sliding_window=64)
    ).eval()


def allowed_tokens(language: MarkedLanguage, place: int, forced: bool) -> list[int]:
    """Tokens allowed at a place of a thought, from the vocabulary's names."""
    names = language.tokenizer.get_vocab()
    markers = {names[marker] for marker in MARKERS}
    numbers = {index for name, index in names.items() if name.startswith("<id_")}
    words = set(names.values()) - markers - numbers - set(language.tokenizer.all_special_ids)
    if place:
        words |= {names["<end_of_thought>"]}
    elif not forced:
        words |= {names[meta] for meta in Meta}
    return sorted(words)


def plain_figures(
    model: PreTrainedModel,
    language: MarkedLanguage,
    before: list[int],
    thought: Thought,
    temperature: float,
) -> Figures:
    """Figures of a thought behind the tokens `before`: one sequence, no cache, no padding."""
    ids = [*before, *thought.ids]
    end = [] if thought.complete else [language.thought_end]
    with torch.no_grad():
        tokens = torch.tensor([[*ids, *end, language.rating_start]])
        logits = model(input_ids=tokens, use_cache=False).logits[0].double()
    positive, negative = logits[-1, [language.positive, language.negative]].exp().tolist()
    figures = Figures([], [], [], positive / (positive + negative), [])
    for place, token in enumerate(thought.ids):
        allowed = allowed_tokens(language, place, thought.forced_meta)
        scores = logits[len(before) + place - 1, allowed] / temperature
        surprise = scores.logsumexp(-1) - scores
        chances = (-surprise).exp()
        mean = float((chances * surprise).sum())
        figures.logprobs.append(-float(surprise[allowed.index(token)]))
        figures.entropy.append(mean)
        figures.varentropy.append(float((chances * (surprise - mean) ** 2).sum()))
        figures.best.append(allowed[int(surprise.argmin())])
    assert math.isfinite(figures.value)
    return figures


def walk(
    language: MarkedLanguage, request: Request, thoughts: list[Thought], *, hints: bool = False
) -> list[tuple[list[int], Thought]]:
    """Each thought of a chain with all tokens before its first sampled one, its own hint among
    them if asked for."""
    path, steps = list(request.path), []
    for index, thought in enumerate(thoughts):
        forced = thought.meta if thought.forced_meta else None
        node = language.node(
            request.depth + index,
            thought.ids,
            forced_meta=forced,
            complete=thought.complete,
            shown=thought.shown,
        )
        sentence = request.hints[index] if hints else None
        told = language.encode(sentence) if sentence else []
        steps.append((path + told + node.ids[: node.sampled], thought))
        path = path + node.ids
    return steps
