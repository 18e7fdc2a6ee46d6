"""YAML as configurations are written in it: plain values, decimal numbers, no key twice."""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from llamao1_cli.errors import UserError

_MERGE = "tag:yaml.org,2002:merge"
# YAML 1.1 reads 1:30 as 90 and 010 as 8, and nobody who writes them means that.
_NOT_DECIMAL = re.compile(r".*:.*|[-+]?0[0-9_]+")


class DuplicateKeyError(yaml.YAMLError):
    """A key that stands twice in one section; the message names both lines."""


class _Loader(yaml.SafeLoader):
    """Plain values."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Returns a section with the keys as they were written, before others are merged in."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[Hashable, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            if key.value in lines:
                raise DuplicateKeyError(
                    f"`{key.value:.80}` stands in line {lines[key.value]} and in line {line}; keep "
                    "one of them"
                )
            lines[key.value] = line
        return node


def _whole_number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int | str:
    """Returns a whole number, or the text of one that is not decimal at first sight."""
    if len(node.value) > 100:  # a hexadecimal one may be longer than Python is willing to write
        raise yaml.constructor.ConstructorError(
            problem="a number of more than 100 digits", problem_mark=node.start_mark
        )
    if _NOT_DECIMAL.fullmatch(node.value):
        return str(node.value)
    return int(loader.construct_yaml_int(node))


def _number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float | str:
    """Returns a number, or the text of one that is not decimal at first sight."""
    if ":" in node.value:
        return str(node.value)
    return float(loader.construct_yaml_float(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)


def parse_yaml(text: str) -> Any:
    """Returns the value that a text is in YAML.

    Raises yaml.YAMLError, ValueError (a date such as 2024-13-45) or RecursionError for what is
    none.
    """
    return yaml.load(text, _Loader)


def read_yaml(path: Path) -> dict[str, Any]:
    """Returns the settings in a YAML file; raises UserError, naming the file, if it holds none."""
    try:
        settings = parse_yaml(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such configuration file; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    except RecursionError:
        raise UserError(f"{path}: nested too deeply to be a configuration") from None
    except DuplicateKeyError as error:
        raise UserError(f"{path}: {error}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if settings is None:
        raise UserError(f"{path}: is empty; write sections such as `run:` and `model:` into it")
    if not isinstance(settings, dict):
        raise UserError(f"{path}: expected sections such as `run:` and `model:` at the top level")
    return settings
