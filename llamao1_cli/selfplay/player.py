"""What plays problems: a model, an engine, a value function and a verifier."""

from dataclasses import dataclass
from pathlib import Path

import torch

from llamao1_cli.config import Config
from llamao1_cli.engine.make import make_engine
from llamao1_cli.engine.protocol import Engine
from llamao1_cli.files.run_folder import RunFolder
from llamao1_cli.language.protocol import Language
from llamao1_cli.model.load import LanguageModel, load_model
from llamao1_cli.tasks.problem import Task
from llamao1_cli.tasks.verifier import Verifier
from llamao1_cli.value.make import make_value_function
from llamao1_cli.value.protocol import ValueFunction


@dataclass(frozen=True)
class Player:
    """Plays the problems of a task. The verifier starts no process before it is asked, and must be
    closed."""

    language_model: LanguageModel
    language: Language
    value_function: ValueFunction | None  # None: a node's value is its rating
    engine: Engine  # runs a copy of the model's weights
    verifier: Verifier


def make_player(
    config: Config, task: Task, device: torch.device, weights: Path | None = None
) -> Player:
    """Returns the configured player with the model of the folder `weights`, or the configured one.

    A model that is built from nothing learns its tokenizer from the texts of the
    task. Raises
    UserError for what cannot be loaded or run.
    """
    language_model = load_model(config.model, task.corpus(), config.run.seed, weights)
    model = language_model.model.to(device)
    language = language_model.language(config.search.allowed_metas, config.task.answer_form)
    value_function = make_value_function(
        config.value_head,
        model,
        language,
        seed=config.run.seed,
        micro_batch_tokens=config.learn.micro_batch_tokens,
        weights=weights,
    )
    engine = make_engine(
        config.engine,
        model,
        language,
        dtype=config.model.dtype,
        max_length=config.model.max_length,
        show_ratings=config.search.show_ratings,
    )
    log = RunFolder(Path(config.run.dir)).reward_log
    verifier = Verifier(config.grading, task.reward, config.task.solved_at, log)
    return Player(language_model, language, value_function, engine, verifier)
