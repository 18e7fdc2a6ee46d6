"""The markers of the language in a model and a tokenizer that lack them."""

import torch
from tokenizers import AddedToken
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from llamao1_cli.language.marked import MARKERS


def add_markers(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Give both the markers they lack; returns the new tokens' ids.

    A new row starts at the mean embedding of the words of its name.
    """
    added, spelled = add_marker_tokens(tokenizer)
    if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    heads = [model.get_input_embeddings(), model.get_output_embeddings()]
    with torch.no_grad():
        for weight in {id(head.weight): head.weight for head in heads}.values():
            rows = [weight[words].mean(0) for words in spelled]
            for row, mean in zip(added, rows, strict=True):
                weight[row] = mean
    return added


def add_marker_tokens(tokenizer: PreTrainedTokenizerFast) -> tuple[list[int], list[list[int]]]:
    """Give a tokenizer the markers it lacks; returns the new tokens' ids, and how the tokenizer
    spells the words of each one's name."""
    known = tokenizer.get_vocab()
    missing = [marker for marker in MARKERS if marker not in known]
    spelled = [
        tokenizer.encode(marker.strip("<>").replace("_", " "), add_special_tokens=False)
        for marker in missing
    ]
    tokenizer.add_tokens(
        [AddedToken(m, special=True, normalized=False) for m in missing], special_tokens=True
    )
    return [tokenizer.convert_tokens_to_ids(marker) for marker in missing], spelled
