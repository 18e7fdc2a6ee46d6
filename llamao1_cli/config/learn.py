"""The sections of the update and of the replay behind it."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from llamao1_cli.config.registry import ALGORITHMS, OneOf, phrases
from llamao1_cli.config.section import Count, Fraction, Natural, Positive, Section, Weight


class LearnConfig(Section):
    """How experiences become gradient steps."""

    algorithm: Annotated[str, OneOf(ALGORITHMS)] = Field(
        "rlsp", description=f"What is learned: {phrases(ALGORITHMS)}."
    )
    problems: Count = Field(32, description="Problems played an iteration.")
    resample: bool = Field(
        False,
        description="Keep trees whose solutions are all worth the same out of the replay, and play "
        "further problems in their place (DAPO's dynamic sampling): `problems` then counts trees "
        "that tell better from worse.",
    )
    resample_limit: Count = Field(
        4, description="With resample: an iteration plays `problems` times so many at most."
    )
    curriculum: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        description="Play the easiest level of the task first, and the next one as soon as this "
        "share of an iteration's solutions is right; null plays the highest level, as evaluation "
        "always does.",
    )
    credit: Literal["gae", "tree", "treerl", "group"] = Field(
        "group",
        description="rlsp: what gives a thought its advantage. group (its gain in value over the "
        "root, over the standard deviation of the tree's leaves), treerl (over parent and root, "
        "times the root of its leaves) and tree (over the parent) need graded leaves; gae needs "
        "values that can be trusted, and fails where success is rare.",
    )
    gae_lambda: Fraction = Field(0.95, description="Lambda of credit `gae`.")
    group_std: bool = Field(
        True, description="grpo: divide by the standard deviation of a problem's outcomes."
    )
    mirror_weight: Weight = Field(
        0.1, description="k15: weight of a solution's squared log-ratio to what sampled it."
    )
    length_weight: Weight = Field(
        0.1, description="k15: weight of the reward of short solutions; 0 switches it off."
    )
    clip: Positive = Field(0.2, description="PPO clip range of the probability ratio.")
    clip_high: Positive | None = Field(
        None, description="Clip range upwards, where it differs (DAPO takes 0.28)."
    )
    ratio_cap: Positive = Field(
        3.0, description="Cap of the probability ratio where a bad thought has become likelier."
    )
    value_weight: Weight = Field(
        0.25, description="Weight of the value loss; 1 and more hurts the shared trunk."
    )
    kl_weight: Weight = Field(
        0.0, description="Weight of the KL to the model as it was before self-play."
    )
    batch_size: Count = Field(4, description="Trees an optimizer step, over all ranks.")
    micro_batch_tokens: Count = Field(
        8192,
        description="Most tokens a forward pass; what a tree's paths share counts once. A larger "
        "tree is split between branches.",
    )
    checkpoint_activations: bool = Field(
        False,
        description="Compute activations again in the backward pass, that of the warm-up too: less "
        "memory, more time.",
    )
    learning_rate: Positive = Field(3e-4, description="Peak learning rate.")
    final_rate: Fraction = Field(0.2, description="Share of the peak left at the end of the run.")
    ramp_iterations: Natural = Field(4, description="Iterations that ramp the rate up.")
    betas: tuple[Fraction, Fraction] = Field((0.9, 0.98), description="AdamW's decay rates.")
    weight_decay: Weight = Field(0.0, description="AdamW's weight decay.")
    max_grad_norm: Positive = Field(1.0, description="Gradients are clipped to this norm.")

    @model_validator(mode="after")
    def _cap_above_clip(self) -> "LearnConfig":
        highest = 1 + max(self.clip, self.clip_upwards)
        if self.ratio_cap <= highest:
            raise ValueError(f"ratio_cap must be above 1 + clip ({highest:g})")
        return self

    @property
    def clip_upwards(self) -> float:
        """How far the ratio may rise."""
        return self.clip if self.clip_high is None else self.clip_high


class RestartsConfig(Section):
    """Trees that begin along paths of earlier successes."""

    share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.25, description="Most of an iteration's problems that begin so."
    )
    capacity: Count = Field(
        1000, description="Problems of which a path is kept; the longest unused go first."
    )


class ReplayConfig(Section):
    """Prioritized replay of experiences, and of states to begin from."""

    capacity: Count = Field(
        20_000, description="Most experiences, one a tree; new ones overwrite the oldest."
    )
    alpha: Fraction = Field(0.0, description="Exponent of the priorities; 0 draws uniformly.")
    beta: Fraction = Field(0.4, description="First exponent of the weights; it anneals to 1.")
    max_age: Natural = Field(
        0, description="Experiences older than so many iterations are dropped; 0 is on-policy."
    )
    draws: Positive = Field(
        2.0, description="Experiences drawn an iteration for each new one; 2 is two epochs."
    )
    restarts: RestartsConfig | None = Field(
        None,
        description="Let a share of the trees begin along paths of problems that are solved less "
        "often than once in five, where success is neither rare nor sure; null never does.",
    )
