"""The rows of a data source: a file of one of five formats, also gzipped, or the hub."""

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import Any

from llamao1_cli.config import DataSource
from llamao1_cli.errors import UserError
from llamao1_cli.tasks.fields import Row

Rows = Iterator[tuple[str, Row]]
Data = BufferedReader | gzip.GzipFile

_HEAD = 4096  # bytes that tell what a file is
_GZIP = b"\x1f\x8b"
# What a file is, by its first bytes, and what to do about it.
_FOREIGN = {
    b"PK\x03\x04": "a zip archive or a spreadsheet; unpack it, or save the sheet as CSV",
    b"BZh": "compressed by bzip2; unpack it",
    b"\xfd7zXZ": "compressed by xz; unpack it",
    b"\x28\xb5\x2f\xfd": "compressed by zstd; unpack it",
    b"\xff\xfe": "text in UTF-16; save it as UTF-8",
    b"\xfe\xff": "text in UTF-16; save it as UTF-8",
    _GZIP: "gzipped; end its name in .gz",
}
_PARQUET = b"PAR1"


def read_rows(source: DataSource) -> Rows:
    """Yields each row of a source and where it stands, such as `train.jsonl line 17`.

    Raises UserError for a file that is missing, is of another format than its name says, or holds
    something that is no row.
    """
    rows = _hub_rows(source) if source.path is None else _file_rows(Path(source.path))
    for count, row in enumerate(rows, start=1):
        yield row
        if count == source.limit:
            return


def _file_rows(path: Path) -> Rows:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    zipped = suffixes[-1:] == [".gz"]
    kind = "".join(suffixes[:-1][-1:] if zipped else suffixes[-1:])
    try:
        with path.open("rb") as file:
            if kind not in _READERS:
                raise UserError(
                    f"{path}: the format is told by the name: end it in {', '.join(_READERS)}, or "
                    "one of these and .gz"
                )
            if zipped and file.read(2) != _GZIP:
                raise UserError(f"{path}: is not gzipped; take .gz from its name")
            file.seek(0)
            data: Data = gzip.GzipFile(fileobj=file) if zipped else file
            _check_format(path, kind, data.read(_HEAD))
            data.seek(0)
            yield from _READERS[kind](path, data)
    except FileNotFoundError:
        raise UserError(f"{path}: no such data file; check the path in the configuration") from None
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None


def _check_format(path: Path, kind: str, head: bytes) -> None:
    """Raise UserError for a file that begins as no file of this kind does."""
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise UserError(f"{path}: is {what}")
    if head.startswith(_PARQUET) != (kind == ".parquet"):
        raise UserError(
            f"{path}: is no Parquet; end its name in what it is ({', '.join(_READERS)})"
            if kind == ".parquet"
            else f"{path}: is Parquet; end its name in .parquet"
        )
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if kind == ".jsonl" and first == b"[":
        raise UserError(f"{path}: holds a JSON array, not an object a line; end its name in .json")
    if kind == ".json" and first == b"{":
        raise UserError(
            f"{path}: holds JSON objects, not an array of them; if each has a line of its own, end "
            "its name in .jsonl"
        )
    if kind in (".csv", ".tsv") and first in (b"[", b"{"):
        raise UserError(f"{path}: holds JSON; end its name in .jsonl or .json")


def _text(data: Data, newline: str | None = None) -> TextIOWrapper:
    return TextIOWrapper(data, encoding="utf-8-sig", newline=newline)


def _json_lines(path: Path, data: Data) -> Rows:
    for number, line in enumerate(_text(data), start=1):
        if line.strip():
            where = f"{path} line {number}"
            yield where, _object(_json(line, where), where)


def _json_array(path: Path, data: Data) -> Rows:
    text = _text(data).read()
    rows = _json(text, str(path)) if text.strip() else []
    if not isinstance(rows, list):
        raise UserError(f"{path}: expected an array of JSON objects, not {rows!r:.60}")
    for number, row in enumerate(rows, start=1):
        where = f"{path} row {number}"
        yield where, _object(row, where)


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not valid JSON: {error}") from None


def _object(row: Any, where: str) -> Row:
    if not isinstance(row, dict):
        raise UserError(f"{where}: expected a JSON object with named fields")
    return row


def _table(path: Path, data: Data, mark: str, other: str) -> Rows:
    """Yields the rows of a table whose cells `mark` parts; the first row has their names."""
    cells = csv.reader(_text(data, newline=""), delimiter=mark, strict=True)
    begin, names = 1, list[str]()
    try:
        for row in cells:
            where, begin = f"{path} line {begin}", cells.line_num + 1
            if not row:
                continue
            if names and len(row) != len(names):
                raise UserError(f"{where}: has {len(row)} cells, and the first line {len(names)}")
            if names:
                yield where, dict(zip(names, row, strict=True))
            else:
                names = row
                _check_names(path, names, other)
    except csv.Error as error:
        raise UserError(f"{path} line {begin}: not a row of a table: {error}") from None


def _check_names(path: Path, names: list[str], other: str) -> None:
    if len(names) == 1 and other in names[0]:
        kinds = {"\t": "tabs; end its name in .tsv", ",": "commas; end its name in .csv"}
        raise UserError(f"{path}: its cells are parted by {kinds[other]}")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"{path} line 1: two columns are named `{twice}`; rename one")


def _csv(path: Path, data: Data) -> Rows:
    return _table(path, data, ",", "\t")


def _tsv(path: Path, data: Data) -> Rows:
    return _table(path, data, "\t", ",")


def _parquet(path: Path, data: Data) -> Rows:
    try:
        from pyarrow import BufferReader
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise UserError(
            f"{path}: reading Parquet needs the extra: pip install 'llamao1-cli[hub]'"
        ) from None
    try:
        batches = ParquetFile(BufferReader(data.read())).iter_batches()
        rows = (row for batch in batches for row in batch.to_pylist())
        for number, row in enumerate(rows, start=1):
            yield f"{path} row {number}", row
    except Exception as error:  # the library raises errors of many classes
        raise UserError(f"{path}: cannot be read: {_one_line(error)}") from None


_READERS: dict[str, Callable[[Path, Data], Rows]] = {
    ".jsonl": _json_lines,
    ".json": _json_array,
    ".csv": _csv,
    ".tsv": _tsv,
    ".parquet": _parquet,
}


def _hub_rows(source: DataSource) -> Rows:
    try:
        import datasets
    except ImportError:
        raise UserError(
            f"{source.hub}: reading the hub needs the extra: pip install 'llamao1-cli[hub]'"
        ) from None
    try:
        rows = datasets.load_dataset(source.hub, source.name, split=source.split)
    except Exception as error:  # the hub's client raises errors of many classes
        raise UserError(f"{source.hub}: cannot be loaded: {_one_line(error)}") from None
    for number, row in enumerate(rows, start=1):
        yield f"{source.hub} row {number}", dict(row)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
