"""An engine that does the same work in the two plain ways, for others to be measured against."""

from collections.abc import Sequence
from typing import TypeVar

import torch
from transformers import PreTrainedModel

from llamao1_cli.engine.protocol import Request, Thought
from llamao1_cli.engine.rows import Rules
from llamao1_cli.engine.tickets import TicketEngine
from llamao1_cli.language.distribution import action_scores, entropy_figures
from llamao1_cli.language.protocol import Language

T = TypeVar("T")


class GenerateEngine(TicketEngine):
    """Continues paths by one thought with `generate`, reading the whole path again each time, and
    rates with one more forward over all of it.

    `batched`: all requests that wait go into one left-padded call; else each has its own, as in the
    reference implementation of LLaMA-O1.
    """

    def __init__(
        self, model: PreTrainedModel, language: Language, *, max_length: int, batched: bool
    ) -> None:
        super().__init__(Rules(language, max_length, show_ratings=False))
        self._model, self._batched = model, batched
        vocabulary = model.get_output_embeddings().weight.shape[0]
        self._grammar = language.grammar(vocabulary).to(model.device)
        self._paths: list[tuple[int, list[int]]] = []  # to be rated
        self._requests: list[tuple[int, Request]] = []

    def refresh(self) -> None:
        """Do nothing: this engine runs on the model itself."""

    @property
    def _busy(self) -> bool:
        return bool(self._requests)

    def _queue_path(self, path: list[int], ticket: int) -> None:
        self._paths.append((ticket, path))

    def _queue_requests(self, requests: Sequence[Request], tickets: Sequence[int]) -> None:
        self._requests += zip(tickets, requests, strict=True)

    def _step(self) -> None:
        """Rate the paths that wait, or else answer the requests: all if batched, else the first."""
        if self._paths:
            paths, self._paths = self._taken(self._paths)
            ratings = self._rated([path for _, path in paths])
            self._ratings |= {t: rating for (t, _), rating in zip(paths, ratings, strict=True)}
            return
        requests, self._requests = self._taken(self._requests)
        thoughts = self._generate([request for _, request in requests])
        self._finished += [(t, [made]) for (t, _), made in zip(requests, thoughts, strict=True)]

    def _taken(self, waiting: list[T]) -> tuple[list[T], list[T]]:
        """Returns what the next step works on, and what waits for a later one."""
        count = len(waiting) if self._batched else 1
        return waiting[:count], waiting[count:]

    def _rated(self, paths: list[list[int]]) -> list[float]:
        """Returns the ratings read behind the paths' last tokens."""
        ids, mask = self._padded(paths)
        with torch.inference_mode():
            logits = self._model(
                input_ids=ids, attention_mask=mask, logits_to_keep=1, use_cache=False
            ).logits[:, -1]
        self.forwarded += ids.numel()
        ratings = self._language.rating_logits(logits).sigmoid()
        return [float(rating) for rating in ratings.tolist()]

    def _generate(self, requests: list[Request]) -> list[Thought]:
        """Returns one rated thought a request."""
        prompts = [[*r.path, *self._language.opening(r.depth)] for r in requests]
        sizes = [request.sampling.max_tokens for request in requests]
        torch.manual_seed(requests[0].seed % 2**63)
        tokens, logits = self._sampled(prompts, max(sizes))
        thoughts = [
            self._thought(tokens[row, :size], torch.stack([step[row] for step in logits[:size]]))
            for row, size in enumerate(sizes)
        ]
        close = self._language.before_rating(False)
        ended = [[*p, *t.ids, *close] for p, t in zip(prompts, thoughts, strict=True)]
        for thought, rating in zip(thoughts, self._rated(ended), strict=True):
            thought.rating = rating
        return thoughts

    @torch.inference_mode()
    def _sampled(
        self, prompts: list[list[int]], count: int
    ) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        """Returns `count` sampled tokens `[B, count]` behind the prompts, and the logits `[B, V]`
        of each sample."""
        ids, mask = self._padded(prompts)
        forbidden = (~self._grammar[self._language.role(0, True, 1)]).nonzero().squeeze(-1).tolist()
        out = self._model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=True,
            max_new_tokens=count,
            min_new_tokens=count,
            suppress_tokens=forbidden,
            pad_token_id=0,
            top_k=0,
            return_dict_in_generate=True,
            output_logits=True,
        )
        self.forwarded += ids.numel() + len(prompts) * (count - 1)
        return out.sequences[:, ids.shape[1] :], out.logits

    def _thought(self, tokens: torch.Tensor, logits: torch.Tensor) -> Thought:
        """Returns a thought of all the tokens `[T]`, cut there, with the figures that the search
        wants, from logits `[T, V]`."""
        size = len(tokens)
        roles = [self._language.role(index, False, size) for index in range(size)]
        scores = action_scores(logits, self._grammar[roles], 1.0)
        log_total, entropy, varentropy = entropy_figures(scores.exp(), scores)
        chosen = scores.gather(-1, tokens.unsqueeze(-1)).squeeze(-1) - log_total
        meta, text = self._language.decode(tokens.tolist())
        return Thought(
            meta,
            text,
            ids=tokens.tolist(),
            logprobs=chosen.tolist(),
            entropy=entropy.tolist(),
            varentropy=varentropy.tolist(),
            complete=False,
            shown=self._language.shown_rating(None, show=False),
        )

    def _padded(self, rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the rows filled up from the left, and a mask of what is no padding; `[B, T]`."""
        longest = max(len(row) for row in rows)
        device = self._model.device
        ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows], device=device)
        pads = torch.tensor([[longest - len(row)] for row in rows], device=device)
        return ids, (torch.arange(longest, device=device)[None] >= pads).long()
