"""Tickets for what an engine is asked, and its results until they are fetched."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from llamao1_cli.engine.protocol import UNREAD, Request, Thought
from llamao1_cli.engine.rows import Rules


class TicketEngine(ABC):
    """The part of an `Engine` that is the same for every way of running the model.

    A subclass says how it queues paths and requests, whether it has work left, and how it takes one
    step. A step puts what it finishes into `_finished` or `_ratings`, by ticket.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules, self._language = rules, rules.language
        self._finished: list[tuple[int, list[Thought]]] = []
        self._ratings: dict[int, float] = {}
        self._tickets = 0
        self.forwarded = 0  # tokens the model has read

    def rate(self, paths: Sequence[list[int]]) -> list[float]:
        """Returns the probability of success of each path; see `Engine.rate`."""
        tickets = [self._ticket() for _ in paths]
        for path, ticket in zip(paths, tickets, strict=True):
            if len(path) < self._rules.max_length:
                self._queue_path([*path, *self._language.before_rating(True)], ticket)
            else:
                self._ratings[ticket] = UNREAD
        while any(ticket not in self._ratings for ticket in tickets):
            self._step()
        return [self._ratings.pop(ticket) for ticket in tickets]

    def submit(self, requests: Sequence[Request]) -> list[int]:
        """Queue requests; see `Engine.submit`."""
        tickets = [self._ticket() for _ in requests]
        self._queue_requests(requests, tickets)
        return tickets

    def poll(self) -> list[tuple[int, list[Thought]]]:
        """Work until something is finished; see `Engine.poll`."""
        while not self._finished and self._busy:
            self._step()
        finished, self._finished = self._finished, []
        return finished

    @abstractmethod
    def refresh(self) -> None:
        """Take over the model's weights of now; see `Engine.refresh`."""

    @property
    @abstractmethod
    def _busy(self) -> bool:
        """Whether requests are queued or in flight."""

    @abstractmethod
    def _queue_path(self, path: list[int], ticket: int) -> None:
        """Queue a path whose rating is read behind its last token."""

    @abstractmethod
    def _queue_requests(self, requests: Sequence[Request], tickets: Sequence[int]) -> None:
        """Queue requests; one whose path leaves no room for a thought is finished at once."""

    @abstractmethod
    def _step(self) -> None:
        """Take one step with what is queued and in flight."""

    def _ticket(self) -> int:
        self._tickets += 1
        return self._tickets
