"""The parts of a run put together from its configuration: task, model, engine, verifier."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from llamao1_cli.config import Config
from llamao1_cli.distributed.interrupts import Interrupts
from llamao1_cli.distributed.ranks import make_accelerator
from llamao1_cli.distributed.threads import set_threads
from llamao1_cli.engine.protocol import Engine
from llamao1_cli.errors import UserError
from llamao1_cli.evaluate.evaluator import Evaluator, OnNamedGrowth
from llamao1_cli.evaluate.judges import Judges, make_judges
from llamao1_cli.evaluate.playable import playable
from llamao1_cli.evaluate.unrated import check_unrated
from llamao1_cli.language.protocol import Language
from llamao1_cli.model.load import LanguageModel
from llamao1_cli.selfplay.local import SelfPlay
from llamao1_cli.selfplay.make import make_selfplay
from llamao1_cli.selfplay.player import make_player
from llamao1_cli.tasks.load import load_task
from llamao1_cli.tasks.problem import Problem, Task
from llamao1_cli.tasks.verifier import Verifier
from llamao1_cli.value.protocol import ValueFunction


@dataclass(frozen=True)
class Parts:
    """What every command needs. The verifier is lazy and must be closed."""

    config: Config
    accelerator: Accelerator
    task: Task
    language_model: LanguageModel
    language: Language
    value_function: ValueFunction | None
    engine: Engine
    selfplay: SelfPlay
    judges: Judges
    verifier: Verifier

    def problems(self, iteration: int) -> Sequence[Problem]:
        """Returns the training problems of an iteration of self-play."""
        run, learn = self.config.run, self.config.learn
        return self.task.train_problems(run.seed, iteration, learn.problems)

    def evaluate(self, strategies: Sequence[str], on_growth: OnNamedGrowth) -> dict[str, Any]:
        """Evaluate strategies on the held-out problems; returns the content of an evaluation
        file."""
        problems, circumstances = self._held_out()
        result = self._evaluator(problems).run(strategies, on_growth)
        return circumstances | result | self.asked()

    def evaluate_at(self, budgets: Sequence[int], on_growth: OnNamedGrowth) -> dict[str, Any]:
        """Evaluate the configured strategies at equal cost, under each of the `budgets` in turn."""
        problems, circumstances = self._held_out()
        evaluator, names = self._evaluator(problems), self.config.eval.strategies
        rows = [evaluator.at_budget(names, budget, on_growth) for budget in budgets]
        return circumstances | {"budgets": rows} | self.asked()

    def asked(self) -> dict[str, dict[str, int]]:
        """Returns what the judges of strategies were asked since the last call, over all ranks;
        see `Judges.drain`."""
        return {name: self._sum(counts) for name, counts in self.judges.drain().items()}

    def _sum(self, counts: dict[str, int]) -> dict[str, int]:
        mine = torch.tensor(list(counts.values()), device=self.accelerator.device)
        return dict(zip(counts, self.accelerator.reduce(mine, "sum").tolist(), strict=True))

    def _evaluator(self, problems: Sequence[Problem]) -> Evaluator:
        config = self.config
        return Evaluator(
            problems, self.selfplay, self.verifier, config.search, config.eval, self.judges
        )

    def _held_out(self) -> tuple[list[Problem], dict[str, Any]]:
        """Returns the held-out problems that can be played, and what an evaluation is of."""
        config, every = self.config, self.task.test_problems(self.config.eval.problems)
        problems = playable(every, self.language, config.search, config.model.max_length)
        return problems, {
            "task": self.task.name,
            "split": "test",
            "n": len(problems),
            "unplayed": len(every) - len(problems),
            "model": self.language_model.name,
            "seed": self.config.run.seed,
        }


def assemble(
    config: Config,
    weights: Path | None = None,
    strategies: Sequence[str] = (),
    interrupts: Interrupts | None = None,
) -> Parts:
    """Returns all parts of a run.

    `weights` is a checkpoint's model folder, or None for the configured model, whose value head is
    untrained unless `value_head.path` names one. `strategies` are those that will be evaluated: the
    judges that they need, and no others, are made ready. Several ranks join `interrupts` at once.

    Raises UserError for data, a model or a judge that cannot be loaded.
    """
    set_threads(config.run)
    task = load_task(config.task)
    accelerator = make_accelerator(config.model.device)
    if interrupts:
        interrupts.join(accelerator)
    if config.engine.backend == "vllm" and accelerator.num_processes > 1:
        raise UserError("engine.backend: vllm runs in one process; use builtin with several")
    judges = make_judges(
        strategies, config.judge, config.eval.pairwise, config.search.allowed_metas
    )
    player = make_player(config, task, accelerator.device, weights)
    valued = player.value_function is not None
    check_unrated(strategies, player.language, valued=valued)
    return Parts(
        config=config,
        accelerator=accelerator,
        task=task,
        language_model=player.language_model,
        language=player.language,
        value_function=player.value_function,
        engine=player.engine,
        selfplay=make_selfplay(config, player, accelerator, interrupts),
        judges=judges,
        verifier=player.verifier,
    )
