"""Sampling: the distribution, its figures and the draws, against plain arithmetic."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from llamao1_cli.engine.sampler import Choice, Sampler
from llamao1_cli.language.distribution import action_scores, entropy_figures, invert, truncate

# Apart from each other: what is likelier must not hang on the last bit.
LOGITS = st.lists(st.integers(-32, 32).map(lambda x: x / 4), min_size=2, max_size=12, unique=True)
# 99.9% quantiles of chi-square by degrees of freedom
QUANTILE = {1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47, 5: 20.52, 6: 22.46, 7: 24.32, 8: 26.12}


def plain(
    logits: list[float], allowed: list[bool], temperature: float, top_k: int, top_p: float
) -> list[float]:
    """The distribution by its definition, token by token."""
    chances = [math.exp(x / temperature) * ok for x, ok in zip(logits, allowed, strict=True)]
    order = sorted(range(len(chances)), key=lambda i: (-chances[i], i))
    order = order[: top_k or None]
    total, kept, reached = sum(chances[i] for i in order), [], 0.0
    for i in order:
        if not kept or reached < top_p or top_p == 1:
            kept.append(i)
        reached += chances[i] / total
        assume(top_p == 1 or abs(reached - top_p) > 1e-4)
    total = sum(chances[i] for i in kept)
    return [chances[i] / total if i in kept else 0.0 for i in range(len(chances))]


@given(LOGITS, st.floats(0.3, 3), st.integers(0, 5), st.sampled_from([0.05, 0.31, 0.77, 1.0]))
def test_scores_are_those_of_the_distribution(
    logits: list[float], temperature: float, top_k: int, top_p: float
) -> None:
    allowed = [index % 3 != 1 for index in range(len(logits))]
    expected = plain(logits, allowed, temperature, top_k, top_p)
    got = action_scores(
        torch.tensor(logits), torch.tensor(allowed), temperature, top_k, top_p
    ).softmax(-1)
    assert got.tolist() == pytest.approx(expected, abs=1e-5)


def test_each_row_has_its_own_cut() -> None:
    scores = torch.tensor([[0.0, 1.0, 2.0, 3.0]]).expand(3, -1)
    cut = truncate(scores, torch.tensor([[0], [2], [3]]), torch.tensor([[0.6], [1.0], [0.9]]))
    kept = (cut > -1e8).int().tolist()
    assert kept == [[0, 0, 0, 1], [0, 0, 1, 1], [0, 0, 1, 1]]


def test_a_token_that_was_sampled_is_never_cut() -> None:
    scores = torch.tensor([0.0, 1.0, 2.0, 3.0])
    cut = truncate(scores, 2, 1.0, keep=torch.tensor(0))
    assert (cut > -1e8).tolist() == [True, False, True, True]


@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_entropy_and_varentropy_by_loop(spread: float) -> None:
    generator = torch.Generator().manual_seed(1)
    allowed = torch.tensor([1, 1, 0, 1, 1, 0], dtype=torch.bool)
    scores = action_scores(torch.randn(5, 6, generator=generator) * spread, allowed, 0.7)
    log_total, entropies, spreads = entropy_figures(scores.exp(), scores)
    logprobs = scores - log_total.unsqueeze(-1)
    for line, entropy, varentropy in zip(logprobs.tolist(), entropies, spreads, strict=True):
        surprise = [(math.exp(x), -x) for x in line if x > -1e8]
        mean = sum(p * s for p, s in surprise)
        assert float(entropy) == pytest.approx(mean, rel=1e-4, abs=1e-5)
        expected = sum(p * (s - mean) ** 2 for p, s in surprise)
        assert float(varentropy) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("size", [3, 256, 257, 1000])
def test_inversion_finds_the_token_of_every_uniform(size: int) -> None:
    """Against one running sum over the vocabulary, whose blocks it never forms."""
    rng = np.random.default_rng(size)
    weights = rng.random(size) * (rng.random(size) < 0.5)
    weights[size // 2] = 1.0
    uniforms = np.append(rng.random(2000), [0.0, 1 - 2**-53])
    edges = np.cumsum(weights.astype(np.float32).astype(np.float64))
    expected = np.searchsorted(edges, uniforms * edges[-1], side="right")
    rows = torch.tensor(weights, dtype=torch.float32).expand(len(uniforms), -1)
    got = invert(rows, torch.tensor(uniforms)).numpy()
    assert (weights[got] > 0).all()
    # A uniform on the edge of two tokens may fall to either, as sums are rounded.
    assert (np.abs(edges[got] - edges[expected]) <= weights[expected] + 1e-6).all()
    assert (got == expected).mean() > 0.999


def test_a_draw_never_lands_on_a_forbidden_token() -> None:
    scores = action_scores(torch.zeros(5), torch.tensor([0, 1, 0, 1, 0], dtype=torch.bool), 1.0)
    edges = torch.tensor([0.0, 0.5 - 1e-9, 0.5 + 1e-9, 1 - 2**-53], dtype=torch.float64)
    assert invert(scores.exp().expand(4, -1), edges).tolist() == [1, 1, 3, 3]


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [(1.0, 0, 1.0), (0.5, 0, 1.0), (1.7, 0, 1.0), (1.0, 3, 1.0), (1.0, 0, 0.7), (0.8, 4, 0.9)],
)
@pytest.mark.parametrize("role", [0, 1])
def test_the_sampler_has_the_exact_distribution(
    temperature: float, top_k: int, top_p: float, role: int
) -> None:
    count, logits = 60_000, [1.0, 0.5, 3.0, -1.0, 0.7, 1.4, 0.0, -0.5, 1.1]
    grammar = torch.ones(2, 9, dtype=torch.bool)
    grammar[:, 2], grammar[0, 5] = False, False
    uniforms = torch.from_numpy(np.random.default_rng(role).random(count))
    choice = Choice(
        torch.full((count,), role),
        uniforms,
        torch.full((count,), temperature),
        torch.full((count,), top_k),
        torch.full((count,), top_p),
    )
    drawn = Sampler(grammar).draw(torch.tensor(logits).expand(count, -1), choice)
    expected = np.array(plain(logits, grammar[role].tolist(), temperature, top_k, top_p))
    observed = np.bincount(drawn.tokens.numpy(), minlength=9)
    possible = expected > 0
    assert observed[~possible].sum() == 0
    expected_counts = expected[possible] * count
    chi_square = ((observed[possible] - expected_counts) ** 2 / expected_counts).sum()
    assert chi_square < QUANTILE[possible.sum() - 1]
    assert drawn.logprobs[:9].exp().tolist() == pytest.approx(
        [expected[token] for token in drawn.tokens[:9].tolist()], rel=1e-4
    )
    surprise = -np.log(expected[possible])
    entropy = (expected[possible] * surprise).sum()
    assert float(drawn.entropy[0]) == pytest.approx(entropy, rel=1e-4)
    varentropy = (expected[possible] * (surprise - entropy) ** 2).sum()
    assert float(drawn.varentropy[0]) == pytest.approx(varentropy, rel=1e-3, abs=1e-5)


def test_greedy_rows_are_scored_at_temperature_one() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0, 5.0]]).expand(2, -1)
    grammar = torch.tensor([[True, True, True, False]])
    choice = Choice(
        torch.tensor([0, 0]),
        torch.tensor([0.99, 0.0]),
        torch.zeros(2),
        torch.zeros(2, dtype=torch.long),
        torch.ones(2),
    )
    drawn = Sampler(grammar).draw(logits, choice)
    assert drawn.tokens.tolist() == [1, 1]
    total = sum(math.exp(x) for x in (1, 3, 2))
    assert drawn.logprobs.tolist() == pytest.approx([3 - math.log(total)] * 2, rel=1e-5)
