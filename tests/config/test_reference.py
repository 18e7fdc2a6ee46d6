"""The configuration reference: every key, with its default and what it does."""

import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from llamao1_cli.config import (
    ArithmeticTask,
    BuildConfig,
    Config,
    DataSource,
    DataTask,
    JudgeConfig,
    LoraConfig,
    OmegaConfig,
    PythonTask,
    ReasoningGymTask,
    RestartsConfig,
    RewardConfig,
    ValueAdapterConfig,
    ValueHeadConfig,
    WarmupConfig,
)
from llamao1_cli.config.answers import AnswerPattern
from llamao1_cli.config.model import ChatConfig, ChatExample
from llamao1_cli.config.reference import reference
from llamao1_cli.config.task import GymDataSet


def sections(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    """Every section class below `model`, once."""

    def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield annotation
        for part in get_args(annotation):
            yield from models_in(part)

    seen.add(model)
    yield model
    for field in model.model_fields.values():
        for inner in models_in(field.annotation):
            if inner not in seen:
                yield from sections(inner, seen)


SECTIONS = list(sections(Config, set()))
HEADINGS = {
    type(value): name
    for name, value in Config()
    if isinstance(value, BaseModel) and name not in ("task", "value_head")
} | {
    BuildConfig: "model.build",
    ChatConfig: "model.chat",
    ChatExample: "model.chat.examples",
    LoraConfig: "model.lora",
    ArithmeticTask: "task (kind: arithmetic)",
    DataTask: "task (kind: data)",
    PythonTask: "task (kind: python)",
    DataSource: "task (kind: data).train",
    ReasoningGymTask: "task (kind: reasoning_gym)",
    GymDataSet: "task (kind: reasoning_gym).dataset",
    ValueHeadConfig: "value_head (kind: features)",
    ValueAdapterConfig: "value_head (kind: adapter)",
    WarmupConfig: "warmup",
    RestartsConfig: "replay.restarts",
    AnswerPattern: "task (kind: arithmetic).answers",
    JudgeConfig: "judge",
    RewardConfig: "reward",
    OmegaConfig: "reward.omega",
}


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_field_says_what_it_does_in_one_sentence(section: type[BaseModel]) -> None:
    assert (section.__doc__ or "").strip()
    for name, field in section.model_fields.items():
        assert re.fullmatch(r"\S[^\n]{5,}\.", field.description or ""), f"{name} in {section}"


def shown_default(field: Any) -> str | None:
    """The default as YAML reads it back, or None for what no YAML value stands for."""
    if field.is_required():
        return "required"
    return "see below" if isinstance(field.default, BaseModel) else None


@pytest.mark.parametrize("section", SECTIONS[1:], ids=lambda section: section.__name__)
def test_the_reference_has_every_key_its_default_and_its_meaning(section: type[BaseModel]) -> None:
    pages = {page.split("`")[0]: page for page in reference().split("\n## `")}
    heading = HEADINGS[section]
    assert (section.__doc__ or "").strip() in pages[heading]
    lines = [line for line in pages[heading].splitlines() if line.startswith("| `")]
    for (name, field), line in zip(section.model_fields.items(), lines, strict=True):
        key, kind, default, meaning = re.split(r"(?<!\\) \| ", line.strip("| "))
        assert (key, meaning) == (f"`{name}`", field.description)
        assert kind
        assert "typing" not in kind
        if (word := shown_default(field)) is not None:
            assert default == word
        else:
            value = yaml.safe_load(default.strip("`"))
            value = tuple(value) if isinstance(field.default, tuple) else value
            value = float(value) if isinstance(field.default, float) else value
            assert value == field.default
