"""Worked solutions as messages, the form in which others keep conversations."""

from typing import Any

from llamao1_cli.errors import UserError
from llamao1_cli.language.marked import MarkedNode, Meta

ROLES = ["user", "assistant"]


def messages_of(row: dict[str, Any]) -> Any:
    """Returns the messages of a row: its `messages`, or those of `prompt` and `completion`; None
    for a row of text."""
    if "messages" in row:
        return row["messages"]
    prompt, completion = row.get("prompt"), row.get("completion")
    return [*prompt, *completion] if isinstance(prompt, list | tuple) and completion else None


def worked_solution(messages: Any, where: str) -> list[MarkedNode]:
    """Returns what a user asked and the model is to answer as a problem and a thought.

    Raises UserError, naming `where`, for anything but one turn of each.
    """
    turns = list(messages) if isinstance(messages, list | tuple) else []
    roles = [turn.get("role") if isinstance(turn, dict) else None for turn in turns]
    said = [turn.get("content") if isinstance(turn, dict) else None for turn in turns]
    texts = [text for text in said if isinstance(text, str) and text.strip()]
    if roles != ROLES or len(texts) != len(ROLES):
        raise UserError(
            f"{where}: its messages have the roles {roles!r:.80}; give one turn with text of the "
            "user and then one of the assistant, and put what stands before every problem into "
            "model.chat"
        )
    return [MarkedNode(-1, 0, texts[0], Meta.PROBLEM), MarkedNode(0, 1, texts[1])]
