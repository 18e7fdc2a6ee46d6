"""A run folder as data: its configuration, metrics and evaluations, and where its trees are."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llamao1_cli.config import Config
from llamao1_cli.config.file import load_config
from llamao1_cli.errors import UserError
from llamao1_cli.files.run_folder import RunFolder, run_folder
from llamao1_cli.report.kept import Kept, MetricsFile, MetricsRow, stamp

Model = TypeVar("Model", bound=BaseModel)


class _Read(BaseModel):
    """What the report reads of a JSON file; other keys are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class Figures(_Read):
    """A strategy: its accuracy on `n` problems, with a 95% interval and what it cost."""

    accuracy: float
    ci95: tuple[float, float]
    n: int
    generated_tokens: float = 0.0
    seconds: float = 0.0


class Bin(_Read):
    """A bin of a reliability diagram: mean value of its `n` steps, and the share that is right."""

    n: int
    value: float
    right: float


class Quality(_Read):
    """How well values predict outcomes; `bins` and `ece` (calibration error) of steps only."""

    auc: float | None = None
    auc_within: float | None = None
    brier: float | None = None
    brier_constant: float | None = None
    n: int = 0
    ece: float | None = None
    bins: tuple[Bin, ...] = ()


class Evaluation(_Read):
    """Strategies on held-out problems, and how good the values were."""

    task: str
    n: int
    model: str
    strategies: dict[str, Figures] = Field(min_length=1)
    value: Quality | None = None
    rating: Quality | None = None
    steps: dict[str, Quality] | None = None


class Difference(_Read):
    """How much more often a strategy is right than majority vote, with a 95% interval."""

    difference: float
    ci95: tuple[float, float]


class BudgetRow(_Read):
    """Strategies that may spend so many tokens a problem."""

    tokens: int = Field(ge=1)
    strategies: dict[str, Figures] = Field(min_length=1)
    differences: dict[str, Difference] = {}


class BudgetEvaluation(_Read):
    """Strategies at equal cost, for one or more budgets."""

    n: int
    budgets: list[BudgetRow]

    def rows(self) -> list[BudgetRow]:
        """Returns the budgets, the smallest first."""
        return sorted(self.budgets, key=lambda row: row.tokens)


@dataclass(frozen=True)
class Run:
    """What a run folder holds; an interrupted run may lack any of it but the configuration."""

    name: str
    folder: RunFolder
    config: Config
    metrics: dict[str, list[MetricsRow]]  # by stage, in order of the steps
    evaluations: dict[int, Evaluation]  # by iteration, in order
    extra: dict[Path, Evaluation]  # made by `llamao1 eval --json` inside the folder
    budgets: dict[Path, BudgetEvaluation]
    trees: dict[int, Path]  # by iteration, in order
    kept: Kept  # what was read of the files of its trees


class RunReader:
    """Reads one run folder again and again, and of its files only what is new."""

    def __init__(self, path: Path, name: str) -> None:
        self._folder, self._name = RunFolder(path), name
        self._metrics, self._kept = MetricsFile(self._folder.metrics), Kept()
        self._configured = stamp(self._folder.config)

    def read(self) -> Run:
        """Returns the run as it stands. Raises UserError, naming file and line, for a folder that
        is none or a file that is broken."""
        folder = run_folder(self._folder.path)
        if (configured := stamp(folder.config)) != self._configured:
            # Trees are shown as the configuration says.
            self._configured, self._kept = configured, Kept()
        self._kept.begin()
        found = {path: self._kept(read_json, path) for path in _results(folder)}
        return Run(
            self._name,
            folder,
            self._kept(load_config, folder.config),
            self._metrics.read(),
            {
                number: _checked(Evaluation, self._kept(read_json, path), path)
                for number, path in folder.evaluations().items()
            },
            {
                path: _checked(Evaluation, data, path)
                for path, data in found.items()
                if isinstance(data, dict) and "strategies" in data
            },
            {
                path: _checked(BudgetEvaluation, data, path)
                for path, data in found.items()
                if isinstance(data, dict) and "budgets" in data
            },
            folder.tree_files(),
            self._kept,
        )


def read_run(path: Path, name: str) -> Run:
    """Returns the run in a folder; raises as `RunReader.read` does."""
    return RunReader(path, name).read()


def read_json(path: Path) -> Any:
    """Returns the JSON value in a file; UserError if it holds none."""
    try:
        return json.loads(_text(path))
    except (ValueError, RecursionError):
        raise UserError(f"{path}: not valid JSON; restore or delete the file") from None


def _results(folder: RunFolder) -> Iterator[Path]:
    """Yields JSON files that `llamao1 eval --json` may have written, in order of their names."""
    own = set(folder.evaluations().values())
    for parent in (folder.path, folder.path / "eval"):
        yield from sorted(file for file in parent.glob("*.json") if file not in own)


def _checked(model: type[Model], data: object, path: Path) -> Model:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(
            f"{path}: {key}: {first['msg']}; write it again with llamao1 eval"
        ) from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
