"""What an update should do, written one token at a time; and experiences to update on."""

from collections.abc import Callable

import numpy as np
import torch
from accelerate import Accelerator
from fake_engine import by_equality
from transformers import PreTrainedModel

from llamao1_cli.codec import Codec
from llamao1_cli.config import LearnConfig, SearchConfig
from llamao1_cli.engine.protocol import Sampling
from llamao1_cli.engine.tree import TreeEngine
from llamao1_cli.experience import Experience, experiences
from llamao1_cli.search.grow import grow, rectify
from llamao1_cli.tasks.problem import Problem
from llamao1_cli.update import Updater, trainable_weights

Gradients = dict[str, torch.Tensor]


def play(model: PreTrainedModel, codec: Codec, **changes: object) -> list[Experience]:
    """Eight or more experiences of trees that the model grew; every other leaf counts as right."""
    search = SearchConfig(**{"simulations": 3, "max_depth": 3, "max_thought_tokens": 6, **changes})
    problems = [Problem(str(i), f"How many are {i} and {3 * i}?", "7") for i in range(3)]
    engine = TreeEngine(model, codec, dtype=torch.float32, rows=16, memory=2**28, max_length=256)
    trees = grow(problems, [1, 2, 3], engine, codec, search, grade=by_equality)
    for tree in trees:
        for place, leaf in enumerate(tree.leaf_nodes()):
            leaf.outcome = place % 2 == 0
        rectify(tree, 0.9, "failure")
    made = experiences(trees, codec, LearnConfig(), 0.9, min_tokens=search.min_thought_tokens)
    assert len(made) >= 8
    return made


def updater(
    model: torch.nn.Module,
    codec: Codec,
    accelerator: Accelerator,
    sampling: Sampling | None = None,
    **changes: object,
) -> Updater:
    """With plain gradient descent: at rate 1 a step is the negative gradient."""
    config = LearnConfig(**{"max_grad_norm": 1e9, **changes})
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.0)
    return Updater(config, codec, sampling or Sampling(), accelerator, model, optimizer)


def gradient(model: torch.nn.Module, step: Callable[[], object]) -> Gradients:
    """What a step of rate 1 took from the weights."""
    before = trainable_weights(model)
    step()
    return {name: before[name] - after for name, after in trainable_weights(model).items()}


def naive_loss(
    model: PreTrainedModel,
    codec: Codec,
    batch: list[Experience],
    weights: np.ndarray,
    temperature: float,
    config: LearnConfig,
    reference: PreTrainedModel | None = None,
) -> tuple[torch.Tensor, list[float]]:
    """The loss of a batch token by token, and the mean TD error of each experience."""
    tokens, values = (sum(float(getattr(e, n).sum()) for e in batch) for n in ("action", "rated"))
    total, errors = torch.zeros(()), []
    for item, weight in zip(batch, weights.tolist(), strict=True):
        ids = torch.tensor(item.ids[None].astype(np.int64))
        logits = model(input_ids=ids).logits[0]
        for t in np.flatnonzero(item.action):
            now = logprob(logits, item, t, codec, temperature)
            ratio = (now - float(item.logprob[t])).exp()
            gain = torch.minimum(
                (ratio if ratio < config.ratio_cap else config.ratio_cap)
                * torch.tensor(item.advantage[t]),
                ratio.clamp(1 - config.clip, 1 + config.clip) * item.advantage[t],
            )
            total = total - weight * gain / tokens
            if reference is not None:
                with torch.no_grad():
                    other = reference(input_ids=ids).logits[0]
                d = logprob(other, item, t, codec, temperature) - now
                total = total + config.kl_weight * (d.exp() - d - 1) / tokens
        differences = []
        for t in np.flatnonzero(item.rated):
            target = float(item.target[t])
            p = logits[t, [codec.positive, codec.negative]].softmax(-1)
            cross_entropy = -(target * p[0].log() + (1 - target) * p[1].log())
            leaves = float(item.rated[t])
            total = total + config.value_weight * weight * leaves * cross_entropy / values
            differences += [abs(target - float(p[0].detach()))] * int(leaves)
        errors.append(float(np.mean(differences)) if differences else 0.0)
    return total, errors


def logprob(
    logits: torch.Tensor, item: Experience, t: int, codec: Codec, temperature: float
) -> torch.Tensor:
    allowed = codec.grammar(logits.shape[-1])[int(item.place[t])]
    scores = logits[t - 1].masked_fill(~allowed, -torch.inf) / temperature
    return scores[int(item.ids[t])] - scores.logsumexp(-1)
