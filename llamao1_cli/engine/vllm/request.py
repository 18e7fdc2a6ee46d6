"""One request to vLLM: the row that it continues, or the path that it rates."""

from dataclasses import dataclass, field

from llamao1_cli.engine.rows import Row, Wants
from llamao1_cli.engine.sampler import TokenStats


@dataclass
class VllmRequest:
    """What vLLM reads and emits for one row, or for one path to be rated."""

    ticket: int
    row: Row | None  # None: a path to be rated
    path: list[int]  # tokens that are there when it begins
    forced: list[int] = field(default_factory=list)  # tokens to emit before anything is decided
    scored: list[int] = field(default_factory=list)  # tokens to emit and score after those
    tail: list[int] = field(default_factory=list)  # tokens to emit behind the scored ones
    stats: list[TokenStats] = field(default_factory=list)  # of the scored tokens so far
    emitted: list[int] = field(default_factory=list)
    rating: float | None = None  # of the path to be rated
    stale: bool = False  # its row has gone back to before a hint, and needs a new request

    @property
    def done(self) -> bool:
        """Whether vLLM has nothing left to do for it."""
        return self.stale or self.rating is not None or (self.row is not None and self.row.done)

    @property
    def wants(self) -> Wants:
        """What its next logits are for."""
        return Wants.RATING if self.row is None else self.row.wants

    def rescored(self) -> "VllmRequest":
        """Returns the request that follows a stale one: it scores the thought without its hint."""
        row = self.row
        assert row is not None
        before, tokens = list(row.fed), row.take()
        stop = row.scored + len(row.thought.ids)
        return VllmRequest(
            self.ticket,
            row,
            [*row.request.path, *before, *tokens[: row.scored]],
            scored=tokens[row.scored : stop],
            tail=tokens[stop:],
        )
