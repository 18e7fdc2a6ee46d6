"""Learning from trees of the chat language: log-probs, GRPO as it is written, worked solutions."""

import copy

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from built_in_engine import engine
from chat_models import chat_language, chat_model
from fake_engine import BY_EQUALITY
from transformers import PreTrainedModel

from llamao1_cli.config import LearnConfig, SearchConfig, WarmupConfig
from llamao1_cli.language.distribution import action_logprobs
from llamao1_cli.language.marked import MarkedNode, Meta
from llamao1_cli.language.sampling import Sampling
from llamao1_cli.learn.credit import STD_FLOOR
from llamao1_cli.learn.experience import Experience, experiences
from llamao1_cli.learn.update import Updater
from llamao1_cli.learn.warmup import Warmup
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.search.rectify import rectify
from llamao1_cli.search.tree import Tree
from llamao1_cli.tasks.problem import Problem

CHAT = chat_language()
CHAINS = {"algorithm": "forks", "chains": 4, "forks": 0.0}
TREES = {
    "chains": CHAINS,
    "forks": {"algorithm": "forks", "chains": 3, "forks": 3},
    "mcts": {"simulations": 5},
    "distinct": {"algorithm": "distinct", "solutions": 6},
    "hints": {"simulations": 4, "meta_actions": "matrix", "hints": "answer"},
}
SPLIT = 90  # tokens of a micro-batch that splits every tree


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return chat_model(CHAT)


def grown(model: PreTrainedModel, **changes: object) -> list[Tree]:
    """Trees that the model grew; every other leaf counts as right."""
    config = SearchConfig(**{"max_depth": 4, "max_thought_tokens": 8, **changes})
    problems = [Problem(str(i), f"How many are {i} and {3 * i}?", "7") for i in range(3)]
    request = SearchRequest(problems, config, [1, 2, 3], rewards=BY_EQUALITY)
    trees = grow(request, engine(model, CHAT), CHAT)
    for tree in trees:
        for place, leaf in enumerate(tree.leaf_nodes()):
            leaf.earn(float(place % 2 == 0))
        rectify(tree, 1.0, "failure")
    return trees


