"""The manifest of a checkpoint: the size and SHA-256 of each of its files, written last.

Files that were cut short or changed since are found before any of them is read.
"""

import hashlib
import json
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

MANIFEST_FILE = "manifest.json"
_FILES = TypeAdapter(dict[str, tuple[int, str]])  # size in bytes and SHA-256, by relative path


def write_manifest(folder: Path) -> None:
    """Write the size and digest of every file in `folder`; call it when all others are there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    entries = {
        path.relative_to(folder).as_posix(): (path.stat().st_size, digest(path)) for path in files
    }
    (folder / MANIFEST_FILE).write_text(json.dumps(entries, indent=1), encoding="utf-8")


def damage(folder: Path, part: str = "") -> str | None:
    """Returns what is wrong with the files of a folder whose names start with `part`, compared with
    its manifest; None if they are as they were written."""
    try:
        files = _FILES.validate_json((folder / MANIFEST_FILE).read_bytes())
    except OSError:
        return f"{MANIFEST_FILE} is missing"
    except ValidationError:
        return f"{MANIFEST_FILE} is broken"
    for name, (size, written) in files.items():
        path = folder / name
        if not name.startswith(part):
            continue
        try:
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != size:
                return f"{name} has {path.stat().st_size} bytes, and was written with {size}"
            if digest(path) != written:
                return f"{name} differs from its checksum"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
    return None


def digest(path: Path) -> str:
    """Returns the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
