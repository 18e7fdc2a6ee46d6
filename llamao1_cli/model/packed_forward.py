"""One forward over packed tries, and whether a model can do it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from llamao1_cli.errors import UserError
from llamao1_cli.model.packed_attention import Layout, attending_packed
from llamao1_cli.model.probe import TOLERANCE, logit_gap, narrow_windows
from llamao1_cli.model.trie_layout import layout_of

SHARED, OWN, ALL = 4, 10, 16  # two paths: tokens 0 to 9, and the first 4 of them, then 10 to 15
BRANCHES = (range(OWN), [*range(SHARED), *range(OWN, ALL)])


@dataclass(frozen=True)
class PackedTokens:
    """Tries as one sequence of T tokens, whose logits are wanted behind N of them."""

    ids: Tensor  # [T]
    positions: Tensor  # [T] of each token on its path
    layout: Layout
    reads: Tensor  # [N] indices of tokens


def packed_logits(model: nn.Module, packed: PackedTokens) -> Tensor:
    """Returns the logits `[N, V]` where they are wanted; to be called inside `attending_packed`."""
    packed.layout.layers_seen = 0
    logits: Tensor = model(
        input_ids=packed.ids.unsqueeze(0),
        position_ids=packed.positions.unsqueeze(0),
        use_cache=False,
        logits_to_keep=packed.reads,
        layout=packed.layout,
    ).logits
    return logits[0]


@torch.no_grad()
def check_packs(model: PreTrainedModel) -> None:
    """Compare a small trie with plain forwards over its paths.

    Raises UserError naming the architecture of a model that cannot be trained on packed trees.
    """
    architecture, training = type(model).__name__, model.training
    model.eval()
    # From the middle of the vocabulary: special tokens are often untrained, and wild in bf16.
    size = model.config.get_text_config().vocab_size
    tokens = [size * (30 + 2 * index) // 100 for index in range(ALL)]
    paths = [torch.tensor([[tokens[i] for i in b]], device=model.device) for b in BRANCHES]
    try:
        with narrow_windows(model):
            plain = [model(input_ids=ids, use_cache=False).logits[0] for ids in paths]
            got = _probe(model, tokens)
    except (TypeError, ValueError, RuntimeError, KeyError, IndexError, AttributeError) as error:
        raise UserError(
            f"{architecture} cannot be trained on packed trees "
            f"({str(error).splitlines()[0][:120]}); use another model"
        ) from None
    finally:
        model.train(training)
    gap = logit_gap(got, torch.cat(plain), model.dtype)
    if not gap <= TOLERANCE[model.dtype]:
        raise UserError(
            f"{architecture} gives other logits for a packed tree than for its paths "
            f"(by {gap:.1e} of the largest); use another model"
        )


def _probe(model: PreTrainedModel, tokens: list[int]) -> Tensor:
    """Returns the logits of the tokens of both branches, from one packed forward."""
    before = np.arange(-1, ALL - 1)
    before[OWN] = SHARED - 1
    positions, layout = layout_of(before, model.device)
    ids, at, every = (
        torch.tensor(numbers, device=model.device)
        for numbers in (tokens, positions.tolist(), list(range(ALL)))
    )
    with attending_packed(model):
        logits = packed_logits(model, PackedTokens(ids, at, layout, every))
    if layout.layers_seen != model.config.get_text_config().num_hidden_layers:
        raise RuntimeError("its layers do not all go through AttentionInterface")
    return logits[[token for branch in BRANCHES for token in branch]]
