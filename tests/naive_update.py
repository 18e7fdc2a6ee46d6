"""What an update should do, written one node and one token at a time; and trees to update on."""

import copy
from collections.abc import Callable, Iterator

import numpy as np
import torch
from accelerate import Accelerator
from fake_engine import BY_EQUALITY, random_tree, thought
from transformers import PreTrainedModel

from llamao1_cli.config import LearnConfig, SearchConfig
from llamao1_cli.engine.builtin.engine import TreeEngine
from llamao1_cli.language.marked_language import MarkedLanguage, Role
from llamao1_cli.language.sampling import Sampling
from llamao1_cli.learn.algorithms import configured_algorithm
from llamao1_cli.learn.credit import has_signal
from llamao1_cli.learn.experience import Experience, experiences
from llamao1_cli.learn.update import Updater, trainable_weights
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.search.rectify import rectify
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.tasks.problem import Problem

Gradients = dict[str, torch.Tensor]


def play(
    model: PreTrainedModel, language: MarkedLanguage, count: int = 4, **changes: object
) -> list[Tree]:
    """Trees that the model grew; every other leaf counts as right."""
    search = SearchConfig(**{"simulations": 3, "max_depth": 3, "max_thought_tokens": 6, **changes})
    problems = [Problem(str(i), f"How many are {i} and {3 * i}?", "7") for i in range(count)]
    engine = TreeEngine(model, language, dtype=torch.float32, rows=16, memory=2**28, max_length=256)
    trees = grow(
        SearchRequest(problems, search, list(range(1, count + 1)), rewards=BY_EQUALITY),
        engine,
        language,
    )
    for tree in trees:
        for place, leaf in enumerate(tree.leaf_nodes()):
            leaf.earn(float(place % 2 == 0))
        rectify(tree, 0.9, "failure")
    return trees


def wild_trees(language: MarkedLanguage, count: int, size: int = 10) -> list[Tree]:
    """Random trees in which some nodes say the same, and of which the second has no signal."""
    trees = [random_tree(language, seed, size) for seed in range(count)]
    for tree in trees:
        for child in tree.children(tree.root):
            twin = copy.deepcopy(child.thought)
            twin.logprobs = [logprob - 0.1 for logprob in twin.logprobs]
            again = tree.attach(tree.root, [twin])[0]
            again.earn(float(child.outcome if child.terminal else child.id % 2 == 0))
    for leaf in trees[1].leaf_nodes():
        leaf.earn(1.0)
    for tree in trees:
        rectify(tree, 0.9, "failure")
    assert [has_signal(tree) for tree in trees[:3]] == [True, False, True]
    return trees


def shifted(trees: list[Tree]) -> list[Tree]:
    """As if other weights had sampled the trees, so that some ratios are clipped."""
    trees, rng = copy.deepcopy(trees), np.random.default_rng(0)
    for tree in trees:
        for node in tree.nodes[1:]:
            noise = rng.normal(0, 0.3, len(node.thought.ids))
            node.thought.logprobs = (np.array(node.thought.logprobs) + noise).tolist()
    return trees


def flat_trees(language: MarkedLanguage, count: int) -> list[Tree]:
    """Chains from the root, of which two begin alike; the second tree's are all right."""
    trees = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        tree = Tree.plant(Problem(f"p{seed}", f"How many are {seed}?", "7"), seed, rng.random())
        firsts = [thought(language, rng, f"step {place}", 0.5) for place in range(3)]
        for place, first in enumerate([firsts[0], *firsts]):
            ends = f"The answer is \\boxed{{{rng.integers(10, 90)}}}."
            leaf = tree.attach(
                tree.root, [copy.deepcopy(first), thought(language, rng, ends, 0.4)]
            )[-1]
            leaf.earn(float(place % 2 == 0 or seed == 1))
        rectify(tree, 0.9, "failure")
        trees.append(tree)
    return trees


def batch_of(
    trees: list[Tree], language: MarkedLanguage, min_tokens: int = 1, **changes: object
) -> list[Experience]:
    """The experiences of the trees, one each."""
    made = experiences(trees, language, LearnConfig(**changes), 0.9, min_tokens=min_tokens)
    assert len(made) == len(trees)
    return made


def updater(
    model: torch.nn.Module,
    language: MarkedLanguage,
    accelerator: Accelerator,
    sampling: Sampling | None = None,
    **changes: object,
) -> Updater:
    """With plain gradient descent: at rate 1 a step is the negative gradient."""
    config = LearnConfig(**{"max_grad_norm": 1e9, **changes})
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.0)
    return Updater(config, language, sampling or Sampling(), accelerator, model, optimizer)


