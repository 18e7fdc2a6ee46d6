"""Engines that do the same work in the two plain ways, to be measured against."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from llamao1_cli.engine.protocol import Request, Thought
from llamao1_cli.language.codec import Codec, Role, role_of
from llamao1_cli.language.distribution import action_scores, moments, rating_probability
from llamao1_cli.language.marked import Rating


class GenerateEngine:
    """Continues paths by one thought with `generate`, reading the whole path again each time, and
    rates with one more forward over all of it.

    `batched`: all requests that wait go into one left-padded call; else each has its own, as in the
    reference implementation of LLaMA-O1.
    """

    def __init__(self, model: PreTrainedModel, codec: Codec, *, batched: bool) -> None:
        self._model, self._codec, self._batched = model, codec, batched
        vocabulary = model.get_output_embeddings().weight.shape[0]
        self._grammar = codec.grammar(vocabulary).to(model.device)
        self._queue: list[tuple[int, Request]] = []
        self._tickets = 0
        self.forwarded = 0

    def rate(self, paths: Sequence[list[int]]) -> list[float]:
        """Probability of success of each path; see `Engine.rate`."""
        size = len(paths) if self._batched else 1
        values: list[float] = []
        for start in range(0, len(paths), size):
            chunk = [[*path, self._codec.rating_start] for path in paths[start : start + size]]
            ids, mask = self._padded(chunk)
            with torch.inference_mode():
                logits = self._model(
                    input_ids=ids, attention_mask=mask, logits_to_keep=1, use_cache=False
                ).logits[:, -1]
            self.forwarded += ids.numel()
            codec = self._codec
            values += rating_probability(logits, codec.positive, codec.negative).tolist()
        return values

    def submit(self, requests: Sequence[Request]) -> list[int]:
        """Queue requests of one thought each; see `Engine.submit`."""
        tickets = range(self._tickets, self._tickets + len(requests))
        self._tickets += len(requests)
        self._queue += zip(tickets, requests, strict=True)
        return list(tickets)

    def poll(self) -> list[tuple[int, list[Thought]]]:
        """The thoughts of what is in the queue: of all if batched, else of the first."""
        count = len(self._queue) if self._batched else 1
        taken, self._queue = self._queue[:count], self._queue[count:]
        if not taken:
            return []
        made = self._generate([request for _, request in taken])
        return [(ticket, [thought]) for (ticket, _), thought in zip(taken, made, strict=True)]

    def refresh(self) -> None:
        """It runs on the model itself."""

    def _generate(self, requests: list[Request]) -> list[Thought]:
        codec = self._codec
        prompts = [[*r.path, *codec.header(r.depth)] for r in requests]
        ids, mask = self._padded(prompts)
        most = max(request.sampling.max_tokens for request in requests)
        torch.manual_seed(requests[0].seed % 2**63)
        forbidden = (~self._grammar[Role.WORDS]).nonzero().squeeze(-1).tolist()
        with torch.inference_mode():
            out = self._model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=True,
                max_new_tokens=most,
                min_new_tokens=most,
                suppress_tokens=forbidden,
                pad_token_id=0,
                top_k=0,
                return_dict_in_generate=True,
                output_logits=True,
            )
        self.forwarded += ids.numel() + len(requests) * (most - 1)
        made = []
        for row, request in enumerate(requests):
            size = request.sampling.max_tokens
            tokens = out.sequences[row, ids.shape[1] : ids.shape[1] + size]
            logits = torch.stack([step[row] for step in out.logits[:size]])
            made.append(self._thought(request, tokens, logits))
        ends = [[*p, *t.ids, codec.thought_end] for p, t in zip(prompts, made, strict=True)]
        for thought, value in zip(made, self.rate(ends), strict=True):
            thought.rating = value
        return made

    def _thought(self, request: Request, tokens: torch.Tensor, logits: torch.Tensor) -> Thought:
        """A thought cut at its length, with the figures that the search wants."""
        size = len(tokens)
        places = [role_of(index, False, size) for index in range(size)]
        scores = action_scores(logits, self._grammar[places], 1.0)
        log_total, entropy, varentropy = moments(scores.exp(), scores)
        chosen = scores.gather(-1, tokens.unsqueeze(-1)).squeeze(-1) - log_total
        meta, text = self._codec.decode(tokens.tolist())
        return Thought(
            meta,
            text,
            ids=tokens.tolist(),
            logprobs=chosen.tolist(),
            entropy=entropy.tolist(),
            varentropy=varentropy.tolist(),
            complete=False,
            shown=Rating.UNKNOWN,
        )

    def _padded(self, rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        longest = max(len(row) for row in rows)
        device = self._model.device
        ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows], device=device)
        pads = torch.tensor([[longest - len(row)] for row in rows], device=device)
        return ids, (torch.arange(longest, device=device)[None] >= pads).long()
