"""The sections of the problems and of the grader."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from llamao1_cli.config.section import ON_RESUME, Count, Natural, Positive, Section


class ArithmeticTask(Section):
    """Arithmetic word problems made on the spot: a start value, then one event after another."""

    kind: Literal["arithmetic"] = Field("arithmetic", description="Selects this task.")
    min_operations: Count = Field(2, description="Fewest operations of a problem.")
    max_operations: Annotated[int, Field(ge=1, le=12)] = Field(
        5, description="Most operations of a problem."
    )
    test_problems: Count = Field(2000, description="Size of the held-out set.")

    @model_validator(mode="after")
    def _ordered(self) -> "ArithmeticTask":
        if self.min_operations > self.max_operations:
            raise ValueError("min_operations must not be above max_operations")
        return self


class DataSource(Section):
    """One data set: a JSONL file, or a data set of the hub (extra `hub`)."""

    path: str | None = Field(None, description="JSONL file, one object a line.")
    hub: str | None = Field(None, description="Data set on the hub, such as openai/gsm8k.")
    name: str | None = Field(None, description="Configuration of the hub data set.")
    split: str = Field("train", description="Split of the hub data set.")
    limit: Natural = Field(0, description="Read at most so many rows; 0 reads all.")

    @model_validator(mode="after")
    def _path_or_hub(self) -> "DataSource":
        if (self.path is None) == (self.hub is None):
            raise ValueError("give either `path` or `hub`, and not both")
        return self


class DataTask(Section):
    """Problems with known answers from JSONL files or the hub."""

    kind: Literal["data"] = Field("data", description="Selects this task.")
    train: DataSource = Field(description="Problems to play on.")
    test: DataSource = Field(description="Held-out problems for evaluation.")
    problem_field: str = Field("problem", description="Field that holds the problem's text.")
    answer_field: str = Field(
        "answer",
        description="Field that holds the answer, plain or as the end of a solution (`#### 18`).",
    )
    solution_field: str | None = Field(
        None,
        description="Field of the training problems that holds a worked solution, a step a line up "
        "to the line that states the answer; the warm-up's demonstrations are made of them.",
    )


Task = Annotated[ArithmeticTask | DataTask, Field(discriminator="kind")]


class GradingConfig(Section):
    """How answers are graded: math-verify in worker processes that can be killed."""

    workers: Count = Field(1, description="Worker processes.", json_schema_extra=ON_RESUME)
    timeout_s: Positive = Field(3.0, description="Seconds after which an answer counts as wrong.")
