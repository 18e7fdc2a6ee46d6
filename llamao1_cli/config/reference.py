"""The reference page of all configuration keys."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from llamao1_cli.config import Config
from llamao1_cli.config.file import models_in
from llamao1_cli.config.registry import OneOf


def reference() -> str:
    """Returns the configuration reference as Markdown, made from the typed fields."""
    parts = [
        "# Configuration reference",
        "",
        "One YAML file a run. Every key, its default, and what it does.",
    ]
    parts += _section_reference("", Config)
    return "\n".join(parts) + "\n"


def _section_reference(prefix: str, model: type[BaseModel]) -> list[str]:
    lines: list[str] = []
    if prefix:
        lines += ["", f"## `{prefix}`", "", (model.__doc__ or "").strip(), ""]
        lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        lines += [_field_row(name, field) for name, field in model.model_fields.items()]
    for name, field in model.model_fields.items():
        for inner in models_in(field.annotation):
            label = f"{prefix}.{name}".lstrip(".")
            kind = inner.model_fields.get("kind")
            lines += _section_reference(f"{label} (kind: {kind.default})" if kind else label, inner)
    return lines


def _field_row(name: str, field: FieldInfo) -> str:
    default = field.default
    if default is PydanticUndefined:
        shown = "required"
    elif isinstance(default, BaseModel):
        shown = "see below"
    else:
        style = '"' if isinstance(default, str) and "\n" in default else None
        written = yaml.safe_dump(_plain(default), default_flow_style=True, default_style=style)
        shown = f"`{written.split('...')[0].strip()}`"
    names = [name for each in field.metadata if isinstance(each, OneOf) for name in each.names]
    type_name = _choices(names) if names else _type_name(field.annotation)
    return f"| `{name}` | {type_name} | {shown} | {field.description} |"


def _choices(names: Iterable[object]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _plain(value: Any) -> Any:
    return (
        [str(item) if isinstance(item, str) else item for item in value]
        if isinstance(value, list | tuple)
        else value
    )


def _type_name(annotation: Any) -> str:
    """Returns a type as people read it: choices spelled out, `or` between alternatives."""
    arguments, origin = get_args(annotation), get_origin(annotation)
    if models_in(annotation):
        plain = [each for each in arguments if not models_in(each) and each is not type(None)]
        return " or ".join([*map(_type_name, plain), "section"])
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return _choices(annotation)
    if not arguments:
        return "null" if annotation is type(None) else annotation.__name__
    if origin is Literal:
        return _choices(arguments)
    if origin is Annotated:
        names = [n for each in arguments[1:] if isinstance(each, OneOf) for n in each.names]
        return _choices(names) if names else _type_name(arguments[0])
    if origin is list:
        return f"list of {_type_name(arguments[0])}"
    if origin is tuple:
        return f"{len(arguments)} x {_type_name(arguments[0])}"
    return " or ".join(_type_name(argument) for argument in arguments)
