"""The sections of what judges thoughts and solutions, and of how it is trained."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from llamao1_cli.config.section import Count, ExpandedPath, Natural, Positive, Section, Weight
from llamao1_cli.config.task import DataSource


class ValueHeadConfig(Section):
    """A small network that judges every path by its ratings and its token log-probs."""

    kind: Literal["features"] = Field(
        "features", description="Selects this judge; so does a section without `kind`."
    )
    path: ExpandedPath | None = Field(
        None,
        description="Folder that `reward train --kind values` wrote: what the judge has learned "
        "where no run brings its own; null begins with the ratings.",
    )
    hidden_size: Count = Field(32, description="Width of its hidden layer.")
    steps: Count = Field(50, description="Adam steps an iteration, each on all recent nodes.")
    learning_rate: Positive = Field(
        0.01, description="First learning rate of an iteration; it falls to 0 in a line."
    )
    pair_weight: Weight = Field(
        0.3, description="Weight of telling leaves, or siblings, of one tree apart."
    )


class ValueAdapterConfig(Section):
    """Low-rank weights on the policy's own that judge every path by its text and its log-probs."""

    kind: Literal["adapter"] = Field(
        "adapter", description="Selects this judge: slower, and nothing of it reaches the policy."
    )
    rank: Count = Field(16, description="Rank of the weights added to each linear layer.")
    epochs: Count = Field(1, description="Passes over the trees of an iteration.")
    batch_size: Count = Field(4, description="Trees an AdamW step, over all ranks.")
    learning_rate: Positive = Field(
        1e-3,
        description="First learning rate of an iteration; it falls to 0 in a line. Wide models "
        "want less.",
    )
    pair_weight: Weight = Field(
        0.3, description="Weight of telling leaves, or siblings, of one tree apart."
    )


def _with_kind(section: object) -> object:
    """Returns the section with a kind: the first one where it names none."""
    return {"kind": "features", **section} if isinstance(section, dict) else section


ValueJudge = Annotated[
    Annotated[ValueHeadConfig | ValueAdapterConfig, Field(discriminator="kind")],
    BeforeValidator(_with_kind),
]


class JudgeConfig(Section):
    """A model behind an OpenAI-compatible endpoint that judges thoughts (extra `openai`)."""

    base_url: Annotated[str, Field(pattern="^https?://")] = Field(
        description="Address of the endpoint, such as http://localhost:8000/v1."
    )
    model: str = Field(description="The model's name there.")
    key_variable: str = Field(
        "OPENAI_API_KEY",
        description="Environment variable that holds the key; it is never written anywhere.",
    )
    timeout_seconds: Positive = Field(30.0, description="Longest wait for an answer.")
    retries: Natural = Field(
        3, description="Further tries where the endpoint is down, busy or too slow."
    )
    on_failure: Literal["error", "rating"] = Field(
        "error",
        description="Without a usable answer stop, or keep the thought's rating and count it.",
    )
    max_tokens: Count = Field(
        8,
        description="Most tokens of an answer; under a budget they are set aside for every thought "
        "that an expansion may bring.",
    )
    concurrency: Count = Field(8, description="Most questions in flight at once.")


class OmegaConfig(Section):
    """OmegaPRM's search: the value of a prefix is the share of its completions that end right, and
    the first step worth 0 of a wrong one is found by halving."""

    problems: Count = Field(32, description="Training problems; those held out are among them.")
    completions: Count = Field(8, description="Completions that measure a prefix.")
    searches: Natural = Field(
        4, description="Wrong completions searched a problem; 0 measures the problem alone."
    )


class RewardConfig(Section):
    """Training of judges of solutions and of thoughts (`llamao1 reward`)."""

    omega: OmegaConfig | None = Field(
        None,
        description="values: measure step values by OmegaPRM's search with the model as it is; "
        "null takes those of stored trees (`--trees`).",
    )
    solutions: DataSource | None = Field(
        None,
        description="pairwise: labelled solutions; null where they are mined from trees "
        "(`--trees`).",
    )
    question_field: str = Field("question", description="Field that holds the question.")
    solution_field: str = Field("solution", description="Field that holds a solution.")
    label_field: str = Field(
        "is_correct", description="Field that says whether it is right: true or false."
    )
    held_out: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.3, description="Share of the questions that are kept for the judge's own evaluation."
    )
    epochs: Count = Field(2, description="pairwise: passes over the pairs.")
    batch_size: Count = Field(8, description="pairwise: pairs a step.")
    batch_tokens: Count = Field(
        4096, description="pairwise: most tokens a forward pass, padding included."
    )
    learning_rate: Positive = Field(3e-4, description="pairwise: peak learning rate.")