def gradient(model: torch.nn.Module, step: Callable[[], object]) -> Gradients:
    """What a step of rate 1 took from the weights."""
    before = trainable_weights(model)
    step()
    return {name: before[name] - after for name, after in trainable_weights(model).items()}


def naive_loss(
    model: PreTrainedModel,
    language: MarkedLanguage,
    trees: list[Tree],
    weights: np.ndarray,
    temperature: float,
    config: LearnConfig,
    reference: PreTrainedModel | None = None,
) -> tuple[torch.Tensor, list[float]]:
    """The loss of trees node by node and token by token, and the mean TD error of each tree."""
    credit = [configured_algorithm(config).advantages(tree, 0.9) for tree in trees]
    scale = 1.0
    if config.algorithm == "rlsp":
        scale = np.concatenate([gains[1:] for gains in credit if gains is not None]).std()
    tokens = sum(
        len(node.thought.ids)
        for tree, gains in zip(trees, credit, strict=True)
        for node in tree.nodes
        if gains is not None and not np.isnan(gains[node.id])
    )
    values = sum(
        leaves
        for tree, gains in zip(trees, credit, strict=True)
        for _, leaves in taught(tree, gains)
    )
    total, errors = torch.zeros(()), []
    for tree, gains, weight in zip(trees, credit, weights.tolist(), strict=True):
        differences: list[float] = []
        gaps: dict[int, torch.Tensor] = {}  # by leaf
        for node, leaves in taught(tree, gains):
            ids = torch.tensor([tree.path_ids(node, language)])
            logits = model(input_ids=ids, use_cache=False).logits[0]
            if reference is not None:
                with torch.no_grad():
                    other = reference(input_ids=ids, use_cache=False).logits[0]
            trains = gains is not None and not np.isnan(gains[node.id])
            for index in range(len(node.thought.ids)) if trains else ():
                now = logprob(logits, node, index, language, temperature)
                behaviour, advantage = node.thought.logprobs[index], float(gains[node.id] / scale)
                total = total - weight * gain(now, behaviour, advantage, config) / tokens
                end = next(leaf.id for leaf in tree.leaf_nodes() if node in tree.path(leaf))
                gaps[end] = gaps.get(end, torch.zeros(())) + now - behaviour
                if reference is not None:
                    d = logprob(other, node, index, language, temperature) - now
                    total = total + config.kl_weight * (d.exp() - d - 1) / tokens
            p = logits[-3, [language.positive, language.negative]].softmax(-1)
            cross_entropy = -(node.target * p[0].log() + (1 - node.target) * p[1].log())
            total = total + config.value_weight * weight * leaves * cross_entropy / values
            differences += [abs(node.target - float(p[0].detach()))] * leaves
        errors.append(float(np.mean(differences)))
        if config.algorithm == "k15":
            for gap in gaps.values():
                total = total + weight * config.mirror_weight / 2 * gap**2 / tokens
    return total, errors


def gain(
    now: torch.Tensor, behaviour: float, advantage: float, config: LearnConfig
) -> torch.Tensor:
    """What one token is to bring; for k15 without the pull of its solution."""
    if config.algorithm in ("expert_iteration", "k15"):
        return advantage * now
    ratio = (now - behaviour).exp()
    return torch.minimum(
        (ratio if ratio < config.ratio_cap else config.ratio_cap) * torch.tensor(advantage),
        ratio.clamp(1 - config.clip, 1 + (config.clip_high or config.clip)) * advantage,
    )


def taught(tree: Tree, gains: np.ndarray | None) -> Iterator[tuple[Node, int]]:
    """The nodes whose value a tree trains, and for how many leaves each speaks."""
    if gains is not None:
        yield from ((node, node.leaves) for node in tree.nodes)
    else:
        yield from ((n, tree.root.leaves) for n in tree.path(next(tree.leaf_nodes())))


def logprob(
    logits: torch.Tensor, node: Node, index: int, language: MarkedLanguage, temperature: float
) -> torch.Tensor:
    """Of sampled token `index` of a node, from the logits `[T, V]` of the node's own path."""
    thought = node.thought
    end = len(logits) - 3 - (not thought.complete)
    before = end - len(thought.ids) + index - 1
    first = Role.WORDS if thought.forced_meta else Role.FIRST
    allowed = language.grammar(logits.shape[-1])[Role.INSIDE if index else first]
    scores = logits[before].masked_fill(~allowed, -torch.inf) / temperature
    return scores[thought.ids[index]] - scores.logsumexp(-1)
