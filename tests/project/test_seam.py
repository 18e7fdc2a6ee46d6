"""Nothing outside `language/` knows which language a model speaks, or how the marked one is
written."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "llamao1_cli"
# A marker or its name, a token of the rating field, a language by name or by class.
KNOWS = re.compile(
    r"<(start|end)_of_|_rating>|\b(FATHER|LOCAL|THOUGHT|RATING)_(START|END)\b"
    r"|\bthought_end\b|\brating_(start|end)\b|language\.(positive|negative)\b"
    r"|\b(Marked|Chat)Language\b|language\.(marked_language|chat\.(language|template|thoughts))\b"
    r"|\.turn_ends\b|\blanguage ==|\bspeaks\.name\b"
)
# Where a language is chosen; and the program and the card that tell other people how a model of the
# marked language is read.
MAY_KNOW = {"config/model.py", "config/run.py", "export/loading_code.py", "export/card.py"}


def knowing(root: Path) -> list[str]:
    """Where the sources below `root` know more than the protocol says."""
    found = []
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if name.startswith("language/") or name in MAY_KNOW:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            found += [f"{name}:{number}: {line.strip()}"] if KNOWS.search(line) else []
    return found


def test_the_seam_holds() -> None:
    assert knowing(ROOT) == []


@pytest.mark.parametrize(
    "line",
    [
        "ended = token == self._language.thought_end",
        "isinstance(language, ChatLanguage)",
        "from llamao1_cli.language.marked_language import MarkedLanguage",
        'close = "<end_of_thought>"',
        'if config.model.language == "chat":',
    ],
)
def test_what_breaks_the_seam_is_seen(tmp_path: Path, line: str) -> None:
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "odd.py").write_text(line, encoding="utf-8")
    assert len(knowing(tmp_path)) == 1
