"""One forward over a packed micro-batch, and whether a model can do it."""

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from llamao1_cli.errors import UserError
from llamao1_cli.learn.batch import Packed, pack
from llamao1_cli.learn.experience import Actions, Experience, Ratings
from llamao1_cli.model.packed_attention import attending_packed
from llamao1_cli.model.probe import TOLERANCE, logit_gap, narrow_windows

BRANCHES = (range(10), [*range(4), *range(10, 16)])  # two paths that part after four tokens


def packed_logits(model: nn.Module, packed: Packed) -> Tensor:
    """Logits `[U + R, V]` where the micro-batch reads them; inside `attending_packed`."""
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
    tokens = [size * (30 + 2 * place) // 100 for place in range(16)]
    paths = [torch.tensor([[tokens[p] for p in b]], device=model.device) for b in BRANCHES]
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
    """Logits of the tokens of both branches, from one packed forward."""
    before = np.arange(-1, len(tokens) - 1)
    before[10] = 3
    branches = np.concatenate([np.array(branch) for branch in BRANCHES])
    none = np.zeros(0, np.int32)
    ones = np.ones(len(tokens), np.float32)
    item = Experience(
        np.array(tokens, np.int32),
        before.astype(np.int32),
        Actions(none, none, none, none, none, none),
        Ratings(np.arange(len(tokens)), ones, ones),
        iteration=0,
    )
    packed = pack([(0, item)], 0, model.device)
    with attending_packed(model):
        logits = packed_logits(model, packed)
    if packed.layout.layers_seen != model.config.get_text_config().num_hidden_layers:
        raise RuntimeError("its layers do not all go through AttentionInterface")
    return logits[branches]
