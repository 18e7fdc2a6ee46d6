"""The parts of a run put together from its configuration: task, model, engine, grader."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from transformers import PreTrainedModel

from llamao1_cli.config import Config, ValueAdapterConfig, ValueHeadConfig
from llamao1_cli.distributed.interrupts import Interrupts
from llamao1_cli.distributed.ranks import make_accelerator
from llamao1_cli.distributed.threads import set_threads
from llamao1_cli.engine.make import make_engine
from llamao1_cli.engine.protocol import Engine
from llamao1_cli.errors import UserError
from llamao1_cli.evaluate.evaluator import Evaluator, OnTurn
from llamao1_cli.evaluate.judges import Judges, make_judges
from llamao1_cli.language.codec import Codec
from llamao1_cli.model.load import LanguageModel, load_model
from llamao1_cli.model.packed_forward import check_packs
from llamao1_cli.seeds import derive_seed
from llamao1_cli.selfplay.local import SelfPlay
from llamao1_cli.selfplay.ray.selfplay import RaySelfPlay
from llamao1_cli.tasks.grading import Grader
from llamao1_cli.tasks.load import load_task
from llamao1_cli.tasks.problem import Problem, Task
from llamao1_cli.value.adapter import ValueAdapter
from llamao1_cli.value.adapter_training import AdapterTrainer
from llamao1_cli.value.head import ValueHead
from llamao1_cli.value.head_training import ValueTrainer


@dataclass(frozen=True)
class Parts:
    """What every command needs. The grader is lazy and must be closed."""

    config: Config
    accelerator: Accelerator
    task: Task
    language_model: LanguageModel
    codec: Codec
    value_head: ValueHead | ValueAdapter | None
    engine: Engine
    selfplay: SelfPlay
    judges: Judges
    grader: Grader

    def problems(self, iteration: int) -> Sequence[Problem]:
        """The training problems of an iteration of self-play."""
        run, learn = self.config.run, self.config.learn
        return self.task.train_problems(run.seed, iteration, learn.problems)

    def evaluate(self, on_turn: OnTurn) -> dict[str, Any]:
        """The configured strategies on the held-out problems, in the format of evaluation files."""
        problems = self.task.test_problems(self.config.eval.problems)
        result = self._evaluator(problems).run(self.config.eval.strategies, on_turn)
        return self._circumstances(len(problems)) | result | self.asked()

    def evaluate_at(self, budgets: Sequence[int], on_turn: OnTurn) -> dict[str, Any]:
        """The configured strategies at equal cost, under `budgets` in the order given."""
        problems = self.task.test_problems(self.config.eval.problems)
        evaluator, names = self._evaluator(problems), self.config.eval.strategies
        rows = [evaluator.at_budget(names, budget, on_turn) for budget in budgets]
        return self._circumstances(len(problems)) | {"budgets": rows} | self.asked()

    def asked(self) -> dict[str, dict[str, int]]:
        """What the judges of strategies were asked since the last call, over all ranks; see
        `Judges.drain`."""
        return {name: self._sum(counts) for name, counts in self.judges.drain().items()}

    def _sum(self, counts: dict[str, int]) -> dict[str, int]:
        mine = torch.tensor(list(counts.values()), device=self.accelerator.device)
        return dict(zip(counts, self.accelerator.reduce(mine, "sum").tolist(), strict=True))

    def _evaluator(self, problems: Sequence[Problem]) -> Evaluator:
        config, grade = self.config, self.grader.grade
        return Evaluator(problems, self.selfplay, grade, config.search, config.eval, self.judges)

    def _circumstances(self, problems: int) -> dict[str, Any]:
        return {
            "task": self.task.name,
            "split": "test",
            "n": problems,
            "model": self.language_model.name,
            "seed": self.config.run.seed,
        }


def assemble(
    config: Config,
    weights: Path | None = None,
    strategies: Sequence[str] = (),
    interrupts: Interrupts | None = None,
) -> Parts:
    """Load everything; `weights` is a checkpoint's model folder, or None for the one configured,
    whose value head is untrained unless `value_head.path` names one. `strategies` are those that
    will be evaluated: the judges that they need, and no others, are made ready. `interrupts` are
    joined by the ranks as soon as there are several.

    Raises UserError for data, a model or a judge that cannot be loaded.
    """
    set_threads(config.run)
    task = load_task(config.task)
    accelerator = make_accelerator(config.model.device)
    if interrupts:
        interrupts.join(accelerator)
    if config.engine.backend == "vllm" and accelerator.num_processes > 1:
        raise UserError("engine.backend: vllm runs in one process; use builtin with several")
    judges = make_judges(strategies, config)
    language_model = load_model(config.model, task.corpus(), config.run.seed, weights)
    language_model.model.to(accelerator.device)
    codec = language_model.codec(config.search.allowed_metas)
    value_head = make_value_head(config, language_model.model, codec, weights)
    engine = make_engine(
        config.engine,
        language_model.model,
        codec,
        dtype=config.model.dtype,
        max_length=config.model.max_length,
        show_ratings=config.search.show_ratings,
    )
    selfplay = make_selfplay(
        config, language_model.model, codec, engine, value_head, accelerator, interrupts
    )
    return Parts(
        config=config,
        accelerator=accelerator,
        task=task,
        language_model=language_model,
        codec=codec,
        value_head=value_head,
        engine=engine,
        selfplay=selfplay,
        judges=judges,
        grader=Grader(config.grading.workers, config.grading.timeout_s),
    )


def make_selfplay(
    config: Config,
    model: PreTrainedModel,
    codec: Codec,
    engine: Engine,
    value_head: ValueHead | ValueAdapter | None,
    accelerator: Accelerator,
    interrupts: Interrupts | None,
) -> SelfPlay:
    """What plays, here or on a Ray cluster; UserError where Ray is not installed."""
    if config.self_play.backend == "ray":
        return RaySelfPlay(config, model, engine, codec, accelerator, value_head, interrupts)
    return SelfPlay(engine, codec, accelerator, config.run.seed, value_head, interrupts)


def make_value_head(
    config: Config, model: PreTrainedModel, codec: Codec, weights: Path | None
) -> ValueHead | ValueAdapter | None:
    """The value head that was saved with `weights`, else the one in `value_head.path`, else an
    untrained one; None if there is to be none. Raises UserError for a saved one of another kind or
    size, a folder without one, or a model that cannot carry one."""
    settings, seed = config.value_head, derive_seed(config.run.seed, "value head")
    head: ValueHead | ValueAdapter
    if settings is None:
        return None
    if isinstance(settings, ValueAdapterConfig):
        check_packs(model)
        limit = config.learn.micro_batch_tokens
        head = ValueAdapter(model, codec, rank=settings.rank, seed=seed, max_tokens=limit)
    else:
        head = ValueHead(settings.hidden_size, seed)
        if weights is None and settings.path is not None:
            head.load_judge(Path(settings.path))
    if weights is not None:
        head.load(weights)
    return head


def make_value_trainer(parts: Parts) -> ValueTrainer | AdapterTrainer | None:
    """What trains the value head, if there is one."""
    head, settings = parts.value_head, parts.config.value_head
    if isinstance(head, ValueAdapter) and isinstance(settings, ValueAdapterConfig):
        return AdapterTrainer(head, settings, parts.accelerator)
    if isinstance(head, ValueHead) and isinstance(settings, ValueHeadConfig):
        return ValueTrainer(head, settings)
    return None
