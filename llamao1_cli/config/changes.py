"""In what two configurations differ, and which keys of a run may."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.config import JsonDict

from llamao1_cli.config.file import models_in
from llamao1_cli.config.run import Config


def changed_keys(before: Config, now: Config, *allowed: JsonDict) -> list[str]:
    """Returns the dotted keys in which two configurations differ, in order.

    Keys whose metadata is among `allowed`, such as `ON_RESUME`, are left out.
    """
    old, new = (flat_settings(each.model_dump(mode="json")) for each in (before, now))
    free = {key for key, mark in _marks(Config) if mark in allowed}
    return sorted(
        key
        for key in old.keys() | new.keys()
        if old.get(key) != new.get(key) and not any(_below(key, each) for each in free)
    )


def flat_settings(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Returns nested settings by dotted key, in order."""
    if not isinstance(settings, dict):
        return {prefix: settings}
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= flat_settings(value, f"{prefix}.{key}".lstrip("."))
    return flat


def _marks(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the dotted key and the metadata of every field, sections before what is in them."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}", field.json_schema_extra
        for section in models_in(field.annotation):
            yield from _marks(section, f"{prefix}{name}.")


def _below(key: str, section: str) -> bool:
    """Returns whether a key is `section` or in it."""
    return key == section or key.startswith(f"{section}.")
