"""Which problems leave room for a thought: the others cannot be played, and so cannot be failed."""

from collections.abc import Sequence

from llamao1_cli.config import SearchConfig
from llamao1_cli.errors import UserError
from llamao1_cli.language.protocol import Language
from llamao1_cli.tasks.problem import Problem


def prompt_room(language: Language, search: SearchConfig, max_length: int) -> int:
    """Returns how many tokens a problem may have for a thought of the search to fit behind it."""
    forced = search.meta_actions == "matrix"
    return language.problem_room(max_length, search.max_thought_tokens, forced_meta=forced)


def playable(
    problems: Sequence[Problem], language: Language, search: SearchConfig, max_length: int
) -> list[Problem]:
    """Returns the problems behind which a thought fits into a path of `max_length` tokens.

    Raises UserError where there are problems, and none is one of those.
    """
    room = prompt_room(language, search, max_length)
    lengths = [len(ids) for ids in language.encode_all([problem.text for problem in problems])]
    found = [problem for problem, length in zip(problems, lengths, strict=True) if length <= room]
    if problems and not found:
        raise UserError(
            f"model.max_length: {max_length} leaves no held-out problem room for a thought; raise "
            f"it, to {max_length + max(lengths) - room} for all of them, or lower "
            "search.max_thought_tokens"
        )
    return found
