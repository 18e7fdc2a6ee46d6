"""The typed configuration of one run: one section a class, one sentence under every field."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from llamao1_cli.engine.protocol import Sampling
from llamao1_cli.language import METAS, Meta

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]


class Section(BaseModel):
    """A section of the configuration; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", validate_default=True, protected_namespaces=())


class RunConfig(Section):
    """Where the run lives and how long it goes on."""

    dir: str = Field("runs/default", description="Run folder; every file of the run is in it.")
    seed: Natural = Field(0, description="Seed of everything random in the run.")
    iterations: Natural = Field(10, description="Rounds of self-play and update.")
    budget_seconds: Weight = Field(
        0.0, description="Stop earlier after so many seconds of self-play and update; 0: never."
    )
    budget_tokens: Natural = Field(
        0, description="Stop earlier after so many generated tokens; 0: never."
    )
    checkpoint_every: Count = Field(5, description="Iterations between checkpoints.")
    keep_checkpoints: Count = Field(2, description="Newest checkpoints that are kept.")
    threads: Natural = Field(0, description="CPU threads of torch; 0 leaves torch's own choice.")
    trackers: list[Literal["tensorboard", "wandb"]] = Field(
        [], description="Trackers beside metrics.jsonl; each needs the extra of its name."
    )


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

    path: str | None = Field(
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
    def _one_place(self) -> "DataSource":
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

    workers: Count = Field(1, description="Worker processes.")
    timeout_s: Positive = Field(3.0, description="Seconds after which an answer counts as wrong.")


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


class EngineConfig(Section):
    """The rollout engine; it runs on a copy of the weights with adapters merged."""

    backend: Literal["builtin", "vllm"] = Field(
        "builtin", description="What runs the model: this program, or vLLM (extra `vllm`)."
    )
    rows: Count = Field(256, description="Most continuations in flight at once.")
    memory_gib: Positive = Field(
        4.0, description="Most memory for keys and values; what was not used for longest goes."
    )
    dtype: Literal["float32", "bfloat16"] | None = Field(
        None, description="Type of the rollout weights; null takes model.dtype."
    )


class SelfPlayConfig(Section):
    """Who plays: this process, or actors on a Ray cluster, each with an engine of its own.

    What the trainer evaluates it plays itself.
    """

    backend: Literal["local", "ray"] = Field(
        "local", description="This process, or a pool of actors on a Ray cluster (extra `ray`)."
    )
    address: str | None = Field(
        None,
        description="Address of the Ray cluster, such as 10.0.0.1:6379; null takes the one that "
        "the variable RAY_ADDRESS names, else starts one on this machine.",
    )
    actors: Count = Field(1, description="Actors; one that dies is started again.")
    cpus: Positive = Field(1.0, description="Cores that an actor reserves.")
    gpus: Weight = Field(0.0, description="GPUs, or the share of one, that an actor reserves.")
    problems_at_once: Count | None = Field(
        None,
        description="Problems that an actor is handed at a time; null hands out even shares. Fewer "
        "balance the load, more fill the engine.",
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

    algorithm: Literal["mcts", "forks"] = Field(
        "mcts",
        description="mcts, or independent chains and then forks at their most uncertain steps.",
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
    chains: Count = Field(6, description="Forks: independent chains a problem.")
    forks: Weight = Field(
        2.0,
        description="Forks: forks a problem on average, given in turn to trees of mixed outcome, "
        "at uncertain steps, and to failed ones, at promising thoughts.",
    )
    max_forks: Natural = Field(6, description="Forks: most forks a tree.")
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

    @model_validator(mode="after")
    def _consistent(self) -> "SearchConfig":
        if self.hints != "none" and self.meta_actions != "matrix":
            raise ValueError("hints need `meta_actions: matrix`, where the meta-action is known")
        if self.min_thought_tokens >= self.max_thought_tokens:
            raise ValueError("min_thought_tokens must be below max_thought_tokens")
        return self

    @property
    def sampling(self) -> Sampling:
        """How a thought's tokens are drawn."""
        return Sampling(
            max_tokens=self.max_thought_tokens,
            min_tokens=self.min_thought_tokens,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
        )

    def unaided(self, **changes: Any) -> "SearchConfig":
        """The search with `changes` for a problem whose answer nobody knows: no hints, no early
        stop at a right answer."""
        return self.model_copy(update={"hints": "none", "patience": 0, **changes})


class LearnConfig(Section):
    """How experiences become gradient steps."""

    algorithm: Literal["rlsp", "grpo", "k15", "expert_iteration", "continued_warmup"] = Field(
        "rlsp",
        description="What is learned: rlsp, a credit for each thought of a tree; grpo, one credit "
        "for all thoughts of a solution; k15, Kimi k1.5's mirror descent on whole solutions; "
        "expert_iteration, imitation of right solutions; continued_warmup, the control: no "
        "self-play, more of the warm-up's demonstrations.",
    )
    problems: Count = Field(32, description="Problems played an iteration.")
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


class ValueHeadConfig(Section):
    """A small network that judges every path by its ratings and its token log-probs."""

    kind: Literal["features"] = Field(
        "features", description="Selects this judge; so does a section without `kind`."
    )
    path: str | None = Field(
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
    """A value head without a kind is of the first one."""
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


class ReplayConfig(Section):
    """Prioritized replay of experiences."""

    capacity: Count = Field(
        20_000, description="Most experiences, one a tree; new ones overwrite the oldest."
    )
    alpha: Fraction = Field(0.0, description="Exponent of the priorities; 0 draws uniformly.")
    beta: Fraction = Field(0.4, description="First exponent of the weights; it anneals to 1.")
    max_age: Natural = Field(
        0, description="Experiences older than so many iterations are dropped; 0 is on-policy."
    )
    draws: Positive = Field(
        1.0, description="Experiences drawn an iteration for each new one; 1 is one epoch."
    )


StrategyName = Literal[
    "greedy",
    "pass",
    "majority",
    "best_of",
    "best_of:min",
    "best_of:product",
    "best_of:mean",
    "weighted_vote",
    "weighted_vote:min",
    "weighted_vote:product",
    "weighted_vote:mean",
    "best_of_judge",
    "best_of_judge:min",
    "best_of_judge:product",
    "best_of_judge:mean",
    "weighted_vote_judge",
    "weighted_vote_judge:min",
    "weighted_vote_judge:product",
    "weighted_vote_judge:mean",
    "beam",
    "beam_judge",
    "mcts",
    "mcts_reference",
    "mcts_alphazero",
    "mcts_confidence",
    "mcts_judge",
    "self_refine",
]


class EvalConfig(Section):
    """Accuracy on held-out problems."""

    every: Natural = Field(
        0, description="Iterations between evaluations; 0 evaluates before and after only."
    )
    problems: Count = Field(500, description="Held-out problems.")
    strategies: Annotated[list[StrategyName], Field(min_length=1)] = Field(
        ["greedy"],
        description="Test-time strategies of every evaluation. `pass` tells whether any sample is "
        "right. best_of and weighted_vote go by the value of a sample's last thought, or by its "
        "thoughts' smallest value, their product or their mean; beam by the values step by step. "
        "mcts selects by search.selection, mcts_reference and mcts_alphazero by their own rule; "
        "mcts_confidence needs no values: a path is worth the geometric mean probability of "
        "its tokens. Names with `_judge` go by the values of the section `judge` instead; they are "
        "names of their own, so that one evaluation shows what the judge adds, and nothing else "
        "pays for it. self_refine rewrites whole solutions and takes the most preferred.",
    )
    samples: Count = Field(8, description="Solutions sampled a problem.")
    temperature: Positive = Field(1.0, description="Temperature of all strategies but greedy.")
    simulations: Count = Field(4, description="Simulations of MCTS; rewritings of self_refine.")
    beam_width: Count = Field(4, description="Beam search: prefixes kept at every step.")
    pairwise: str | None = Field(
        None,
        description="self_refine: folder that `reward train --kind pairwise` wrote, whose judge "
        "compares solutions; null prefers by sigma(logit v1 - logit v2), v being the value of a "
        "solution's last thought.",
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
        None, description="An external judge, for the strategies with `_judge` in their names."
    )
    reward: RewardConfig | None = Field(None, description="Training of judges; no part of a run.")
    replay: ReplayConfig = Field(ReplayConfig(), description="The replay buffer.")
    eval: EvalConfig = Field(EvalConfig(), description="The evaluation.")

    @model_validator(mode="after")
    def _fit_the_algorithm(self) -> "Config":
        learn, search = self.learn, self.search
        if learn.algorithm == "continued_warmup" and self.warmup is None:
            raise ValueError("learn.algorithm: continued_warmup needs the section `warmup`")
        if learn.algorithm == "continued_warmup" and learn.kl_weight:
            raise ValueError("learn.kl_weight: continued_warmup has no such term; set it to 0")
        if learn.algorithm == "k15" and (search.algorithm != "forks" or search.forks):
            raise ValueError(
                "learn.algorithm: k15 learns from whole solutions; set search.algorithm: forks and "
                "search.forks: 0"
            )
        return self
