"""Crash-safe checkpoints.

A checkpoint is written beside its place and renamed into it, so that a folder under its final name
is complete; its manifest tells later whether it still is. Tensors are safetensors and the rest
JSON: nothing is ever unpickled.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NotRequired

import numpy as np
import torch
from accelerate import Accelerator
from pydantic import NonNegativeInt, PositiveInt, TypeAdapter
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel
from typing_extensions import TypedDict

from llamao1_cli.distributed.optimizer_state import (
    optimizer_tensors,
    restore_optimizer_tensors,
)
from llamao1_cli.distributed.sharding import gathered, is_sharded, sharded_like
from llamao1_cli.errors import RunFailedError, UserError
from llamao1_cli.files.manifest import write_manifest
from llamao1_cli.files.reading import reading
from llamao1_cli.files.run_folder import complete_checkpoints
from llamao1_cli.learn.experience import Experience
from llamao1_cli.learn.experience_arrays import from_arrays, to_arrays
from llamao1_cli.learn.replay import Replay
from llamao1_cli.model.load import LanguageModel, save_model


class PlayState(TypedDict, total=False):
    """The self-play under way, as `SelfPlay.state` returns it."""

    next: NonNegativeInt | None  # iteration whose problems are handed out next
    outstanding: list[tuple[NonNegativeInt, NonNegativeInt]]  # iteration and index of a problem


class ProblemState(TypedDict, total=False):
    """Which problems the next iteration has, as `TreeSource.state` returns it."""

    drawn: NonNegativeInt  # by all iterations before
    level: PositiveInt
    restarts: list[Any]  # paths to begin along, as `Restarts.state` returns them


FORMAT = 2  # of checkpoints; format 1 named the arrays of the replay otherwise


class State(TypedDict):
    """The plain part of a checkpoint."""

    format: int
    stage: Literal["warmup", "self-play"]
    iteration: NonNegativeInt
    warmup_steps: NonNegativeInt
    spent: tuple[float, float]  # seconds and tokens
    spent_before: NotRequired[tuple[float, float]]  # the last iteration; older checkpoints lack it
    metrics_bytes: NonNegativeInt
    self_play: PlayState
    problems: NotRequired[ProblemState]  # older checkpoints lack it
    data: NotRequired[dict[str, str]]  # digests of the data files; older checkpoints lack it


_STATE = TypeAdapter(State)
Tensors = dict[str, torch.Tensor]


@contextmanager
def new_checkpoint(folder: Path, name: str, keep: int) -> Iterator[Path]:
    """Inside, write a checkpoint into the folder; complete, it takes its name, and old ones go.

    Raises RunFailedError if it cannot be written; the checkpoints that are there stay.
    """
    beside, final = folder / f".{name}.part", folder / name
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        yield beside
        write_manifest(beside)
        _sync(beside)
        if final.exists():
            shutil.rmtree(final)
        beside.rename(final)
        _sync_folder(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise RunFailedError(
            f"{final}: the checkpoint cannot be written: {error}; make room, then --resume goes on "
            "from the last one"
        ) from None
    for old in complete_checkpoints(folder)[:-keep]:
        shutil.rmtree(old)


@contextmanager
def shared_checkpoint(
    folder: Path, name: str, keep: int, accelerator: Accelerator
) -> Iterator[Path]:
    """Inside, all ranks write into one `new_checkpoint`; they see one file system.

    The main process makes it before the others come in, and completes it once all have left.
    """
    opened = (
        new_checkpoint(folder, name, keep)
        if accelerator.is_main_process
        else nullcontext(folder / f".{name}.part")
    )
    with opened as path:
        accelerator.wait_for_everyone()
        yield path
        accelerator.wait_for_everyone()


@dataclass(frozen=True)
class WholeTensors:
    """What trains, with its optimizer: on the main process whole, on the others nothing."""

    weights: Tensors | None  # the model's where they are sharded, else it has them itself
    optimizer: Tensors
    reference: Tensors  # weights of the reference policy; none where there is no such policy


def whole_tensors(
    model: PreTrainedModel,
    optimizer: torch.optim.Optimizer,
    reference: Mapping[str, torch.Tensor] | None,
    accelerator: Accelerator,
) -> WholeTensors:
    """Returns what trains, gathered from all ranks, each of which must call this."""
    return WholeTensors(
        gathered(model.state_dict(keep_vars=True), accelerator) if is_sharded(model) else None,
        gathered(optimizer_tensors(optimizer), accelerator),
        gathered(reference or {}, accelerator),
    )


def save_whole(folder: Path, language_model: LanguageModel, whole: WholeTensors) -> None:
    """Write the model, the optimizer, and the reference policy if there is one."""
    save_model(language_model, folder / "model", whole.weights)
    save_optimizer(folder, whole.optimizer)
    if whole.reference:
        save_weights(folder, whole.reference)


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write the plain part of a checkpoint."""
    plain = {"format": FORMAT} | dict(state)
    (folder / "state.json").write_text(json.dumps(plain, indent=1), encoding="utf-8")


