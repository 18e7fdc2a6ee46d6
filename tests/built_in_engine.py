"""The built-in engine on toy models, ragged requests for it, and what its figures should be."""

from dataclasses import fields

import pytest
import torch
from toy_models import plain_figures, walk
from transformers import (
    PreTrainedModel,
)

from llamao1_cli.engine.builtin.engine import TreeEngine
from llamao1_cli.engine.protocol import Request, Thought
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.language.sampling import Sampling

TEXTS = [
    "How many?",
    "Mia has 3 coins. How many coins does Mia have?",
    "Ivy doubles the 5 pens." * 2,
]
SAMPLING = {field.name for field in fields(Sampling)}
CLOSE = {"rel": 1e-4, "abs": 1e-4}


def requests(language: MarkedLanguage, count: int, **changes: object) -> list[Request]:
    """Ragged requests: paths of three lengths, one to five thoughts."""
    made = []
    for index in range(count):
        size = 1 + index % 5
        drawn = {name: changes[name] for name in SAMPLING & changes.keys()}
        fields = {"metas": (None,) * size, "hints": (None,) * size, "seed": 100 + index}
        fields |= {name: value for name, value in changes.items() if name not in SAMPLING}
        sampling = Sampling(**{"max_tokens": 7, **drawn})
        made.append(Request(language.root(TEXTS[index % 3]), 1, sampling=sampling, **fields))
    return made


def engine(
    model: PreTrainedModel, language: MarkedLanguage, rows: int = 32, **changes: object
) -> TreeEngine:
    settings = {"max_length": 256, "memory": 2**30, "dtype": torch.float32, **changes}
    return TreeEngine(model, language, rows=rows, **settings)


def check(
    model: PreTrainedModel, language: MarkedLanguage, request: Request, thoughts: list[Thought]
) -> None:
    """Every figure of every thought is that of a plain forward pass."""
    for before, thought in walk(language, request, thoughts):
        expected = plain_figures(
            model, language, before, thought, request.sampling.temperature or 1.0
        )
        assert thought.logprobs == pytest.approx(expected.logprobs, **CLOSE)
        assert thought.entropy == pytest.approx(expected.entropy, **CLOSE)
        assert thought.varentropy == pytest.approx(expected.varentropy, **CLOSE)
        assert thought.rating == pytest.approx(expected.value, **CLOSE)
        if not request.sampling.temperature:
            assert thought.ids == expected.best
