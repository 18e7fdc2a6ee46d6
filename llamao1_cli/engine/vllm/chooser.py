"""Chooses every token that vLLM emits, with the rows and the sampler of the built-in engine."""

from collections.abc import Callable, Sequence

import torch

from llamao1_cli.engine.rows import Row, Wants, sample_rows
from llamao1_cli.engine.sampler import Sampler, make_choice, token_stats
from llamao1_cli.engine.vllm.request import VllmRequest
from llamao1_cli.language.protocol import Language

IGNORED = 0  # is emitted once a request is done, and nobody reads it


class TokenChooser:
    """The requests that vLLM works on, and the next token of each."""

    def __init__(self, language: Language) -> None:
        self.requests: dict[str, VllmRequest] = {}  # by the name that vLLM knows them by
        self._language = language
        self._sampler: Sampler | None = None  # made for the width of the first logits

    def choose(self, asked: Sequence[tuple[VllmRequest, int]], logits: torch.Tensor) -> list[int]:
        """Returns the next token of each request, given how many it has emitted, from its row of
        logits `[B, V]`.

        A question that is asked again, because vLLM read a prompt in parts, gets the same answer.
        """
        fresh = [(index, r) for index, (r, count) in enumerate(asked) if count == len(r.emitted)]
        self._decide([(i, r) for i, r in fresh if not r.forced and not r.done], logits)
        for _, request in fresh:
            forced = request.forced
            request.emitted.append(forced.pop(0) if forced else IGNORED)
        return [request.emitted[count] for request, count in asked]

    def _decide(self, waiting: list[tuple[int, VllmRequest]], logits: torch.Tensor) -> None:
        """Use the logits for what each request wants, and fill what it is to emit next."""
        actions: dict[Wants, Callable[[list[VllmRequest], torch.Tensor], None]] = {
            Wants.SCORES: self._score,
            Wants.RATING: self._rate,
            Wants.TOKEN: self._sample,
        }
        chosen = {wants: [each for each in waiting if each[1].wants is wants] for wants in actions}
        for wants, act in actions.items():
            if chosen[wants]:
                index = torch.tensor([index for index, _ in chosen[wants]], device=logits.device)
                act([request for _, request in chosen[wants]], logits[index])

    def _sample(self, requests: list[VllmRequest], logits: torch.Tensor) -> None:
        rows = _rows(requests)
        sample_rows(rows, logits, self._sampler_for(logits))
        for request, row in zip(requests, rows, strict=True):
            request.stale = row.wants is Wants.SCORES
            if not request.stale:
                request.forced = row.take()

    def _score(self, requests: list[VllmRequest], logits: torch.Tensor) -> None:
        rows = _rows(requests)
        choice = make_choice(
            [row.request.sampling for row in rows],
            [row.role(len(request.stats)) for request, row in zip(requests, rows, strict=True)],
            [0.0] * len(rows),
            logits.device,
        )
        tokens = torch.tensor([request.scored[0] for request in requests], device=logits.device)
        stats = token_stats(self._sampler_for(logits).draw(logits, choice, tokens))
        for request, row, each in zip(requests, rows, stats, strict=True):
            request.stats.append(each)
            request.forced = [request.scored.pop(0)]
            if not request.scored:
                row.rescored(request.stats)
                row.wants = Wants.RATING
                request.forced += request.tail

    def _rate(self, requests: list[VllmRequest], logits: torch.Tensor) -> None:
        ratings = self._language.rating_logits(logits).sigmoid()
        for request, rating in zip(requests, ratings.tolist(), strict=True):
            if request.row is None:
                request.rating = rating
            else:
                request.row.close(rating)
                if not request.row.done:
                    request.forced = request.row.take()

    def _sampler_for(self, logits: torch.Tensor) -> Sampler:
        if self._sampler is None:
            grammar = self._language.grammar(logits.shape[-1]).to(logits.device)
            self._sampler = Sampler(grammar)
        return self._sampler


def _rows(requests: Sequence[VllmRequest]) -> list[Row]:
    """Returns the rows of requests that have one."""
    return [request.row for request in requests if request.row is not None]