def load_state(folder: Path) -> dict[str, Any]:
    """Returns the plain part of a checkpoint. Raises UserError if it is none, or of another
    format."""
    with reading(folder / "state.json") as path:
        plain = json.loads(path.read_bytes())
        written = plain.get("format", 1) if isinstance(plain, dict) else FORMAT
        if written != FORMAT:
            raise UserError(
                f"{folder}: a checkpoint of format {written}, and this version of llamao1 resumes "
                f"{FORMAT}; finish the run with the version that began it, or start another"
            )
        return dict(_STATE.validate_python(plain))


def save_optimizer(folder: Path, state: Mapping[str, torch.Tensor]) -> None:
    """Write the optimizer's whole tensors, and torch's random state."""
    random = {"torch_rng": torch.get_rng_state()}
    save_file(dict(state) | random, folder / "optimizer.safetensors")


def load_optimizer(folder: Path, optimizer: torch.optim.Optimizer) -> None:
    """Put the optimizer's tensors and torch's random state back; rates and decays stay as
    configured."""
    with reading(folder / "optimizer.safetensors") as path:
        tensors = load_file(path)
        torch.set_rng_state(tensors.pop("torch_rng"))
        restore_optimizer_tensors(optimizer, tensors)


def save_weights(folder: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Write the reference policy's trainable weights."""
    save_file(dict(weights), folder / "reference.safetensors")


def load_weights(folder: Path, like: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns the reference policy's trainable weights, sharded as those of `like`.

    Raises UserError if they are of another model.
    """
    with reading(folder / "reference.safetensors") as path:
        weights = load_file(path)
        if {n: w.shape for n, w in weights.items()} != {n: w.shape for n, w in like.items()}:
            raise ValueError("the weights are of another model")
    return {name: sharded_like(weight, like[name]) for name, weight in weights.items()}


def save_replay(folder: Path, replay: Replay[Experience], rank: int = 0) -> None:
    """Write the experiences of a rank's shard, with serial numbers, priorities and iterations."""
    serials = list(replay.items)
    arrays = to_arrays(list(replay.items.values())) | {
        "serials": np.array(serials, np.int64),
        "priorities": np.array([replay.priorities[s] for s in serials], np.float64),
        "entered": np.array([replay.iterations[s] for s in serials], np.int64),
    }
    save_arrays(arrays, folder / f"replay-{rank}.safetensors")


def load_replay(folder: Path, replay: Replay[Experience]) -> None:
    """Fill an empty replay from the shards of a checkpoint, of however many ranks.

    It takes the priorities of all experiences, and the experiences of its own shard. Raises
    UserError for a file that holds something else.
    """
    rows: list[tuple[int, Experience | None, float, int]] = []
    for file in sorted(folder.glob("replay-*.safetensors")):
        with reading(file) as path:
            arrays = load_arrays(path)
            columns = [arrays[name].tolist() for name in ("serials", "priorities", "entered")]
            for item, serial, priority, entered in zip(from_arrays(arrays), *columns, strict=True):
                rows.append((serial, item if replay.holds(serial) else None, priority, entered))
    for row in sorted(rows, key=lambda row: row[0]):  # draws go by the order
        replay.put(*row)


def _sync(folder: Path) -> None:
    """Wait until all that was written has reached the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
