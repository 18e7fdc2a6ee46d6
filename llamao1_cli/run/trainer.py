"""RLSPTrainer: warm-up, then self-play and updates in turn.

One iteration reads top to bottom: play problems, turn trees into experiences, put them into the
replay, take optimizer steps, note what happened, save.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from llamao1_cli.config.registry import ALGORITHMS
from llamao1_cli.distributed.interrupts import Interrupts
from llamao1_cli.distributed.optimizer_step import make_optimizer
from llamao1_cli.distributed.ranks import main_says
from llamao1_cli.distributed.sharding import prepare_model, prepare_optimizer
from llamao1_cli.errors import InterruptedRunError
from llamao1_cli.files.run_folder import RunFolder
from llamao1_cli.language.protocol import SupervisedIds
from llamao1_cli.learn.experience import Experience, experiences, grew
from llamao1_cli.learn.imitation import Imitation
from llamao1_cli.learn.iteration import learn_from, learning_rate
from llamao1_cli.learn.replay import Replay
from llamao1_cli.learn.update import Updater, trainable_weights
from llamao1_cli.learn.warmup import Warmup
from llamao1_cli.report.display import Display
from llamao1_cli.run import checkpoint
from llamao1_cli.run.assembly import Parts
from llamao1_cli.run.evaluation import due_strategies, evaluate_once
from llamao1_cli.run.spending import Spending
from llamao1_cli.run.tracking import Tracker
from llamao1_cli.run.tree_source import TreeSource
from llamao1_cli.search.forest import forest_metrics
from llamao1_cli.search.tree import Tree
from llamao1_cli.value.make import make_value_trainer


class RLSPTrainer:
    """Reinforcement learning by self-play, on accelerate; all its state goes into checkpoints."""

    def __init__(
        self,
        parts: Parts,
        folder: RunFolder,
        texts: Sequence[SupervisedIds],
        data: Mapping[str, str],
        display: Display,
        interrupts: Interrupts,
    ) -> None:
        config = parts.config
        self.tracker: Tracker | None = None  # on the main process, once the run is under way
        self._parts, self._config, self._folder = parts, config, folder
        self._warmup = (
            Warmup(config.warmup, texts, parts.accelerator, config.run.seed)
            if config.warmup
            else None
        )
        self._imitation = Imitation(self._warmup, config.learn) if self._warmup else None
        self._display, self._interrupts = display, interrupts
        self._data = data
        self._accelerator = parts.accelerator
        self._model = prepare_model(self._accelerator, parts.language_model.model)
        self._replay: Replay[Experience] = Replay(
            config.replay.capacity,
            config.replay.alpha,
            rank=self._accelerator.process_index,
            ranks=self._accelerator.num_processes,
        )
        self._values = make_value_trainer(
            config.value_head, parts.value_function, parts.accelerator
        )
        self._warmup_done = 0
        self._iteration = 0
        self._stage = "warmup" if config.warmup else "self-play"
        self._spending = Spending(config.run, parts.accelerator)
        self._source = TreeSource(parts, folder, display, self._spending)
        self._start_stage()

    def resume(self, path: Path, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint with this plain part, whose weights the model already has."""
        self._stage, self._iteration = state["stage"], state["iteration"]
        self._warmup_done = state["warmup_steps"]
        self._spending.seconds, self._spending.tokens = state["spent"]
        self._spending.before = state.get("spent_before", state["spent"])
        self._start_stage()
        checkpoint.load_optimizer(path, self._optimizer)
        checkpoint.load_replay(path, self._replay)
        self._parts.selfplay.restore(state["self_play"])
        self._source.restore(state.get("problems", {}))
        if self._values:
            self._values.load(path)
        if self._updater.reference is not None:
            self._updater.reference = checkpoint.load_weights(path, self._updater.reference)

    def fit(self, files: Sequence[Path] | None = None) -> dict[str, Any]:
        """Run to the end from where it stands; returns the last evaluation.

        `files` are stored trees to learn from, a file an iteration, instead of playing.
        Raises InterruptedRunError, after a checkpoint, when a signal asks to stop.
        """
        last = self._config.run.iterations
        last = min(last, len(files)) if files else last
        with self._saving_when_interrupted():
            self._warm_up()
            while self._iteration < last and self._spending.progress(self._iteration) < 1.0:
                step = self._spending.step(self._iteration)
                if due := due_strategies(self._config.eval, self._iteration, *step):
                    self._evaluate(due)
                number = self._iteration + 1
                self._spending.begin()
                if not ALGORITHMS[self._config.learn.algorithm].plays:
                    with self._interrupts.deferred():
                        self._imitate(number, last)
                else:
                    self._self_play(number, last, files[number - 1] if files else None)
            return self._evaluate(self._config.eval.strategies)

    def warm_up(self) -> None:
        """Run the supervised stage alone, up to the checkpoint that self-play starts from."""
        with self._saving_when_interrupted():
            self._warm_up()

    # Warm-up

    def _warm_up(self) -> None:
        warmup = self._warmup
        if self._stage != "warmup" or warmup is None:
            return
        batches = islice(warmup.batches(), warmup.steps)
        with self._display.progress("warm-up", warmup.steps, self._warmup_done) as advance:
            for step, batch in enumerate(batches, start=1):
                if step <= self._warmup_done:
                    continue
                with self._interrupts.deferred():
                    rate, name = warmup.rate(step), f"warm-up step {step}"
                    metrics = warmup.step(self._model, self._optimizer, batch, rate, name)
                    self._warmup_done = step
                    self._log("warmup", step, metrics)
                    every = warmup.config.checkpoint_every
                    if step % every == 0 and step < warmup.steps:
                        self._save()
                advance(f"loss {metrics['loss']:.3f}")
        with self._interrupts.deferred():
            self._stage = "self-play"
            self._parts.engine.refresh()
            self._start_stage()
            self._save()

    # Self-play

    def _self_play(self, number: int, last: int, file: Path | None) -> None:
        trees = self._source.read(file, number) if file else self._source.play(number)
        with self._interrupts.deferred():
            self._learn(trees, number, last)

    # Learning

    def _learn(self, trees: list[Tree], number: int, last: int) -> None:
        """Change the run's state in one piece, which a signal finds either before or after."""
        config, played = self._config, forest_metrics(trees) | self._parts.selfplay.drain()
        played |= self._source.advance(trees)
        self._spending.tokens += played["generated_tokens"]
        taught = self._source.taught(trees)
        fresh = sum(map(grew, taught))
        with self._spending.timed("experience"):
            kept = experiences(
                taught,
                self._parts.language,
                config.learn,
                config.search.discount,
                min_tokens=config.search.min_thought_tokens,
                share=self._replay.share,
            )
            self._replay.drop_older(number - config.replay.max_age)
            self._replay.add(kept, number, fresh)
        with self._spending.timed("update"):
            learned = learn_from(
                self._replay,
                self._updater,
                self._accelerator,
                config.learn,
                config.replay,
                config.run.seed,
                fresh=fresh,
                number=number,
                progress=self._spending.progress(number),
                watch=lambda steps: self._display.progress("update", steps, passing=True),
            )
        if self._values:
            with self._spending.timed("value_head"), self._display.stage("values"):
                learned |= self._values.learn(trees, number)
        sizes = {"experiences": float(fresh), "replay": float(len(self._replay))}
        self._close("self-play", played | learned | sizes, number, last)

    def _imitate(self, number: int, last: int) -> None:
        """Run an iteration of the control: demonstrations in the place of problems."""
        assert self._imitation is not None
        rate = learning_rate(self._config.learn, number, self._spending.progress(number))
        with self._spending.timed("update"), self._display.stage("imitation"):
            loss, tokens = self._imitation.learn(self._model, self._optimizer, number, rate)
        self._spending.tokens += tokens
        self._close("imitation", {"loss": loss}, number, last)

    def _close(self, stage: str, metrics: dict[str, float], number: int, last: int) -> None:
        """Hand the new weights to the engine, note what happened, save."""
        with self._spending.timed("weights"):
            self._parts.engine.refresh()
        self._iteration = number
        seconds = self._spending.close()
        metrics |= {"spent_tokens": self._spending.tokens}
        self._log(stage, number, metrics | {"seconds": seconds})
        self._display.iteration(number, self._config, metrics, seconds)
        final = number == last or self._spending.progress(number) >= 1.0
        if final or number % self._config.run.checkpoint_every == 0:
            with self._spending.timed("checkpoint"):  # shows in the next iteration's metrics
                self._save()

    # Evaluation

    def _evaluate(self, strategies: Sequence[str]) -> dict[str, Any]:
        """Returns the evaluation of strategies after this iteration."""
        path = self._folder.evaluation(self._iteration)
        return evaluate_once(self._parts, path, self._iteration, strategies, self._display)

    # State

    def _start_stage(self) -> None:
        """Make a fresh optimizer for the stage, and for self-play the reference policy."""
        warmup = self._config.warmup
        stage = warmup if self._stage == "warmup" and warmup else self._config.learn
        optimizer = make_optimizer(self._model, stage.betas, stage.weight_decay)
        self._optimizer = prepare_optimizer(self._accelerator, optimizer)
        self._updater = Updater(
            self._config.learn,
            self._parts.language,
            self._config.search.sampling,
            self._accelerator,
            self._model,
            self._optimizer,
        )
        if self._config.learn.kl_weight and self._stage == "self-play":
            self._updater.reference = trainable_weights(self._parts.language_model.model)

    def _save(self) -> None:
        """Write a checkpoint of the state as it stands.

        Each rank writes its shard of the replay, the main process all the rest.
        """
        warm = self._stage == "warmup"
        name = f"warmup-{self._warmup_done:06d}" if warm else f"iteration-{self._iteration:06d}"
        if main_says(self._accelerator, (self._folder.checkpoints / name).exists()):
            return
        keep, accelerator = self._config.run.keep_checkpoints, self._accelerator
        model, reference = self._parts.language_model.model, self._updater.reference
        whole = checkpoint.whole_tensors(model, self._optimizer, reference, accelerator)
        with checkpoint.shared_checkpoint(
            self._folder.checkpoints, name, keep, accelerator
        ) as path:
            checkpoint.save_replay(path, self._replay, accelerator.process_index)
            if accelerator.is_main_process:
                self._save_alone(path, whole)
        accelerator.wait_for_everyone()

    def _save_alone(self, path: Path, whole: checkpoint.WholeTensors) -> None:
        """Write what is the same on every rank."""
        checkpoint.save_whole(path, self._parts.language_model, whole)
        if self._values:
            self._values.save(path)
        checkpoint.save_state(
            path,
            {
                "stage": self._stage,
                "iteration": self._iteration,
                "warmup_steps": self._warmup_done,
                "spent": [self._spending.seconds, self._spending.tokens],
                "spent_before": self._spending.before,
                "metrics_bytes": self.tracker.size if self.tracker else 0,
                "self_play": self._parts.selfplay.state(),
                "problems": self._source.state(),
                "data": self._data,
            },
        )

    @contextmanager
    def _saving_when_interrupted(self) -> Iterator[None]:
        """Inside, a signal ends the stage with a checkpoint; what was partly played is lost."""
        try:
            yield
        except InterruptedRunError:
            self._save()
            raise

    # Measuring

    def _log(self, stage: str, step: int, metrics: dict[str, Any]) -> None:
        if self.tracker:
            self.tracker.log(stage, step, metrics)
