"""The sections of the model and of the supervised stage that prepares it."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from llamao1_cli.config.section import Count, ExpandedPath, Fraction, Positive, Section, Weight
from llamao1_cli.config.task import DataSource


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


class ModelConfig(Section):
    """The language model that proposes thoughts and rates them."""

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


class WarmupConfig(Section):
    """Supervised training on marked text; defaults are those published for the base model."""

    data: DataSource | None = Field(
        None,
        description="Marked texts, field `text`, or `prompt` and `completion` as `export --to sft` "
        "writes them; null takes the task's own demonstrations.",
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
