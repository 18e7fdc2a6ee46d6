"""Metrics: metrics.jsonl always, TensorBoard and W&B when asked."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from llamao1_cli.errors import RunFailedError, UserError

Metrics = Mapping[str, Any]


class Sink(Protocol):
    """A place that metrics go to beside metrics.jsonl."""

    def log(self, metrics: Metrics, step: int) -> None:
        """Take the metrics of a step."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


class Tracker:
    """Appends metrics to metrics.jsonl, one object a step, and passes their numbers on."""

    def __init__(self, path: Path, sinks: Sequence[Sink]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._sinks = path, sinks
        self._file = path.open("ab", buffering=0)  # a buffer would try again on a full disk

    def log(self, stage: str, step: int, metrics: Metrics) -> None:
        """Note the metrics of a step of a stage (warmup, self-play or imitation).

        Raises RunFailedError if they cannot be written.
        """
        line = json.dumps({"stage": stage, "step": step, **metrics}).encode() + b"\n"
        try:
            complete = self._file.write(line) == len(line)
        except OSError:
            complete = False
        if not complete:
            raise RunFailedError(
                f"{self._path}: cannot be written; make room, then --resume goes on from the last "
                "checkpoint"
            )
        numbers = {f"{stage}/{k}": v for k, v in metrics.items() if isinstance(v, int | float)}
        for sink in self._sinks:
            sink.log(numbers, step)

    @property
    def size(self) -> int:
        """Bytes written so far; a checkpoint remembers them."""
        return self._file.tell()

    def cut(self, size: int) -> None:
        """Forget what came after a checkpoint, which had seen `size` bytes, and a line that is not
        whole: the resumed run writes it again."""
        whole = self._path.read_bytes()[:size].rfind(b"\n") + 1
        self._file.truncate(whole)
        self._file.seek(whole)

    def close(self) -> None:
        """Close the file and the trackers."""
        self._file.close()
        for sink in self._sinks:
            sink.close()


def make_sinks(names: Sequence[str], folder: Path, config: Mapping[str, Any]) -> list[Sink]:
    """Returns the trackers by name; UserError names the extra of one that is not installed."""
    sinks: list[Sink] = []
    for name in names:
        try:
            sinks.append(_TensorBoard(folder) if name == "tensorboard" else _Wandb(folder, config))
        except ImportError:
            raise UserError(
                f"run.trackers: {name} needs the extra: pip install 'llamao1-cli[{name}]'"
            ) from None
    return sinks


class _TensorBoard:
    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def log(self, metrics: Metrics, step: int) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        import wandb

        self._run = wandb.init(dir=str(folder), name=folder.name, config=dict(config))

    def log(self, metrics: Metrics, step: int) -> None:
        self._run.log(dict(metrics))

    def close(self) -> None:
        self._run.finish()
