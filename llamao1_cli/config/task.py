"""The sections of the problems and of the grader."""

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from llamao1_cli.config.answers import Answers, answer_form
from llamao1_cli.config.section import (
    ON_RESUME,
    Count,
    ExpandedPath,
    Fraction,
    Natural,
    Positive,
    Section,
)
from llamao1_cli.config.template import template_parts
from llamao1_cli.language.answer_forms import AnswerForm

TAGS = {"months": 12, "letters": 20}  # events that a problem can tell apart, by what tags them


class TaskSection(Section):
    """What every task has."""

    solved_at: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="Reward from which a solution counts as solved, above 0 and up to 1. Where "
        "answers are compared, the reward is 1 or 0.",
    )
    answers: Answers = Field(
        "boxed",
        description="How a solution states its answer: boxed (`\\boxed{5}`, also `#### 5` and `the "
        "answer is 5`), tags (`<answer>5</answer>`), hashes (`#### 5`), letter (of a choice), "
        "number (the last one), or a section with a pattern. letter and number are read in "
        "`<conclusion>` thoughts alone.",
    )

    @property
    def answer_form(self) -> AnswerForm:
        """How answers are found in thoughts, and stated."""
        return answer_form(self.answers)


class ArithmeticTask(TaskSection):
    """Arithmetic word problems made on the spot: a start value, then one event after another."""

    kind: Literal["arithmetic"] = Field("arithmetic", description="Selects this task.")
    min_operations: Count = Field(2, description="Fewest operations of a problem.")
    max_operations: Count = Field(
        5, description="Most operations of a problem: up to 12 with months, 20 with letters."
    )
    events: Literal["months", "letters"] = Field(
        "months",
        description="What tags the events: months, in sentences, or letters, a line each and in "
        "words that are easy to copy, for long problems.",
    )
    problems: Annotated[int, Field(ge=0, le=5000)] = Field(
        0,
        description="Size of the training set, which is the same for every seed; it is played in "
        "pass after pass, each in a new order. 0 makes new problems all the time.",
    )
    test_problems: Count = Field(2000, description="Size of the held-out set.")
    shortest_demonstration: Count | None = Field(
        None,
        description="Demonstrations: fewest operations, all numbers up to max_operations equally "
        "often; null draws them as problems.",
    )
    misread: Fraction = Field(
        0.7,
        description="Demonstrations: how often a tripling is misread as a doubling, and what was "
        "given away as found.",
    )
    slip: Fraction = Field(0.1, description="Demonstrations: how often a step's result is wrong.")

    @model_validator(mode="after")
    def _ordered(self) -> "ArithmeticTask":
        if self.min_operations > self.max_operations:
            raise ValueError("min_operations must not be above max_operations")
        if (self.shortest_demonstration or 1) > self.max_operations:
            raise ValueError("shortest_demonstration must not be above max_operations")
        if self.max_operations > TAGS[self.events]:
            raise ValueError(
                f"max_operations: {self.max_operations} is more than the {TAGS[self.events]} that "
                f"`events: {self.events}` can tag; `letters` tag up to {TAGS['letters']}"
            )
        return self

    @property
    def easiest(self) -> int:
        """Most operations of the easiest level: as few as a problem or a demonstration can have."""
        return min(self.min_operations, self.shortest_demonstration or self.min_operations)

    @property
    def levels(self) -> int:
        """How many levels of difficulty there are; each has an operation more."""
        return self.max_operations - self.easiest + 1


class DataSource(Section):
    """One data set: a file, or a data set of the hub (extra `hub`)."""

    path: ExpandedPath | None = Field(
        None,
        description="File whose name tells its format: .jsonl, .json (an array of objects), .csv, "
        ".tsv or .parquet (extra `hub`), each also with .gz.",
    )
    hub: str | None = Field(None, description="Data set on the hub, such as openai/gsm8k.")
    name: str | None = Field(None, description="Configuration of the hub data set.")
    split: str = Field("train", description="Split of the hub data set.")
    limit: Natural = Field(0, description="Read at most so many rows; 0 reads all.")

    @model_validator(mode="after")
    def _path_or_hub(self) -> "DataSource":
        if (self.path is None) == (self.hub is None):
            raise ValueError("give either `path` or `hub`, and not both")
        return self


