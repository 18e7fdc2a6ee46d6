"""What is to be chosen about the chat language. It loads no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ChatSettings:
    """What stands around a problem in the chat language, and what its solutions are cut at."""

    separator: str = "\n"
    system: str | None = None
    examples: tuple[tuple[str, str], ...] = ()  # problems and their solutions
    arguments: Mapping[str, Any] = field(default_factory=dict)  # of the chat template
