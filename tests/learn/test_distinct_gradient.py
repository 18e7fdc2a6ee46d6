"""The policy gradient of trees of distinct solutions, against that of all solutions."""

from collections.abc import Sequence

import numpy as np
import pytest
from chance_engine import ChanceEngine
from fake_engine import BY_EQUALITY

from llamao1_cli.config import LearnConfig, SearchConfig
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.learn.algorithms.grpo import group_gain
from llamao1_cli.learn.algorithms.rlsp import quality_gain
from llamao1_cli.learn.credit import target_of
from llamao1_cli.learn.experience import experiences
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.search.tree import Tree
from llamao1_cli.search.weights import draw_weights
from llamao1_cli.tasks.problem import Problem

PROBLEM = Problem("p", "How many?", "7")
Context = tuple[tuple[int, ...], ...]  # the tokens of each thought so far, the last one begun
Gradient = dict[tuple[Context, int], float]  # by context and token: of its logit


def trees_of(
    language: MarkedLanguage, engine: ChanceEngine, count: int, **search: object
) -> list[Tree]:
    config = SearchConfig(algorithm="distinct", max_depth=2, **search)
    request = SearchRequest([PROBLEM] * count, config, [*range(count)], rewards=BY_EQUALITY)
    return grow(request, engine, language)


def add_score(
    gradient: Gradient, engine: ChanceEngine, context: Context, token: int, weight: float
) -> None:
    """Add weight times the gradient of log p(token) by the logits of its context."""
    for other, chance in engine.next_tokens(context[:-1], context[-1]).items():
        slope = weight * ((other == token) - chance)
        gradient[context, other] = gradient.get((context, other), 0.0) + slope


def exact(engine: ChanceEngine) -> Gradient:
    """The gradient of the probability of a right answer, summed over all solutions."""
    gradient: Gradient = {}
    for solution in engine.solutions():
        for number, thought in enumerate(solution.thoughts):
            for index, token in enumerate(thought):
                context = (*solution.thoughts[:number], thought[:index])
                weight = solution.probability * solution.right
                add_score(gradient, engine, context, token, weight)
    return gradient


def estimated(engine: ChanceEngine, tree: Tree, advantages: Sequence[float]) -> Gradient:
    """The sum over thoughts of what they count, times their advantage and score."""
    gradient: Gradient = {}
    for node, counted in zip(tree.nodes[1:], draw_weights(tree)[1:], strict=True):
        before = tuple(tuple(step.thought.ids) for step in tree.path(node)[1:-1])
        for index, token in enumerate(node.thought.ids):
            weight = counted / tree.root.leaves * advantages[node.id]
            context = (*before, tuple(node.thought.ids[:index]))
            add_score(gradient, engine, context, token, weight)
    return gradient


def rows(gradients: Sequence[Gradient], keys: Sequence[tuple[Context, int]]) -> np.ndarray:
    return np.array([[gradient.get(key, 0.0) for key in keys] for gradient in gradients])


@pytest.mark.parametrize("credit", ["root", "parent"])
def test_all_solutions_give_the_exact_gradient(language: MarkedLanguage, credit: str) -> None:
    engine = ChanceEngine(language, seed=11, evenness=6.0)
    true = exact(engine)
    (tree,) = trees_of(language, engine, 1, solutions=1000)
    advantages = (
        group_gain(tree, divide=False) if credit == "root" else quality_gain(tree, treerl=False)
    )
    found = estimated(engine, tree, advantages)
    assert found == pytest.approx(true, abs=1e-4)


@pytest.mark.parametrize("weights", ["set", "clock"])
def test_few_solutions_give_it_in_the_mean(language: MarkedLanguage, weights: str) -> None:
    """With a baseline that does not depend on the draws: here none."""
    engine = ChanceEngine(language, seed=11, evenness=6.0)
    true = exact(engine)
    trees = trees_of(language, engine, 1000, solutions=4, weights=weights)
    scale = [tree.root.mass or 0.0 for tree in trees]
    gradients = [
        estimated(engine, tree, [target_of(node) * whole for node in tree.nodes])
        for tree, whole in zip(trees, scale, strict=True)
    ]
    found = rows(gradients, [*true])
    error = found.std(0) / np.sqrt(len(trees))
    assert (np.abs(found.mean(0) - [*true.values()]) < 4.5 * error + 1e-9).all()


@pytest.mark.parametrize(("credit", "shares"), [("root", (0.6, 0.95)), ("parent", (0.4, 0.95))])
def test_the_draws_own_mean_as_baseline_shortens_it(
    language: MarkedLanguage, credit: str, shares: tuple[float, float]
) -> None:
    """As with GRPO's k independent samples, which come to (k - 1) / k of it, a baseline of the same
    draws takes a part of the gradient away; its direction stays."""
    engine = ChanceEngine(language, seed=11, evenness=6.0)
    true = exact(engine)
    gradients = []
    for tree in trees_of(language, engine, 1000, solutions=4):
        rooted = credit == "root"
        gain = group_gain(tree, divide=False) if rooted else quality_gain(tree, treerl=False)
        gradients.append(estimated(engine, tree, gain))
    mean, whole = rows(gradients, [*true]).mean(0), np.array([*true.values()])
    least, most = shares
    assert least < mean @ whole / (whole @ whole) < most
    assert mean @ whole / np.linalg.norm(mean) / np.linalg.norm(whole) > 0.9


def test_an_experience_holds_each_drawn_token_once(language: MarkedLanguage) -> None:
    """With the sum of what the thoughts that share it are to learn."""
    engine = ChanceEngine(language, seed=11, width=3, length=3)
    for tree in trees_of(language, engine, 20, solutions=6):
        config = LearnConfig(algorithm="grpo", group_std=False)
        (item,) = experiences([tree], language, config, 1.0)
        gain, counted = group_gain(tree, divide=False), draw_weights(tree)
        if len(item.actions.at) == 0:
            continue
        expected: dict[tuple[Context, int], float] = {}
        for node in tree.nodes[1:]:
            before = tuple(tuple(step.thought.ids) for step in tree.path(node)[1:-1])
            for index, token in enumerate(node.thought.ids):
                if node.mass:
                    key = (*before, tuple(node.thought.ids[:index])), token
                    expected[key] = expected.get(key, 0.0) + gain[node.id] * counted[node.id]
        assert (
            len(item.actions.at)
            == len(expected)
            == len({*zip(item.actions.at, item.actions.token, strict=True)})
        )
        assert sorted(item.actions.advantage) == pytest.approx(sorted(expected.values()), abs=1e-5)
        assert item.ratings.leaves[0] == pytest.approx(tree.root.leaves)
