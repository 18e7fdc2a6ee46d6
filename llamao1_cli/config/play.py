"""The sections of self-play: the engine, who plays, and the search."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from llamao1_cli.config.registry import SEARCH_RULES, OneOf, phrases
from llamao1_cli.config.section import (
    ON_RESUME,
    Count,
    Fraction,
    Natural,
    Positive,
    Section,
    Weight,
)
from llamao1_cli.language.marked import METAS, Meta
from llamao1_cli.language.sampling import Sampling


class EngineConfig(Section):
    """The rollout engine; it runs on a copy of the weights with adapters merged."""

    backend: Literal["builtin", "vllm"] = Field(
        "builtin", description="What runs the model: this program, or vLLM (extra `vllm`)."
    )
    rows: Count = Field(
        256, description="Most continuations in flight at once.", json_schema_extra=ON_RESUME
    )
    memory_gib: Positive = Field(
        4.0,
        description="Most memory for keys and values; what was not used for longest goes.",
        json_schema_extra=ON_RESUME,
    )
    dtype: Literal["float32", "bfloat16"] | None = Field(
        None, description="Type of the rollout weights; null takes model.dtype."
    )


class SelfPlayConfig(Section):
    """Who plays: this process, or actors on a Ray cluster, each with an engine of its own.

    What the trainer evaluates it plays itself.
    """

    backend: Literal["local", "ray"] = Field(
        "local",
        description="This process, or a pool of actors on a Ray cluster (extra `ray`).",
        json_schema_extra=ON_RESUME,
    )
    address: str | None = Field(
        None,
        description="Address of the Ray cluster, such as 10.0.0.1:6379; null takes the one that "
        "the variable RAY_ADDRESS names, else starts one on this machine.",
        json_schema_extra=ON_RESUME,
    )
    actors: Count = Field(
        1, description="Actors; one that dies is started again.", json_schema_extra=ON_RESUME
    )
    cpus: Positive = Field(
        1.0, description="Cores that an actor reserves.", json_schema_extra=ON_RESUME
    )
    gpus: Weight = Field(
        0.0,
        description="GPUs, or the share of one, that an actor reserves.",
        json_schema_extra=ON_RESUME,
    )
    problems_at_once: Count | None = Field(
        None,
        description="Problems that an actor is handed at a time; null hands out even shares. Fewer "
        "balance the load, more fill the engine.",
        json_schema_extra=ON_RESUME,
    )
    max_staleness: Natural = Field(
        0,
        description="Iterations that a tree's weights may lag behind. 0 plays and learns in turn; "
        "from 1 on the actors play that many iterations ahead while the trainer learns, and older "
        "trees are dropped and their problems played again.",
    )

    @model_validator(mode="after")
    def _needs_actors(self) -> "SelfPlayConfig":
        if self.backend == "local" and (self.max_staleness or self.actors > 1):
            raise ValueError("max_staleness and actors need `backend: ray`; local plays in turn")
        return self


class SearchConfig(Section):
    """How trees of thoughts grow."""

    algorithm: Annotated[str, OneOf(SEARCH_RULES)] = Field(
        "mcts", description=f"Where trees grow: {phrases(SEARCH_RULES)}."
    )
    simulations: Count = Field(16, description="MCTS: selections a tree.")
    candidates: Count = Field(
        2, description="MCTS: children made by one expansion; beam search: by one prefix a step."
    )
    max_children: Count = Field(
        5, description="MCTS: a node takes children up to this number, then selection goes down."
    )
    selection: Literal["reference", "alphazero"] = Field(
        "reference", description="MCTS: rule that scores a child."
    )
    exploration: Weight = Field(
        1.4, description="MCTS, reference rule: weight c of the prior term."
    )
    varentropy_weight: Weight = Field(
        0.1, description="MCTS, reference rule: weight of a child's share of varentropy."
    )
    selection_noise: Fraction = Field(
        0.0, description="MCTS, reference rule: scores are multiplied by uniform(1 - x, 1 + x)."
    )
    root_noise: Fraction = Field(
        0.0, description="MCTS, alphazero rule: share of Dirichlet(0.3) noise in the root's prior."
    )
    patience: Natural = Field(
        0, description="MCTS: stop a tree after so many correct leaves; 0 never stops early."
    )
    rollout: bool = Field(
        True,
        description="MCTS: an expansion rolls on to a conclusion; else it stops after one thought.",
    )
    solutions: Count = Field(8, description="Distinct: most solutions a problem.")
    covered_mass: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0,
        description="Distinct: stop a tree when its solutions have this probability together. "
        "Below 1 the estimates are a little off: where a tree stops depends on what it drew.",
    )
    tree_tokens: Natural = Field(
        0,
        description="Distinct: stop a tree after so many generated tokens, with the same effect on "
        "the estimates; 0 never does.",
    )
    branches_at_once: Count = Field(
        2,
        description="Without replacement: most draws of one tree, or children of one node, that "
        "grow at the same time. More fill the engine; those that turn out to be too early teach "
        "nothing.",
    )
    chains: Count = Field(6, description="Forks: independent chains a problem.")
    forks: Weight = Field(
        2.0,
        description="Forks: forks a problem on average, given in turn to trees of mixed outcome, "
        "at uncertain steps, and to failed ones, at promising thoughts.",
    )
    max_forks: Natural = Field(6, description="Forks: most forks a tree.")
    replacement: bool = Field(
        True,
        description="Other searches: draw a node's children independently; false never draws one "
        "that is there.",
    )
    weights: Literal["set", "clock"] = Field(
        "set",
        description="What draws without replacement stand for: set, the same for a set of draws "
        "in whatever order; clock, by the time of the next draw.",
    )
    discount: Fraction = Field(1.0, description="Discount of a value a step up the tree.")
    max_depth: Count = Field(7, description="Most thoughts of a path.")
    max_thought_tokens: Count = Field(
        32, description="Most tokens of a thought; a longer one is cut and closed."
    )
    min_thought_tokens: Count = Field(1, description="Fewest tokens of a thought before its end.")
    temperature: Weight = Field(
        1.0, description="Sampling temperature; 0 takes the likeliest token."
    )
    top_k: Natural = Field(0, description="Sample among the k likeliest tokens; 0 takes all.")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="Sample among the fewest likeliest tokens that have this probability."
    )
    meta_actions: Literal["model", "matrix"] = Field(
        "model",
        description="Who chooses meta-actions: the model, or the tree's transition matrix.",
    )
    allowed_metas: Annotated[list[Meta], Field(min_length=1)] = Field(
        list(METAS), description="Meta-actions that may be chosen."
    )
    hints: Literal["none", "meta", "answer"] = Field(
        "none",
        description="A sentence before each thought: what the meta-action asks for, with `answer` "
        "the true answer too (self-play only). Needs meta_actions: matrix.",
    )
    show_ratings: bool = Field(
        False, description="Show each thought's rating in the path; else it reads unknown."
    )
    unfinished: Literal["failure", "rating"] = Field(
        "failure", description="What an unfinished leaf is worth: 0, or its value."
    )

    @property
    def draws_apart(self) -> bool:
        """Whether anything is drawn without replacement."""
        return self.algorithm == "distinct" or not self.replacement

    @model_validator(mode="after")
    def _consistent(self) -> "SearchConfig":
        if self.draws_apart and (self.meta_actions == "matrix" or self.temperature == 0):
            raise ValueError(
                "what is drawn without replacement (algorithm: distinct, replacement: false) needs "
                "`meta_actions: model` and a temperature above 0, for all of it has a probability"
            )
        if self.hints != "none" and self.meta_actions != "matrix":
            raise ValueError("hints need `meta_actions: matrix`, where the meta-action is known")
        if self.min_thought_tokens >= self.max_thought_tokens:
            raise ValueError("min_thought_tokens must be below max_thought_tokens")
        return self

    @property
    def sampling(self) -> Sampling:
        """Returns how a thought's tokens are drawn."""
        return Sampling(
            max_tokens=self.max_thought_tokens,
            min_tokens=self.min_thought_tokens,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
        )

    def unaided(self, **changes: Any) -> "SearchConfig":
        """Returns the search with `changes` for a problem whose answer nobody knows: no hints, no
        early stop at a right answer."""
        return self.model_copy(update={"hints": "none", "patience": 0, **changes})
