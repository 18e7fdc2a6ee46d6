"""Which language a configuration asks for."""

import pytest
from pydantic import ValidationError

from llamao1_cli.config import Config, ModelConfig


def test_a_warm_up_or_a_model_from_scratch_means_the_marked_language() -> None:
    assert Config().model.speaks.name == "marked"
    named = {"model": {"path": "org/chat"}}
    assert Config(**named).model.speaks.name == "auto"
    taught = Config(**named, warmup={})
    assert taught.model.language == taught.model.speaks.name == "marked"
    assert Config(model={**named["model"], "language": "chat"}, warmup={}).model.language == "chat"


def test_a_model_from_scratch_has_no_chat_language() -> None:
    with pytest.raises(ValidationError, match=r"language: chat needs a chat model; .*model\.path"):
        ModelConfig(language="chat")
    with pytest.raises(ValidationError, match="step_separator"):
        ModelConfig(step_separator="")


def test_what_stands_before_a_problem_is_handed_on() -> None:
    model = ModelConfig(
        path="org/chat",
        step_separator="\n\n",
        chat={
            "system": "Think.",
            "examples": [{"problem": "1+1?", "solution": "2"}],
            "arguments": {"enable_thinking": False},
        },
    )
    chat = model.speaks.chat
    assert (chat.separator, chat.system, chat.examples) == ("\n\n", "Think.", (("1+1?", "2"),))
    assert chat.arguments == {"enable_thinking": False}
