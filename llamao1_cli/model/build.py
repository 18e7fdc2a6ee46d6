"""A small model and its tokenizer, built from scratch."""

import math
from collections.abc import Sequence

from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers import models as token_models
from tokenizers.trainers import BpeTrainer
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from llamao1_cli.config import BuildConfig

OWN_NUMBERS = range(-1, 64)  # node numbers that have tokens of their own in a built tokenizer
# One number is one token wherever it stands: a blank belongs to the word before or after it.
WORDS = Regex(r"\d+| ?[^\s\d]+(?: (?=\d))?|\s+")


def build_tokenizer(corpus: Sequence[str], size: int) -> PreTrainedTokenizerFast:
    """Returns a lossless byte-level BPE tokenizer trained on `corpus`, in which a number is one
    token."""
    tokenizer = Tokenizer(token_models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(WORDS, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=size,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<pad>"],
    )
    tokenizer.train_from_iterator(corpus, trainer)
    # Node numbers must not share tokens with operands, or the model copies one into the other.
    tokenizer.add_special_tokens([AddedToken(f"<id_{n}>", special=True) for n in OWN_NUMBERS])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>")


def build_llama(build: BuildConfig, vocabulary: int, max_length: int) -> LlamaForCausalLM:
    """Returns a small Llama with tied embeddings and random weights, which torch's seed decides."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=build.hidden_size,
            intermediate_size=build.feed_forward,
            num_hidden_layers=build.layers,
            num_attention_heads=build.heads,
            num_key_value_heads=build.heads,
            max_position_embeddings=max_length,
            tie_word_embeddings=True,
            # The usual 0.02 is meant for widths of thousands; a narrow model would start too flat.
            initializer_range=0.7 / math.sqrt(build.hidden_size),
            bos_token_id=None,
            eos_token_id=None,
            pad_token_id=None,
        )
    )