def stepped(
    model: PreTrainedModel, batch: list[Experience], **changes: object
) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Metrics of a plain step of rate 1, and by how much it lowered each weight: the gradient."""
    moved = copy.deepcopy(model)
    optimizer = torch.optim.SGD(moved.parameters(), lr=1.0)
    config = LearnConfig(max_grad_norm=1e9, **changes)
    updater = Updater(config, CHAT, Sampling(), Accelerator(cpu=True), moved, optimizer)
    metrics, _ = updater.step(batch, np.ones(len(batch)), 1.0, "a step")
    before = dict(model.named_parameters())
    return metrics, {n: (before[n] - p).detach() for n, p in moved.named_parameters()}


@pytest.mark.parametrize("kind", TREES)
@pytest.mark.parametrize("limit", [4096, SPLIT])
def test_before_any_step_the_ratio_is_one(model: PreTrainedModel, kind: str, limit: int) -> None:
    batch = experiences(grown(model, **TREES[kind]), CHAT, LearnConfig(), 1.0)
    metrics, _ = stepped(model, batch, micro_batch_tokens=limit)
    assert sum(len(item.actions.at) for item in batch) > 50
    assert not any(len(item.ratings.at) for item in batch)
    assert metrics["log_ratio_max"] < 1e-4
    assert metrics["logprob_gap"] < 1e-4
    assert metrics["value_loss"] == 0


def test_only_sampled_tokens_are_learned_and_all_of_them(model: PreTrainedModel) -> None:
    """The words of a meta-action that was chosen are context, as the prompt is."""
    for kind in ("chains", "hints"):
        trees = grown(model, **TREES[kind])
        for tree, item in zip(trees, experiences(trees, CHAT, LearnConfig(), 1.0), strict=True):
            sampled = {
                (*tree.path_ids(tree.nodes[node.parent], CHAT), *opened, *node.thought.ids[:end])
                for node in tree.nodes[1:]
                for opened in [CHAT.opening(1, node.thought.meta)]
                for end in range(1, len(node.thought.ids) + 1)
            }
            acted = {
                (*_before(item, at), token)
                for at, token in zip(item.actions.at, item.actions.token, strict=True)
            }
            assert acted == sampled


def _before(item: Experience, at: int) -> list[int]:
    path: list[int] = []
    while at >= 0:
        path.insert(0, int(item.ids[at]))
        at = item.before[at]
    return path


@pytest.mark.parametrize("divide", [True, False])
@pytest.mark.parametrize("limit", [4096, SPLIT])
def test_flat_chains_with_credit_of_grpo_are_grpo(
    model: PreTrainedModel, divide: bool, limit: int
) -> None:
    """One row a completion, one advantage a row, a mean over all tokens; nothing else."""
    trees = grown(model, **CHAINS)
    settings = {"algorithm": "grpo", "group_std": divide, "kl_weight": 0.0}
    batch = experiences(trees, CHAT, LearnConfig(**settings), 1.0)
    _, gradient = stepped(model, batch, micro_batch_tokens=limit, **settings)
    plain = copy.deepcopy(model)
    grammar, losses, count = CHAT.grammar(model.config.vocab_size), [], 0
    for tree in trees:
        prompt, leaves = CHAT.root(tree.problem.text), list(tree.leaf_nodes())
        rewards = np.array([leaf.reward for leaf in leaves])
        scale = rewards.std() + STD_FLOOR if divide else 1.0
        for leaf, advantage in zip(leaves, (rewards - rewards.mean()) / scale, strict=True):
            path = torch.tensor(tree.path_ids(leaf, CHAT))
            said = path[len(prompt) :]
            logits = plain(path[None]).logits[0, len(prompt) - 1 : -1]
            allowed = grammar[[0] * len(said)]
            logprobs = action_logprobs(logits, said, allowed, Sampling())
            losses.append(-(float(advantage) * (logprobs - logprobs.detach()).exp()).sum())
            count += len(said)
    (torch.stack(losses).sum() / count).backward()
    for name, weight in plain.named_parameters():
        assert torch.allclose(weight.grad, gradient[name], atol=1e-5, rtol=1e-3), name


def test_trees_without_signal_move_nothing(model: PreTrainedModel) -> None:
    trees = grown(model, **CHAINS)
    for tree in trees:
        for leaf in tree.leaf_nodes():
            leaf.earn(0.0)
        rectify(tree, 1.0, "failure")
    batch = experiences(trees, CHAT, LearnConfig(), 1.0)
    _, gradient = stepped(model, batch)
    assert not any(bool(each.any()) for each in gradient.values())


def test_the_supervised_stage_raises_the_completion_alone(model: PreTrainedModel) -> None:
    taught = copy.deepcopy(model)
    nodes = [
        MarkedNode(-1, 0, "How many?", Meta.PROBLEM),
        MarkedNode(0, 1, "3 + 4 = 7.", Meta.EXPANSION),
        MarkedNode(1, 2, "The answer is 7.", Meta.CONCLUSION),
    ]
    text = CHAT.supervised(nodes, show_ratings=False, rating_weight=1.0)
    config = WarmupConfig(epochs=1, batch_size=1, micro_batch_size=1, max_grad_norm=1e9)
    warmup = Warmup(config, [text], Accelerator(cpu=True), 0)
    optimizer = torch.optim.SGD(taught.parameters(), lr=1.0)
    loss = warmup.step(taught, optimizer, [text], 0.1, "a step")["loss"]
    ids, prompt = torch.tensor([text.inputs]), len(CHAT.root("How many?"))
    labels = ids.clone()
    labels[:, :prompt] = -100
    assert loss == pytest.approx(float(model(ids, labels=labels).loss), rel=1e-5)
    assert float(taught(ids, labels=labels).loss) < loss
