"""The beginning of a run: its folder is checked, its parts put together, its files opened.

Nothing is written before all that can be refused has been, so a refused run leaves no trace.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from llamao1_cli.config import Config
from llamao1_cli.config.changes import changed_keys
from llamao1_cli.config.file import dump_config, load_config
from llamao1_cli.config.registry import ALGORITHMS
from llamao1_cli.config.section import ANY_TIME, ON_RESUME
from llamao1_cli.distributed.interrupts import Interrupts
from llamao1_cli.errors import UserError
from llamao1_cli.files.run_folder import RunFolder
from llamao1_cli.files.whole import write_whole
from llamao1_cli.language.protocol import SupervisedIds
from llamao1_cli.learn.warmup import marked_texts
from llamao1_cli.preview.commands import say_what_is_seen
from llamao1_cli.report.display import Display
from llamao1_cli.run import checkpoint
from llamao1_cli.run.assembly import Parts, assemble
from llamao1_cli.run.data_files import check_unchanged, data_digests
from llamao1_cli.run.tracking import Tracker, make_sinks
from llamao1_cli.run.trainer import RLSPTrainer


@contextmanager
def begun(
    config: Config, strategies: Sequence[str], *, resume: bool, overwrite: bool
) -> Iterator[tuple[RLSPTrainer, Display]]:
    """Inside, there is a trainer that will evaluate `strategies`, in a checked run folder."""
    folder = RunFolder(Path(config.run.dir))
    check_folder(folder, config, resume=resume, overwrite=overwrite)
    notes: list[str] = []
    point = folder.latest(notes.append) if resume and folder.checkpointed() else None
    interrupts = Interrupts()
    with interrupts.listening():
        parts = assemble(config, point / "model" if point else None, strategies, interrupts)
        texts = _warmup_texts(parts, point)
        main = parts.accelerator.is_main_process
        display = Display(quiet=not main)
        if resume and point is None:
            notes.append(f"{folder.path}: no checkpoint to resume from; starting at the beginning")
        for note in notes:
            display.say(note)
        say_what_is_seen(
            config,
            parts.task,
            parts.language,
            display,
            warming=bool(texts),
            plays=bool(strategies) and ALGORITHMS[config.learn.algorithm].plays,
            evaluates=bool(strategies),
        )
        data = data_digests(config, warming=bool(texts))
        trainer = RLSPTrainer(parts, folder, texts, data, display, interrupts)
        state = checkpoint.load_state(point) if point else None
        if point and state:
            check_unchanged(config, state.get("data", {}), data)
            trainer.resume(point, state)
        parts.accelerator.wait_for_everyone()
        tracker = _prepare_folder(folder, config, display, overwrite=overwrite) if main else None
        if tracker:
            trainer.tracker = tracker
            tracker.cut(state["metrics_bytes"] if state else 0)
        if tracker and point and state:
            folder.forget_evaluations(state["iteration"])
            folder.forget_checkpoints(point)
        parts.accelerator.wait_for_everyone()
        with parts.verifier, closing(parts.selfplay):
            yield trainer, display
        if tracker:
            tracker.close()


def check_folder(folder: RunFolder, config: Config, *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder in use, and a resumed run that would not be the same one (UserError)."""
    if resume and overwrite:
        raise UserError("give either --resume or --overwrite, not both")
    standing = next(
        path for path in (folder.path, *folder.path.absolute().parents) if path.exists()
    )
    if not standing.is_dir():
        raise UserError(f"run.dir: {folder.path}: {standing} is a file; name a folder")
    if not folder.occupied() or overwrite:
        return
    if not resume:
        raise UserError(
            f"run.dir: {folder.path} is occupied; add --resume to continue that run, --overwrite "
            "to delete it, or --set run.dir=... to use another folder"
        )
    if not folder.config.is_file():
        raise UserError(f"run.dir: {folder.path} is not a run folder (no config.yaml)")
    before = load_config(folder.config)
    if changed := changed_keys(before, config, ANY_TIME, ON_RESUME):
        raise UserError(
            f"--resume: the configuration differs from that of {folder.path} in "
            f"{', '.join(changed)}; use the old values, or start another run folder"
        )


def _warmup_texts(parts: Parts, point: Path | None) -> list[SupervisedIds]:
    """Returns the warm-up's texts; none where they are read no more."""
    config = parts.config
    over = point is not None and point.name.startswith("iteration")
    if config.warmup is None or (over and ALGORITHMS[config.learn.algorithm].plays):
        return []
    return marked_texts(
        config.warmup,
        parts.task,
        parts.language,
        show_ratings=config.search.show_ratings,
        max_length=config.model.max_length,
        seed=config.run.seed,
    )


def _prepare_folder(
    folder: RunFolder, config: Config, display: Display, *, overwrite: bool
) -> Tracker:
    """Start the trackers, then write the resolved configuration into the run folder; returns the
    open metrics file."""
    with _leaving_nothing_behind(folder.path):
        # First: of all that is done here a tracker fails most often, and then nothing is deleted.
        sinks = make_sinks(config.run.trackers, folder.path, config.model_dump(mode="json"))
        if overwrite:
            folder.clear()
        write_whole(folder.config, dump_config(config))
        return Tracker(folder.metrics, sinks, display.say)


@contextmanager
def _leaving_nothing_behind(path: Path) -> Iterator[None]:
    """Inside, there is a folder; with an error it goes again, or what is new in it."""
    missing = [each for each in (path, *path.absolute().parents) if not each.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"run.dir: {path} cannot be made: {error.strerror}") from None
    before = set(path.iterdir())
    try:
        yield
    except BaseException:
        for new in set(path.iterdir()) - before:
            shutil.rmtree(new) if new.is_dir() else new.unlink()
        for each in missing:
            each.rmdir()
        raise
