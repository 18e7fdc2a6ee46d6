"""Worked solutions as messages: what a user asked, and what the model is to answer."""

import json
from pathlib import Path
from typing import Any

import pytest
from chat_models import chat_language

from llamao1_cli.config import WarmupConfig
from llamao1_cli.errors import UserError
from llamao1_cli.learn.warmup import marked_texts
from llamao1_cli.tasks.arithmetic import Arithmetic

CHAT = chat_language()
ASKED = {"role": "user", "content": "What is 3+4?"}
ANSWERED = {"role": "assistant", "content": "3 + 4 = 7.\n\nThe answer is 7."}


def spelled(folder: Path, row: dict[str, Any], task: Arithmetic) -> tuple[str, list[float]]:
    """The text that the chat language makes of a row, and what of it is learned."""
    file = folder / "rows.jsonl"
    file.write_text(json.dumps(row) + "\n", encoding="utf-8")
    (text,) = marked_texts(
        WarmupConfig(data={"path": str(file)}),
        task,
        CHAT,
        show_ratings=False,
        max_length=256,
        seed=0,
    )
    return CHAT.tokenizer.decode(text.inputs), text.weights


@pytest.mark.parametrize(
    "row",
    [{"messages": [ASKED, ANSWERED]}, {"prompt": [ASKED], "completion": [ANSWERED]}],
    ids=["messages", "prompt and completion"],
)
def test_messages_are_learned_as_the_template_writes_them(
    tmp_path: Path, row: dict[str, Any], arithmetic: Arithmetic
) -> None:
    text, weights = spelled(tmp_path, row, arithmetic)
    prompt = len(CHAT.root(ASKED["content"]))
    whole = CHAT.tokenizer.apply_chat_template([ASKED, ANSWERED], tokenize=False)
    assert text == whole.removesuffix("\n")
    assert weights == [0.0] * prompt + [1.0] * (len(weights) - prompt)


@pytest.mark.parametrize(
    "messages",
    [
        [],
        "text",
        [ASKED],
        [ANSWERED, ASKED],
        [{"role": "system", "content": "Think."}, ASKED, ANSWERED],
        [ASKED, {"role": "assistant", "content": " "}],
        [ASKED, {"role": "assistant", "content": ["7"]}],
        ["user", "assistant"],
        None,
    ],
)
def test_other_messages_are_refused_with_their_line(
    tmp_path: Path, messages: Any, arithmetic: Arithmetic
) -> None:
    with pytest.raises(UserError) as error:
        spelled(tmp_path, {"messages": messages}, arithmetic)
    assert "rows.jsonl" in str(error.value)
    assert "\n" not in str(error.value)
