"""The formats of data files: each is read alike, and one under another's name is refused."""

import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.config import DataSource
from llamao1_cli.errors import UserError
from llamao1_cli.tasks.rows import read_rows

ROWS = [
    {"problem": 'Say "1, 2"\nand 3.', "answer": "6"},
    {"problem": "Löse 2·x = 4.", "answer": "x = 2"},
]
BOM = b"\xef\xbb\xbf"


def json_lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def json_array(rows: list[dict[str, Any]]) -> bytes:
    return json.dumps(rows, indent=1, ensure_ascii=False).encode()


def table(rows: list[dict[str, Any]], mark: str) -> bytes:
    def cell(text: str) -> str:
        doubled = text.replace('"', '""')
        return f'"{doubled}"'

    names = list(rows[0])
    lines = [names, *([str(row[name]) for name in names] for row in rows)]
    return "".join(mark.join(map(cell, line)) + "\r\n" for line in lines).encode()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    arrow = pytest.importorskip("pyarrow", reason="the extra `hub` is not installed")
    tables = pytest.importorskip("pyarrow.parquet")
    out = io.BytesIO()
    tables.write_table(arrow.Table.from_pylist(rows), out)
    return out.getvalue()


WRITERS = {
    ".jsonl": json_lines,
    ".json": json_array,
    ".csv": lambda rows: table(rows, ","),
    ".tsv": lambda rows: table(rows, "\t"),
    ".parquet": parquet,
}


def read(path: Path) -> list[dict[str, Any]]:
    return [row for _, row in read_rows(DataSource(path=str(path)))]


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as error:
        read(path)
    message = str(error.value)
    assert message.startswith(f"{path}")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_holds_the_same_rows_with_a_mark_and_gzipped(
    tmp_path: Path, suffix: str
) -> None:
    data = WRITERS[suffix](ROWS)
    marked = BOM + data if suffix != ".parquet" else data
    for name, content in [
        (f"plain{suffix}", data),
        (f"marked{suffix}", marked),
        (f"v1.2{suffix}.gz", gzip.compress(marked)),
        (f"LOUD{suffix.upper()}", data),
    ]:
        (tmp_path / name).write_bytes(content)
        assert read(tmp_path / name) == ROWS, name
    limited = DataSource(path=str(tmp_path / f"plain{suffix}"), limit=1)
    assert [row for _, row in read_rows(limited)] == ROWS[:1]


def test_a_row_is_named_by_the_line_it_begins_in(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('q,a\n"one\ntwo",1\n\nthree,3\n')
    places = [where for where, _ in read_rows(DataSource(path=str(file)))]
    assert places == [f"{file} line 2", f"{file} line 5"]


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("a.jsonl", b' [{"q": 1}]', ["holds a JSON array", "end its name in .json"]),
        ("a.jsonl", BOM + b"[\n", ["holds a JSON array"]),
        ("a.json", b'{"q": 1}\n{"q": 2}', ["not an array", "end its name in .jsonl"]),
        ("a.json", b"null", ["expected an array of JSON objects, not None"]),
        ("a.json", b"[1, 2]", ["row 1: expected a JSON object"]),
        ("a.json", b'[{"q": 1},', ["not valid JSON"]),
        ("a.csv", b'{"q": 1}', ["holds JSON", ".jsonl or .json"]),
        ("a.csv", b"q\ta\n1\t2\n", ["parted by tabs; end its name in .tsv"]),
        ("a.tsv", b"q,a\n1,2\n", ["parted by commas; end its name in .csv"]),
        ("a.csv", b"q,a,q\n1,2,3\n", ["line 1: two columns are named `q`"]),
        ("a.csv", b"q,a\n1,2\n1,2,3\n", ["line 3: has 3 cells, and the first line 2"]),
        ("a.csv", b'q,a\n1,"2" x\n', ["line 2: not a row of a table"]),
        ("a.jsonl", b"PK\x03\x04rest", ["a zip archive", "unpack it"]),
        ("a.parquet", b"PK\x03\x04rest", ["a zip archive", "unpack it"]),
        ("a.csv.gz", b"q,a\n1,2\n", ["is not gzipped; take .gz from its name"]),
        ("a.csv", gzip.compress(b"q,a\n1,2\n", mtime=0), ["is gzipped; end its name in .gz"]),
        ("a.csv.gz", gzip.compress(b"q,a\n" * 999, mtime=0)[:-9], ["cannot be read"]),
        ("a.csv.gz", b"\x1f\x8b\x08\x00garbage", ["cannot be read"]),
        ("a.jsonl", b"PAR1rest", ["is Parquet; end its name in .parquet"]),
        ("a.parquet", b'{"q": 1}', ["is no Parquet"]),
        ("a.jsonl", '{"q": 1}'.encode("utf-16"), ["UTF-16; save it as UTF-8"]),
        ("a.txt", b'{"q": 1}', ["end it in .jsonl, .json, .csv, .tsv, .parquet"]),
        ("a.gz", gzip.compress(b'{"q": 1}', mtime=0), ["the format is told by the name"]),
        ("a.parquet", b"PAR1" + b"\0" * 99, ["cannot be read"]),
    ],
)
def test_a_file_of_another_format_is_named_with_the_remedy(
    tmp_path: Path, name: str, content: bytes, parts: list[str]
) -> None:
    if content.startswith(b"PAR1") and name == "a.parquet":
        pytest.importorskip("pyarrow", reason="the extra `hub` is not installed")
    (tmp_path / name).write_bytes(content)
    message = refusal(tmp_path / name)
    for part in parts:
        assert part in message


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".tsv"])
def test_an_empty_file_holds_no_rows(tmp_path: Path, suffix: str) -> None:
    for content in (b"", b"\n", BOM):
        (tmp_path / f"a{suffix}").write_bytes(content)
        assert read(tmp_path / f"a{suffix}") == []


def test_parquet_without_its_extra_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'llamao1-cli[hub]'" in refusal(tmp_path / "a.parquet")


texts = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=12)


@given(st.lists(st.fixed_dictionaries({"q": texts, "a": texts}), min_size=1, max_size=4))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]]
) -> None:
    for suffix in (".jsonl", ".json", ".csv", ".tsv"):
        path = tmp_path_factory.getbasetemp() / f"rows{suffix}.gz"
        path.write_bytes(gzip.compress(WRITERS[suffix](rows)))
        assert read(path) == rows
