"""Losses and distributions against plain loops, exact expectations and finite differences."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.distributed.optimizer_step import ramp_and_cosine, ramp_and_line
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.learn.algorithms.expert_iteration import likelihood_loss
from llamao1_cli.learn.algorithms.k15 import mirror_descent_loss
from llamao1_cli.learn.losses import kl_estimate, log_ratio, policy_loss, value_loss

RATIOS = st.floats(-3, 3)


def row(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float64)


@given(
    tokens=st.lists(st.tuples(RATIOS, st.floats(-5, 5)), min_size=1, max_size=12),
    clip=st.floats(0.05, 0.5),
    high=st.floats(0.05, 0.5),
    cap=st.floats(1.6, 5),
)
def test_policy_loss_equals_a_plain_loop(
    tokens: list[tuple[float, float]], clip: float, high: float, cap: float
) -> None:
    expected, clipped = 0.0, 0
    for log_r, advantage in tokens:
        ratio = math.exp(log_r)
        bounded, capped = min(max(ratio, 1 - clip), 1 + high), min(ratio, cap)
        expected -= min(capped * advantage, bounded * advantage)
        clipped += bounded * advantage < capped * advantage - 1e-9
        clipped += ratio > cap and advantage < 0
    log_ratios, advantages = (torch.tensor(column) for column in zip(*tokens, strict=True))
    behaviour = torch.full_like(log_ratios, -2.0)
    loss, count = policy_loss(
        log_ratios - 2.0, behaviour, advantages, clip=clip, clip_high=high, cap=cap
    )
    assert float(loss) == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert abs(int(count) - clipped) <= sum(abs(a) < 1e-4 for _, a in tokens)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped"),
    [
        (1.5, 2.0, -2.4, 1),  # too likely already: the gain is capped
        (0.5, 2.0, -1.0, 0),  # a good token made rare is pulled back in full
        (0.5, -2.0, 1.6, 1),  # rare enough already: the gain is capped
        (1.5, -2.0, 3.0, 0),  # a bad token made likely is pushed back in full
        (1.1, 2.0, -2.2, 0),
        (0.9, -2.0, 1.8, 0),
        (4.0, -2.0, 6.0, 1),  # so likely that engine and trainer may disagree: the loss is capped
    ],
)
def test_clipping_by_sign_and_side(
    ratio: float, advantage: float, loss: float, clipped: int
) -> None:
    logprobs = row(math.log(ratio) - 1).requires_grad_()
    got, count = policy_loss(logprobs, row(-1.0), row(advantage), clip=0.2, clip_high=0.2, cap=3.0)
    assert got.item() == pytest.approx(loss, rel=1e-5)
    assert int(count) == clipped
    got.backward()
    expected = 0.0 if clipped else -ratio * advantage  # d(-r A) / d log pi
    assert logprobs.grad.item() == pytest.approx(expected, rel=1e-5)


def test_log_ratio_is_clamped_and_in_fp32() -> None:
    ratio = log_ratio(row(-500.0, 0.0, -1.5), row(0.0, -500.0, -1.0))
    assert ratio.tolist() == [[-20.0, 20.0, -0.5]]
    assert ratio.dtype == torch.float32
    assert torch.isfinite(ratio.exp()).all()
    half = torch.tensor([[-1.0]], dtype=torch.bfloat16)
    assert log_ratio(half, torch.tensor([[-1.001]])).item() == pytest.approx(0.001, rel=1e-3)


def test_gradients_equal_finite_differences() -> None:
    torch.manual_seed(0)
    behaviour, advantages = torch.randn(3, 5) - 2, torch.randn(3, 5)
    logprobs = behaviour + 0.4 * torch.randn(3, 5)
    weights, targets = torch.rand(3, 5), torch.rand(3, 5)
    losses = [
        lambda x: policy_loss(x, behaviour, advantages, clip=0.2, clip_high=0.2, cap=3.0)[0],
        lambda x: kl_estimate(x, behaviour),
        lambda x: value_loss(x, targets, weights),
    ]
    for loss in losses:
        x = logprobs.clone().requires_grad_()
        loss(x).backward()
        for place in np.ndindex(3, 5):
            step = torch.zeros(3, 5)
            step[place] = 1e-2
            slope = (loss(logprobs + step) - loss(logprobs - step)) / 2e-2
            assert x.grad[place].item() == pytest.approx(slope.item(), abs=5e-3)


@given(st.lists(st.tuples(RATIOS, RATIOS, st.floats(0, 1), st.floats(0, 2)), min_size=1))
def test_value_loss_is_the_cross_entropy_of_the_two_way_softmax(rows: list) -> None:
    expected = 0.0
    for positive, negative, target, weight in rows:
        p = math.exp(positive) / (math.exp(positive) + math.exp(negative))
        expected -= weight * (target * math.log(p) + (1 - target) * math.log(1 - p))
    positive, negative, targets, weights = (torch.tensor(c) for c in zip(*rows, strict=True))
    loss = value_loss(positive - negative, targets, weights)
    assert float(loss) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_the_rating_is_read_with_the_softmax_it_is_trained_with(
    language: MarkedLanguage,
) -> None:
    logits = torch.randn(4, len(language.tokenizer), generator=torch.Generator().manual_seed(0))
    two_way = logits[:, [language.positive, language.negative]].softmax(-1)[:, 0]
    read = language.rating_logits(logits).sigmoid()
    assert read.tolist() == pytest.approx(two_way.tolist())
    # The loss is least, with slope 0, where what is read equals the target.
    difference = (logits[:, language.positive] - logits[:, language.negative]).requires_grad_()
    value_loss(difference, read, torch.ones(4)).backward()
    assert difference.grad.abs().max() < 1e-6


def test_k3_is_positive_and_its_mean_is_the_kl() -> None:
    generator = torch.Generator().manual_seed(0)
    policy, reference = torch.randn(2, 6, generator=generator).log_softmax(-1)
    kl = float((policy.exp() * (policy - reference)).sum())
    each = torch.stack([kl_estimate(policy[i], reference[i]) for i in range(6)])
    assert (each >= 0).all()
    assert float((policy.exp() * each).sum()) == pytest.approx(kl, rel=1e-4)
    tokens = torch.multinomial(policy.exp(), 100_000, replacement=True, generator=generator)
    mean = float(kl_estimate(policy[tokens], reference[tokens])) / 100_000
    assert mean == pytest.approx(kl, rel=0.03)
    assert float(kl_estimate(policy[tokens], policy[tokens])) == 0.0


def test_schedules_by_hand() -> None:
    assert ramp_and_cosine(0.0, 0.2, 0.1) == 0.0
    assert ramp_and_cosine(0.05, 0.2, 0.1) == pytest.approx(0.25)
    assert ramp_and_cosine(0.2, 0.2, 0.1) == pytest.approx(1.0)
    assert ramp_and_cosine(1.0, 0.2, 0.1) == pytest.approx(0.1)
    assert ramp_and_cosine(0.6, 0.2, 0.1) == pytest.approx(0.55)
    assert ramp_and_cosine(0.4, 0.2, 0.0) == pytest.approx(0.5 + 0.5 * math.cos(math.pi / 4))
    assert math.isfinite(ramp_and_cosine(1.0, 1.0, 0.1))
    assert ramp_and_line(1, 4, 0.0, 0.2) == pytest.approx(0.25)
    assert ramp_and_line(4, 4, 0.5, 0.2) == pytest.approx(0.6)
    assert ramp_and_line(2, 4, 0.5, 0.2) == pytest.approx(0.3)
    assert ramp_and_line(9, 0, 1.0, 0.2) == pytest.approx(0.2)
    assert ramp_and_line(9, 0, 1.5, 0.2) == pytest.approx(0.2)  # the last iteration runs over


@given(
    actions=st.lists(
        st.tuples(st.integers(0, 3), st.floats(-1, 1), st.floats(-2, 2)), min_size=1, max_size=12
    ),
    tau=st.floats(0, 2),
)
def test_mirror_descent_equals_a_loop_over_solutions(
    actions: list[tuple[int, float, float]], tau: float
) -> None:
    numbers = sorted({solution for solution, _, _ in actions})
    weights = {number: 0.5 + number for number in numbers}
    expected = 0.0
    for number in numbers:
        own = [(gap, advantage) for solution, gap, advantage in actions if solution == number]
        expected += weights[number] * tau / 2 * sum(gap for gap, _ in own) ** 2
        expected -= weights[number] * sum(advantage * (gap - 1.5) for gap, advantage in own)
    gaps = torch.tensor([gap for _, gap, _ in actions])
    loss = mirror_descent_loss(
        gaps - 1.5,
        torch.full_like(gaps, -1.5),
        torch.tensor([advantage for _, _, advantage in actions]),
        torch.tensor([numbers.index(solution) for solution, _, _ in actions]),
        torch.tensor([weights[number] for number in numbers]),
        tau=tau,
    )
    assert float(loss) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_mirror_descent_pulls_a_solution_back_as_a_whole() -> None:
    logprobs = torch.tensor([-1.0, -2.0, -0.5], requires_grad=True)
    behaviour, none = torch.tensor([-1.5, -1.0, -0.7]), torch.zeros(3)
    whole = torch.tensor([0, 0, 1])
    mirror_descent_loss(logprobs, behaviour, none, whole, torch.ones(2), tau=0.3).backward()
    # tau times the sum over the solution: 0.3 * (0.5 - 1.0) and 0.3 * 0.2
    assert logprobs.grad.tolist() == pytest.approx([-0.15, -0.15, 0.06])


def test_likelihood_by_hand() -> None:
    loss = likelihood_loss(torch.tensor([-1.0, -2.0]), torch.tensor([1.0, 0.5]))
    assert float(loss) == pytest.approx(2.0)