class DataTask(TaskSection):
    """Problems with known answers from files or the hub."""

    kind: Literal["data"] = Field("data", description="Selects this task.")
    train: DataSource = Field(description="Problems to play on.")
    test: DataSource = Field(description="Held-out problems for evaluation.")
    problem_field: str = Field(
        "problem",
        description="Field that holds the problem's text; here and below a dot leads into a nested "
        "object, as in `reward_model.ground_truth`.",
    )
    problem_template: str | None = Field(
        None,
        description="Text of a problem over the fields of its row, such as `{Body} {Question}`, in "
        "the place of problem_field; a field that holds a list becomes lettered lines, `(A) …`.",
    )
    answer_field: str = Field(
        "answer",
        description="Field that holds the answer, plain or as the end of a solution (`#### 18`); "
        "a list is read as `1, 2, 3`, a truth value as `True` or `False`.",
    )
    solution_field: str | None = Field(
        None,
        description="Field of the training problems that holds a worked solution; the warm-up's "
        "demonstrations are made of its lines or sentences.",
    )

    @field_validator("problem_template")
    @classmethod
    def _is_a_template(cls, template: str | None) -> str | None:
        if template is not None and not any(field for _, field in template_parts(template)):
            raise ValueError("names no field; write names between braces, such as {question}")
        return template

    @property
    def levels(self) -> int:
        """How many levels of difficulty there are: one, as nobody knows which are easy."""
        return 1


class PythonTask(TaskSection):
    """Problems, and the reward of their solutions, from a Python file of your own."""

    kind: Literal["python"] = Field("python", description="Selects this task.")
    path: ExpandedPath = Field(
        description="Python file with the functions of a task, or with a class `Task` that has "
        "them; it is run as part of the program."
    )
    options: dict[str, JsonValue] = Field(
        {}, description="What the file's class `Task` is made with, by name."
    )

    @property
    def levels(self) -> int:
        """How many levels of difficulty there are: one."""
        return 1


class GymDataSet(Section):
    """One data set of reasoning-gym."""

    name: str = Field(description="Its name; `llamao1 tasks` lists them.")
    weight: Positive = Field(1.0, description="How often it is drawn, in relation to the others.")
    config: dict[str, Any] = Field({}, description="Its options, laid over those of task.config.")


class ReasoningGymTask(TaskSection):
    """Problems that reasoning-gym makes, scored by their own data sets (extra `reasoning-gym`)."""

    kind: Literal["reasoning_gym"] = Field("reasoning_gym", description="Selects this task.")
    dataset: list[GymDataSet] = Field(
        min_length=1,
        description="Name of a data set, or a list of names or of sections with a weight.",
    )
    config: dict[str, Any] = Field(
        {}, description="Options of the data sets, such as `{max_terms: 4}`."
    )
    levels: Count = Field(
        1,
        description="Levels of difficulty: those of the data sets' own curricula, with `config` "
        "laid over. learn.curriculum plays the easiest first; evaluation is at the highest. 1 "
        "takes the data sets' defaults instead.",
    )
    test_problems: Count = Field(
        200, description="Size of the held-out set; less where a data set has few problems."
    )
    instruction: str | None = Field(
        None,
        description="What stands below each problem; null asks for the answer as `answers` has it.",
    )
    answers: Answers = Field("tags", description="How a solution states its answer.")

    @field_validator("dataset", mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        each = given if isinstance(given, list) else [given]
        return [{"name": one} if isinstance(one, str) else one for one in each]

    @field_validator("dataset")
    @classmethod
    def _differ(cls, dataset: list[GymDataSet]) -> list[GymDataSet]:
        names = [each.name for each in dataset]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"names {twice} twice; name each data set once")
        return dataset

    @property
    def asked(self) -> str:
        """What stands below each problem."""
        if self.instruction is not None:
            return self.instruction
        return f"State the final answer, and nothing else, {self.answer_form.where}."


Task = Annotated[
    ArithmeticTask | DataTask | PythonTask | ReasoningGymTask, Field(discriminator="kind")
]


class GradingConfig(Section):
    """How answers are graded: math-verify in worker processes that can be killed."""

    workers: Count = Field(1, description="Worker processes.", json_schema_extra=ON_RESUME)
    timeout_s: Positive = Field(3.0, description="Seconds after which an answer counts as wrong.")
