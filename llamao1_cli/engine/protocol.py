"""What the search asks of an engine, and what it gets back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from llamao1_cli.language import Meta


@dataclass(frozen=True)
class Request:
    """Continue a path by up to `len(metas)` thoughts.

    The continuation ends early at a thought that states a final answer, or where the path would
    outgrow the context.
    """

    path: list[int]  # tokens root to node, closed by its rating
    depth: int  # depth of the first new thought; the root has depth 0
    metas: tuple[Meta | None, ...]  # meta-action of each thought; None: the model writes its own
    hints: tuple[str | None, ...]  # sentence before each thought
    max_tokens: int  # of one thought
    temperature: float  # 0: the likeliest token
    seed: int  # of the samples; the result does not depend on the batch it ran in


@dataclass
class Thought:
    """One thought as sampled. The lists have one entry a sampled token."""

    meta: Meta | None
    text: str
    ids: list[int] = field(default_factory=list)  # sampled tokens, its end included if sampled
    logprobs: list[float] = field(default_factory=list)  # under the distribution sampled from
    entropy: list[float] = field(default_factory=list)  # of that distribution, in nats
    varentropy: list[float] = field(default_factory=list)  # variance of -log p under it
    forced_meta: bool = False  # the meta-action was written for the model, and is not in `ids`
    complete: bool = True  # the model ended it; else it was cut and closed
    value: float = 0.5  # probability of success, read at its rating
    shown: str = ""  # the rating token that the path shows after it


class Engine(Protocol):
    """Continues paths and rates them; it knows nothing of visits, rewards or trees."""

    generated_tokens: int  # sampled tokens so far

    def expand(self, requests: Sequence[Request]) -> list[list[Thought]]:
        """The new thoughts of each request, in the order of the path."""
        ...

    def rate(self, paths: Sequence[list[int]]) -> list[float]:
        """Probability of success of each path, which ends with an ended, unrated thought."""
        ...
