"""Metrics: metrics.jsonl always, TensorBoard and W&B when asked."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
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
    """Appends metrics to metrics.jsonl, one object a step, and passes their numbers on.

    A tracker that fails is left alone from then on, and `warn` is told of it: no run ends for it.
    """

    def __init__(self, path: Path, sinks: Mapping[str, Sink], warn: Callable[[str], None]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._sinks, self._warn = path, dict(sinks), warn
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
        self._on_each(lambda sink: sink.log(numbers, step))

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
        self._on_each(lambda sink: sink.close())

    def _on_each(self, call: Callable[[Sink], None]) -> None:
        for name, sink in list(self._sinks.items()):
            try:
                call(sink)
            except Exception as error:  # of a service and its client: anything can be raised
                del self._sinks[name]
                self._warn(
                    f"run.trackers: {name} failed, and is told no more: {_one_line(error)}; "
                    f"{self._path.name} has everything"
                )


def make_sinks(names: Sequence[str], folder: Path, config: Mapping[str, Any]) -> dict[str, Sink]:
    """Returns the trackers by name. UserError names the extra of one that is not installed, and
    says why one cannot start."""
    sinks: dict[str, Sink] = {}
    for name in names:
        try:
            sinks[name] = _TensorBoard(folder) if name == "tensorboard" else _Wandb(folder, config)
        except ImportError:
            raise UserError(
                f"run.trackers: {name} needs the extra: pip install 'llamao1-cli[{name}]'"
            ) from None
        except Exception as error:  # as above
            raise UserError(
                f"run.trackers: {name} cannot start: {_one_line(error)}; mend it, or leave "
                f"{name} out of run.trackers"
            ) from None
    return sinks


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


class _TensorBoard:
    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # It opens a file at once, which must wait for the folder to be cleared.
        self._make = partial(SummaryWriter, str(folder / "tensorboard"))
        self._writer: Any = None

    def log(self, metrics: Metrics, step: int) -> None:
        self._writer = self._writer or self._make()
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        if self._writer:
            self._writer.close()


class _Wandb:
    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        import wandb

        self._run = wandb.init(dir=str(folder), name=folder.name, config=dict(config))

    def log(self, metrics: Metrics, step: int) -> None:
        self._run.log(dict(metrics))

    def close(self) -> None:
        self._run.finish()
