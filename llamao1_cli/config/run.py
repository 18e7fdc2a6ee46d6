"""The section of the run itself, and the whole configuration."""

from typing import Literal

from pydantic import Field, model_validator

from llamao1_cli.config.evaluation import EvalConfig
from llamao1_cli.config.judges import JudgeConfig, RewardConfig, ValueHeadConfig, ValueJudge
from llamao1_cli.config.learn import LearnConfig, ReplayConfig
from llamao1_cli.config.model import ModelConfig, WarmupConfig
from llamao1_cli.config.play import EngineConfig, SearchConfig, SelfPlayConfig
from llamao1_cli.config.registry import ALGORITHMS
from llamao1_cli.config.section import (
    ANY_TIME,
    ON_RESUME,
    Count,
    ExpandedPath,
    Natural,
    Section,
    Weight,
)
from llamao1_cli.config.task import ArithmeticTask, GradingConfig, Task
from llamao1_cli.language.marked import Meta


class RunConfig(Section):
    """Where the run lives and how long it goes on."""

    dir: ExpandedPath = Field(
        "runs/default",
        description="Run folder; every file of the run is in it.",
        json_schema_extra=ON_RESUME,
    )
    seed: Natural = Field(0, description="Seed of everything random in the run.")
    iterations: Natural = Field(
        10, description="Rounds of self-play and update.", json_schema_extra=ON_RESUME
    )
    budget_seconds: Weight = Field(
        0.0,
        description="Stop earlier after so many seconds of self-play and update; 0: never.",
        json_schema_extra=ON_RESUME,
    )
    budget_tokens: Natural = Field(
        0,
        description="Stop earlier after so many generated tokens; 0: never.",
        json_schema_extra=ON_RESUME,
    )
    checkpoint_every: Count = Field(
        5, description="Iterations between checkpoints.", json_schema_extra=ANY_TIME
    )
    keep_checkpoints: Count = Field(
        2, description="Newest checkpoints that are kept.", json_schema_extra=ANY_TIME
    )
    threads: Natural = Field(
        0,
        description="CPU threads of torch; 0 leaves torch's own choice.",
        json_schema_extra=ANY_TIME,
    )
    trackers: list[Literal["tensorboard", "wandb"]] = Field(
        [],
        description="Trackers beside metrics.jsonl; each needs the extra of its name.",
        json_schema_extra=ANY_TIME,
    )


class Config(Section):
    """One run."""

    run: RunConfig = Field(RunConfig(), description="Folder, seed and length.")
    model: ModelConfig = Field(ModelConfig(), description="The model.")
    task: Task = Field(ArithmeticTask(), description="The problems.")
    grading: GradingConfig = Field(GradingConfig(), description="The grader.")
    warmup: WarmupConfig | None = Field(None, description="Supervised stage before self-play.")
    engine: EngineConfig = Field(EngineConfig(), description="The rollout engine.")
    self_play: SelfPlayConfig = Field(SelfPlayConfig(), description="Who plays.")
    search: SearchConfig = Field(SearchConfig(), description="The search.")
    learn: LearnConfig = Field(LearnConfig(), description="The update.")
    value_head: ValueJudge | None = Field(
        ValueHeadConfig(),
        description="What judges the thoughts; null leaves them their ratings.",
    )
    judge: JudgeConfig | None = Field(
        None,
        description="An external judge, for the strategies with `_judge` in their names.",
        json_schema_extra=ON_RESUME,
    )
    reward: RewardConfig | None = Field(
        None, description="Training of judges; no part of a run.", json_schema_extra=ON_RESUME
    )
    replay: ReplayConfig = Field(ReplayConfig(), description="The replay buffer.")
    eval: EvalConfig = Field(
        EvalConfig(), description="The evaluation.", json_schema_extra=ON_RESUME
    )

    @model_validator(mode="after")
    def _taught_markers(self) -> "Config":
        if self.warmup is not None and self.model.language == "auto":
            self.model = self.model.model_copy(update={"language": "marked"})
        return self

    @model_validator(mode="after")
    def _fit_the_algorithm(self) -> "Config":
        name, search = self.learn.algorithm, self.search
        entry = ALGORITHMS[name]
        if not entry.plays and self.warmup is None:
            raise ValueError(f"learn.algorithm: {name} needs the section `warmup`")
        if not entry.plays and self.learn.kl_weight:
            raise ValueError(f"learn.kl_weight: {name} has no such term; set it to 0")
        if entry.whole_solutions and (search.algorithm != "forks" or search.forks):
            raise ValueError(
                f"learn.algorithm: {name} learns from whole solutions; set search.algorithm: forks "
                "and search.forks: 0"
            )
        if entry.whole_solutions and (search.draws_apart or self.replay.restarts):
            raise ValueError(
                f"learn.algorithm: {name} learns from independent whole solutions; set "
                "search.replacement: true, and leave replay.restarts out"
            )
        return self

    @property
    def by_outcomes(self) -> list[str]:
        """The keys that are set and let the outcomes of an iteration choose later problems."""
        chosen = {
            "learn.resample": self.learn.resample,
            "learn.curriculum": self.learn.curriculum,
            "replay.restarts": self.replay.restarts,
        }
        return [key for key, value in chosen.items() if value]

    @model_validator(mode="after")
    def _fit_the_play(self) -> "Config":
        learn, by_outcomes = self.learn, self.by_outcomes
        for key in by_outcomes:
            if not ALGORITHMS[learn.algorithm].plays:
                raise ValueError(f"{key}: {learn.algorithm} plays no problems; leave it out")
            if self.self_play.max_staleness:
                raise ValueError(
                    f"{key} needs to know how an iteration ended before the next is played; set "
                    "self_play.max_staleness: 0"
                )
        exact = self.search.discount == 1 and self.search.unfinished == "failure"
        for key in ("learn.curriculum", "replay.restarts"):
            if key in by_outcomes and not exact:
                raise ValueError(
                    f"{key} goes by how often trees end right; set search.discount: 1 and "
                    "search.unfinished: failure"
                )
        if self.task.answer_form.concludes and Meta.CONCLUSION not in self.search.allowed_metas:
            raise ValueError(
                f"task.answers: {self.task.answers} is read in conclusions alone; add "
                f"{Meta.CONCLUSION.value!r} to search.allowed_metas"
            )
        if learn.curriculum and self.task.levels == 1:
            raise ValueError(
                f"learn.curriculum: the problems of this task (kind {self.task.kind}) have one "
                "level; leave it out, give arithmetic a larger range of operations, or set "
                "task.levels of reasoning-gym"
            )
        return self
