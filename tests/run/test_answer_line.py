"""What `solve` says of an answer, and of none."""

import pytest

from llamao1_cli.run.commands import _answer_line


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        ("7", "answer: 7"),
        ("", "no answer: the solution ends without stating one"),
        (None, "no answer: no thought came to a conclusion; raise search.simulations"),
    ],
)
def test_no_answer_is_called_so(answer: str | None, line: str) -> None:
    assert _answer_line(answer).startswith(line)
