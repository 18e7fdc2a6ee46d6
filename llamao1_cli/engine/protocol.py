"""What the search asks of an engine, and what it gets back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from llamao1_cli.language.marked import Meta
from llamao1_cli.language.sampling import Sampling

UNREAD = 0.5  # the rating of a path that does not fit into the context


@dataclass(frozen=True)
class Beginning:
    """Tokens that a thought begins with because they were sampled before, and what may not follow.

    The first draw behind them takes none of the `barred` tokens, but keeps the log-prob that it has
    without the bar. Where nothing else is left, the request comes back with no thoughts.
    """

    ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()  # these three as in `Thought`
    entropy: tuple[float, ...] = ()
    varentropy: tuple[float, ...] = ()
    barred: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Request:
    """Continue a path by up to `len(metas)` thoughts.

    The continuation ends early at a thought that states a final answer, or where the path would
    outgrow the context.
    """

    path: list[int]  # tokens root to node, with what closes it
    depth: int  # depth of the first new thought; the root has depth 0
    metas: tuple[Meta | None, ...]  # meta-action of each thought; None: the model writes its own
    hints: tuple[str | None, ...]  # sentence before each thought, seen by that thought alone
    sampling: Sampling
    seed: int  # of the samples; the result does not depend on what else is in flight
    budget: int | None = None  # tokens sampled for all its thoughts; the last one may be cut
    begins: Beginning = Beginning()  # of the first thought, which then has no meta-action or hint


@dataclass
class Thought:
    """One thought as sampled. The lists have one entry a sampled token."""

    meta: Meta | None
    text: str
    ids: list[int] = field(default_factory=list)  # sampled tokens, its end included if sampled
    logprobs: list[float] = field(default_factory=list)  # under the distribution sampled from
    entropy: list[float] = field(default_factory=list)  # of that distribution, in nats
    varentropy: list[float] = field(default_factory=list)  # variance of -log p under it
    known: int = 0  # of `ids` at its start that were sampled before, for an earlier thought
    forced_meta: bool = False  # the meta-action was written for the model, and is not in `ids`
    complete: bool = True  # the model ended it; else it was cut and closed
    # Probability of success that the language model gives it; None in a language without ratings.
    rating: float | None = UNREAD
    shown: str = ""  # the rating token that stands behind it on the path, if any
    final: bool = False  # the model ended its solution with it

    @property
    def generated(self) -> int:
        """How many tokens were generated for it."""
        return len(self.ids) - self.known


class Engine(Protocol):
    """Continues paths and rates them; it knows nothing of visits, rewards or trees."""

    def rate(self, paths: Sequence[list[int]]) -> list[float]:
        """Returns the probability of success of each path, which ends with an ended, unrated
        thought; `UNREAD` for one that does not fit into the context."""
        ...

    def submit(self, requests: Sequence[Request]) -> list[int]:
        """Queue requests, and return a ticket for each. Neighbours in the list that have the same
        path share its reading."""
        ...

    def poll(self) -> list[tuple[int, list[Thought]]]:
        """Work until something is finished, and return the tickets with their thoughts in path
        order; [] if nothing is left to do.

        A request whose path leaves no room for a thought comes back with none, and so does one
        that bars all that could follow.
        """
        ...

    def refresh(self) -> None:
        """Take over the trained model's weights of now. Nothing may be in flight."""
        ...


def complete(engine: Engine, requests: Sequence[Request]) -> list[list[Thought]]:
    """Returns the new thoughts of each request, once all of them are finished."""
    tickets = engine.submit(requests)
    results: dict[int, list[Thought]] = {}
    while finished := engine.poll():
        results |= dict(finished)
    return [results[ticket] for ticket in tickets]
