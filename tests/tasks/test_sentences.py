"""Cutting worked text: every thought a piece, nothing lost, no cut inside mathematics."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.tasks.sentences import pieces


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n ", []),
        ("First this. Then that! Or not? Yes.", ["First this.", "Then that!", "Or not?", "Yes."]),
        ('He said "no." Then (so he did.) Then', ['He said "no."', "Then (so he did.)", "Then"]),
        ("She has 5. Then 3.5 more. 8.5 in all.", ["She has 5.", "Then 3.5 more.", "8.5 in all."]),
        ("A pen is Rs. 100 or Rs. 90.", ["A pen is Rs. 100 or Rs. 90."]),
        ("Mr. Ray and Dr. Lee, see Fig. 3, No. 5.", ["Mr. Ray and Dr. Lee, see Fig. 3, No. 5."]),
        (
            "By J. Smith, i.e. U.S. Law, at 5 p.m. etc.",
            ["By J. Smith, i.e. U.S. Law, at 5 p.m. etc."],
        ),
        ("1. Halve it. 2. Double it.", ["1. Halve it.", "2. Double it."]),
        ("It is 3... Then 4.", ["It is 3...", "Then 4."]),
        # Lines are cut where there are any, and not further.
        ("One. Two.\nThree. Four.", ["One. Two.", "Three. Four."]),
        ("One.\nTwo.\n \nThree. Four.", ["One.", "Two.", "Three.", "Four."]),
        # Mathematics.
        ("So $x = 3.$  Also $y.$ $Z$ is 1.", ["So $x = 3.$", "Also $y.$", "$Z$ is 1."]),
        ("If $x = 1. Y = 2$ holds. It does.", ["If $x = 1. Y = 2$ holds.", "It does."]),
        (r"If \(a. B\) holds. It does.", [r"If \(a. B\) holds.", "It does."]),
        (
            "We get\n\\[x. Y\n= 1\\]\nso it is 1. Then",
            ["We get\n\\[x. Y\n= 1\\]\nso it is 1.", "Then"],
        ),
        ("We get\n\n$$x = 1.$$Thus 1.", ["We get\n\n$$x = 1.$$", "Thus 1."]),
        (
            "Let\n\\begin{align*}\nA. &B \\\\[2ex]\n&C\n\\end{align*}Then 1.",
            ["Let\n\\begin{align*}\nA. &B \\\\[2ex]\n&C\n\\end{align*}", "Then 1."],
        ),
        (
            r"\begin{a}\begin{a}X. Y\end{a} X. Y\end{a} is so. So",
            [r"\begin{a}\begin{a}X. Y\end{a} X. Y\end{a} is so.", "So"],
        ),
        (
            "As seen.\n[asy]\nA. B;\n\nC\n[/asy]\nWe go on.",
            ["As seen.", "[asy]\nA. B;\n\nC\n[/asy]", "We go on."],
        ),
        # Money is no mathematics, and neither is what is never closed.
        ("It costs $5. Then $6. In all $11.", ["It costs $5.", "Then $6.", "In all $11."]),
        ("He has US$20. Her US$30 are gone. So", ["He has US$20.", "Her US$30 are gone.", "So"]),
        ("Ann: 6$\nBen: 6(2)=12$\nAll: 18$", ["Ann: 6$", "Ben: 6(2)=12$", "All: 18$"]),
        (
            r"An \$5 bill. And \$6. Or \[now. Never",
            [r"An \$5 bill.", r"And \$6.", r"Or \[now.", "Never"],
        ),
    ],
)
def test_pieces_are_sentences_or_lines(text: str, expected: list[str]) -> None:
    assert pieces(text) == expected


INNER = st.sampled_from(
    ["x", "y^2", "3.5", "a. B", "4! Then", "= 7.", "n? No", "\\frac{1}{2}", "+"]
)
CONTENT = st.lists(INNER, min_size=1, max_size=4).map(" ".join).map(lambda inner: f"z {inner}z")
FORMULA = st.one_of(
    CONTENT.map("${}$".format),
    CONTENT.map("\\({}\\)".format),
    CONTENT.map("$${}$$".format),
    CONTENT.map("\\[\n{}\n\\]".format),
    CONTENT.map("\\begin{{align*}}\n{} \\\\\n\n{{}}\n\\end{{align*}}".format),
    CONTENT.map("[asy]\n{};\n\ndraw;\n[/asy]".format),
)
WORDS = st.sampled_from(
    [
        "So we go.",
        "Then,",
        "it is so!",
        "A line",
        "e.g. this",
        "Rs. 5",
        "Why? Thus",
        "of",
        "(Done.)",
    ]
)
GAPS = st.sampled_from([" ", "  ", "\n", "\n\n", " \n \n"])


@given(st.lists(st.tuples(st.one_of(WORDS, FORMULA), GAPS), max_size=12), st.data())
def test_nothing_is_lost_and_no_cut_is_inside_mathematics(
    parts: list[tuple[str, str]], data: st.DataObject
) -> None:
    text = "".join(part + gap for part, gap in parts)
    found = pieces(text)
    assert "".join("".join(found).split()) == "".join(text.split())
    for part, _ in parts:
        if part[0] in "$\\[":
            assert any(part in piece for piece in found)


@given(st.text(alphabet="ab.!? \n$\\[](){}5A", max_size=60) | st.text(max_size=60))
def test_any_text_keeps_its_characters(text: str) -> None:
    found = pieces(text)
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(piece == piece.strip() != "" for piece in found)


@pytest.mark.parametrize(
    "unit",
    ["$", "\\[", "\\begin{a}", "[asy]", " ", "\n", "a", ". ", "(", "$5 ", "\\", ".\n \n", "$$a"],
)
def test_hostile_text_takes_linear_time(unit: str) -> None:
    begun = time.process_time()
    pieces(unit * (200_000 // len(unit)))
    assert time.process_time() - begun < 2
