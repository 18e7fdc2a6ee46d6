"""The sections of the model and of the supervised stage that prepares it."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from llamao1_cli.config.section import Count, ExpandedPath, Fraction, Positive, Section, Weight
from llamao1_cli.config.task import DataSource
from llamao1_cli.language.chat.settings import ChatSettings
from llamao1_cli.language.choice import LanguageChoice, LanguageName


class BuildConfig(Section):
    """A small Llama built from scratch, with a tokenizer trained on the task's own texts."""

    hidden_size: Count = Field(128, description="Width of the residual stream.")
    layers: Count = Field(4, description="Transformer layers.")
    heads: Count = Field(4, description="Attention heads; they share the width evenly.")
    feed_forward: Count = Field(256, description="Width of the gated feed-forward layer.")
    vocabulary: Annotated[int, Field(ge=300)] = Field(
        700, description="Largest size of the byte-level BPE vocabulary, markers excluded."
    )

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "BuildConfig":
        if self.hidden_size % (2 * self.heads):
            raise ValueError(f"hidden_size must be a multiple of 2 x heads ({2 * self.heads})")
        return self


class LoraConfig(Section):
    """Low-rank adapters; the rows of new marker tokens train beside them."""

    rank: Count = Field(16, description="Rank of the adapters.")
    alpha: Positive = Field(32, description="Scale of the adapters, divided by the rank.")
    dropout: Fraction = Field(
        0.0,
        description="Dropout on the adapters' input during warm-up; self-play updates use none.",
    )
    targets: list[str] | Literal["all-linear"] = Field(
        "all-linear", description="Names of the adapted modules."
    )


class ChatExample(Section):
    """A worked example that stands before every problem."""

    problem: str = Field(description="What the user says.")
    solution: str = Field(description="What the model is shown to answer.")


class ChatConfig(Section):
    """What stands before a problem in the chat language."""

    system: str | None = Field(None, description="System prompt; null leaves it out.")
    examples: list[ChatExample] = Field(
        [], description="Worked examples, as turns before the problem's."
    )
    arguments: dict[str, Any] = Field(
        {}, description="Arguments of the chat template, such as `enable_thinking: false`."
    )


class ModelConfig(Section):
    """The language model that proposes thoughts, and rates them in the marked language."""

    path: ExpandedPath | None = Field(
        None, description="Model folder or hub name; without it `build` makes a model from scratch."
    )
    gguf_file: str | None = Field(
        None, description="GGUF file inside `path` (needs the extra `gguf`)."
    )
    build: BuildConfig = Field(BuildConfig(), description="Shape of a model made from scratch.")
    lora: LoraConfig | None = Field(None, description="LoRA settings; null trains every weight.")
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="Type of the weights.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where the model runs; auto takes a GPU if there is one."
    )
    max_length: Count = Field(
        512, description="Longest path in tokens; a path that would outgrow it is closed."
    )
    language: LanguageName = Field(
        "auto",
        description="How it writes solutions: marked, thoughts between markers that it rates; "
        "chat, its own words behind its chat template. auto takes marked for a model that knows "
        "the markers, is built from scratch or is taught them by `warmup`, else chat.",
    )
    step_separator: Annotated[str, Field(min_length=1)] = Field(
        "\n", description="Chat: a thought ends behind this text."
    )
    chat: ChatConfig = Field(ChatConfig(), description="Chat: what stands before a problem.")

    @model_validator(mode="after")
    def _taught_from_scratch(self) -> "ModelConfig":
        if self.path is None and self.language == "chat":
            raise ValueError(
                "language: chat needs a chat model; name one in model.path, or set language: marked"
            )
        return self

    @property
    def speaks(self) -> LanguageChoice:
        """Returns the choice of its language."""
        chat = ChatSettings(
            self.step_separator,
            self.chat.system,
            tuple((each.problem, each.solution) for each in self.chat.examples),
            self.chat.arguments,
        )
        return LanguageChoice("marked" if self.path is None else self.language, chat)


class WarmupConfig(Section):
    """Supervised training on worked solutions; defaults are those published for the base model."""

    data: DataSource | None = Field(
        None,
        description="Marked texts, field `text`, or `prompt` and `completion` as `export --to sft` "
        "writes them; or a user's turn and the model's answer as `messages`, or in `prompt` and "
        "`completion`; null takes the task's own demonstrations.",
    )
    examples: Count = Field(
        10_000, description="Demonstrations made by the task when `data` is null."
    )
    epochs: Count = Field(1, description="Passes over the texts.")
    batch_size: Count = Field(8, description="Sequences a step.")
    micro_batch_size: Count = Field(8, description="Sequences a forward pass.")
    learning_rate: Positive = Field(5e-5, description="Peak learning rate.")
    final_rate: Fraction = Field(
        0.0, description="Share of the peak left at the end of the cosine."
    )
    ramp: Fraction = Field(0.03, description="Share of the steps that ramp the rate up.")
    betas: tuple[Fraction, Fraction] = Field((0.9, 0.999), description="AdamW's decay rates.")
    weight_decay: Weight = Field(0.0, description="AdamW's weight decay.")
    rating_weight: Weight = Field(1.0, description="Weight of a rating token beside a text token.")
    max_grad_norm: Positive = Field(1.0, description="Gradients are clipped to this norm.")
    checkpoint_every: Count = Field(500, description="Steps between checkpoints.")
