"""Configuration files: YAML and overrides in, a validated `Config` out, and the reference page."""

import difflib
import reprlib
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from llamao1_cli.config import Config
from llamao1_cli.config.answers import FOUND, NAMED
from llamao1_cli.config.yaml_values import DuplicateKeyError, parse_yaml, read_yaml
from llamao1_cli.errors import UserError

KINDS = ("task", "value_head")  # sections of several kinds, with keys of their own


def load_config(path: Path, overrides: list[str] | None = None) -> Config:
    """Returns the configuration in a YAML file with `section.key=value` overrides laid over it.

    Raises UserError naming the file, the key, the value and the remedy.
    """
    return build_config(read_yaml(path), str(path), overrides)


def build_config(
    settings: dict[str, Any], source: str, overrides: list[str] | None = None
) -> Config:
    """Returns a validated configuration from plain settings with overrides laid over them; `source`
    names the settings in errors (UserError)."""
    for override in overrides or []:
        _apply_override(settings, override)
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        lines = [_explain(detail) for detail in error.errors()]
        raise UserError(f"{source}: " + "; ".join(lines)) from None


def dump_config(config: Config) -> str:
    """Returns the resolved configuration as YAML; `load_config` reads it back unchanged."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _apply_override(settings: dict[str, Any], override: str) -> None:
    dotted, equals, raw = override.partition("=")
    if not equals or not dotted:
        raise UserError(f"--set {override}: expected section.key=value, such as run.seed=1")
    try:
        value = parse_yaml(raw)
    except DuplicateKeyError as error:
        raise UserError(f"--set {override:.200}: {error}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise UserError(
            f"--set {override:.200}: {raw!r:.200} is not a YAML value; quote it"
        ) from None
    *sections, key = dotted.split(".")
    holder = settings
    for section in sections:
        inner = holder.get(section)
        # A copy: with YAML's aliases two keys may share one section.
        holder[section] = dict(inner) if isinstance(inner, dict) else {}
        holder = holder[section]
    holder[key] = value


def _explain(detail: ErrorDetails) -> str:
    """Returns one validation error as: key, what is wrong with the value, remedy."""
    location = full = tuple(part for part in detail["loc"] if part not in (NAMED, FOUND))
    if len(location) > 2 and location[0] in KINDS:
        location = (location[0], *location[2:])  # the second part is the kind
    key = ".".join(str(part) for part in location)
    if detail["type"] == "extra_forbidden":
        return f"unknown key `{key}`{_nearest(full)}"
    if detail["type"] == "missing":
        return f"`{key}` is missing; add it"
    if detail["type"] == "union_tag_not_found":
        return f"`{key}.kind` is missing; add one, such as `kind: arithmetic` or `kind: data`"
    message = detail["msg"].removeprefix("Value error, ")
    value = detail["input"]
    shown = "" if isinstance(value, BaseModel | dict) else f" is {_shown(value):.80}"
    return f"`{key or 'configuration'}`{shown}: {message[0].lower()}{message[1:]}"


def _shown(value: object) -> str:
    """Returns a value as text; with YAML's aliases a short file makes a list that would take
    forever to write out whole."""
    return repr(value) if isinstance(value, str | int) else reprlib.repr(value)


def _nearest(location: tuple[int | str, ...]) -> str:
    """Returns the known key nearest to a misspelled one, as the end of a sentence."""
    *sections, wrong = location
    model: type[BaseModel] | None = Config
    for part in sections:
        model = _inner_model(model, str(part)) if model else None
    names = list(model.model_fields) if model else []
    close = difflib.get_close_matches(str(wrong), names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean `{close[0]}`?"
    return f"; known keys: {', '.join(names)}" if names else ""


def _inner_model(model: type[BaseModel], part: str) -> type[BaseModel] | None:
    """Returns the section behind `part`: a field of `model`, or the variant of a union by its
    `kind`."""
    if part in model.model_fields:
        models = models_in(model.model_fields[part].annotation)
        return models[0] if models else None
    variants = [v for name in KINDS for v in models_in(Config.model_fields[name].annotation)]
    return next((v for v in variants if v.model_fields["kind"].default == part), None)


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Returns the sections that a type annotation names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]
