"""vLLM as the engine: it runs the model, and the tokens are chosen here.

A logits processor inside vLLM hands every row's logits to the same rows and the same sampler as the
built-in engine's, and leaves vLLM one token to choose. Headers and ratings are forced the same way,
so that a whole roll-out is one request, and entropies and ratings cost nothing more.
"""

import os
import tempfile
from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from llamao1_cli.engine.builtin.weights import merged_weights, plain_copy, shape_of
from llamao1_cli.engine.protocol import UNREAD, Request, Thought
from llamao1_cli.engine.rows import Row, Rules, Wants, sample_rows
from llamao1_cli.engine.sampler import Sampler, choice_of, figures_of
from llamao1_cli.engine.vllm.drives import Drive, processor_for
from llamao1_cli.errors import RunFailedError, UserError
from llamao1_cli.language.codec import Codec
from llamao1_cli.language.distribution import rating_probability

BLOCK = 32  # tokens; prefixes are found again by whole blocks, and CPU takes no smaller ones


class VllmEngine:
    """Continues and rates paths with vLLM inside this process; see `Engine` for the protocol.

    Raises UserError where vLLM is not installed.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        codec: Codec,
        *,
        dtype: torch.dtype,
        rows: int,
        memory: int,
        max_length: int,
        show_ratings: bool = False,
    ) -> None:
        self._source, self._codec = model, codec
        self._rules = Rules(codec, max_length, show_ratings)
        self.drives: dict[str, Drive] = {}
        self._finished: list[tuple[int, list[Thought]]] = []
        self._values: dict[int, float] = {}
        self._tickets = self._requests = 0
        self._sampler: Sampler | None = None
        self.forwarded = 0  # tokens that vLLM has read, those found in its cache left out
        self._llm = self._start(dtype, rows, memory, max_length)

    def rate(self, paths: Sequence[list[int]]) -> list[float]:
        """Probability of success of each path; see `Engine.rate`."""
        tickets = [self._ticket() for _ in paths]
        for path, ticket in zip(paths, tickets, strict=True):
            if len(path) < self._rules.max_length:
                self._add(Drive(ticket, None, [*path, self._codec.rating_start]))
            else:
                self._values[ticket] = UNREAD
        while any(ticket not in self._values for ticket in tickets):
            self._step()
        return [self._values.pop(ticket) for ticket in tickets]

    def submit(self, requests: Sequence[Request]) -> list[int]:
        """Queue requests; see `Engine.submit`."""
        tickets = []
        for request in requests:
            tickets.append(self._ticket())
            row = Row(request, tickets[-1], self._rules, shared=len(request.path))
            opening = row.opening()
            if opening is None:
                self._finished.append((row.ticket, []))
            else:
                row.begin(opening)
                self._add(Drive(row.ticket, row, [*request.path, *row.take()]))
        return tickets

    def poll(self) -> list[tuple[int, list[Thought]]]:
        """Work until something is finished; see `Engine.poll`."""
        while not self._finished and self.drives:
            self._step()
        finished, self._finished = self._finished, []
        return finished

    def refresh(self) -> None:
        """Take over the model's weights of now, in place; see `Engine.refresh`."""
        weights = merged_weights(self._source)
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
        if not self._llm.reset_prefix_cache():
            raise RunFailedError("vLLM could not forget what it had read with the old weights")

    def decide(self, drives: Sequence[tuple[Drive, int]], logits: torch.Tensor) -> list[int]:
        """The next token of each drive, which has emitted so many, from its row of `[B, V]`.

        A question that is asked again, because vLLM read a prompt in parts, gets the same answer.
        """
        if self._sampler is None:
            grammar = self._codec.grammar(logits.shape[-1]).to(logits.device)
            self._sampler = Sampler(grammar)
        asked: dict[Wants, list[tuple[int, Drive]]] = {wants: [] for wants in Wants}
        for place, (drive, count) in enumerate(drives):
            if count == len(drive.emitted) and not drive.forced and not drive.done:
                asked[drive.wants].append((place, drive))
        for wants, act in (
            (Wants.SCORES, self._score),
            (Wants.VALUE, self._read),
            (Wants.TOKEN, self._draw),
        ):
            if asked[wants]:
                index = torch.tensor([place for place, _ in asked[wants]], device=logits.device)
                act([drive for _, drive in asked[wants]], logits[index])
        for drive, count in drives:
            if count == len(drive.emitted):
                # Nobody reads what a drive emits that is done.
                drive.emitted.append(
                    drive.forced.pop(0) if drive.forced else self._codec.thought_end
                )
        return [drive.emitted[count] for drive, count in drives]

    def _draw(self, drives: list[Drive], logits: torch.Tensor) -> None:
        rows = [drive.row for drive in drives if drive.row is not None]
        assert self._sampler is not None
        sample_rows(rows, logits, self._sampler)
        for drive, row in zip(drives, rows, strict=True):
            drive.stale = row.wants is Wants.SCORES
            if not drive.stale:
                drive.forced = row.take()

    def _score(self, drives: list[Drive], logits: torch.Tensor) -> None:
        rows = [drive.row for drive in drives if drive.row is not None]
        assert self._sampler is not None
        choice = choice_of(
            [row.request.sampling for row in rows],
            [row.role(len(drive.figures)) for drive, row in zip(drives, rows, strict=True)],
            [0.0] * len(rows),
            logits.device,
        )
        tokens = torch.tensor([drive.scored[0] for drive in drives], device=logits.device)
        figures = figures_of(self._sampler.draw(logits, choice, tokens))
        for drive, row, each in zip(drives, rows, figures, strict=True):
            drive.figures.append(each)
            drive.forced = [drive.scored.pop(0)]
            if not drive.scored:
                row.rescored(drive.figures)
                row.wants = Wants.VALUE
                drive.forced += drive.tail

    def _read(self, drives: list[Drive], logits: torch.Tensor) -> None:
        values = rating_probability(logits, self._codec.positive, self._codec.negative)
        for drive, value in zip(drives, values.tolist(), strict=True):
            if drive.row is None:
                drive.value = value
            else:
                drive.row.rated(value)
                if not drive.row.done:
                    drive.forced = drive.row.take()

    # vLLM

    def _start(self, dtype: torch.dtype, rows: int, memory: int, max_length: int) -> Any:
        # In this process, or the rows could not be reached from inside.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        os.environ["VLLM_USE_V2_MODEL_RUNNER"] = "0"  # it takes logits processors of another kind
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        try:
            from vllm import LLM
        except ImportError as error:
            raise UserError(
                "engine.backend is vllm, which is not installed: pip install 'llamao1-cli[vllm]' "
                f"({error})"
            ) from None
        plain = plain_copy(self._source, dtype)
        # Room for every row's longest path: a request that vLLM puts off would be read in parts.
        blocks = memory // (shape_of(plain).token_bytes * BLOCK) - 1  # vLLM keeps one for itself
        room = blocks // -(-(max_length + 1) // BLOCK)
        if room < 1:
            raise UserError(
                "engine.memory_gib: not even one path of model.max_length fits; raise the one or "
                "lower the other"
            )
        with tempfile.TemporaryDirectory(prefix="llamao1-") as folder:
            plain.save_pretrained(folder)
            del plain
            return LLM(
                model=folder,
                skip_tokenizer_init=True,
                dtype=str(dtype).removeprefix("torch."),
                max_model_len=max_length + 1,  # it wants room for one token more
                max_num_seqs=min(rows, room),
                kv_cache_memory_bytes=memory,
                enable_prefix_caching=True,
                block_size=BLOCK,
                gpu_memory_utilization=_free_share(),
                async_scheduling=False,
                logits_processors=[processor_for(self)],
                disable_log_stats=True,
                seed=0,
            )

    def _add(self, drive: Drive) -> None:
        """Give a drive to vLLM as a request.

        The last token known is emitted instead of being read with the prompt: while a prompt is
        read in parts, there are no logits to decide anything by.
        """
        from vllm import SamplingParams

        self._requests += 1
        name = str(self._requests)
        self.drives[name] = drive
        drive.forced.insert(0, drive.path[-1])
        params = SamplingParams(
            temperature=0.0,
            max_tokens=self._rules.max_length,
            ignore_eos=True,
            detokenize=False,
            extra_args={"drive": name},
        )
        self._llm.llm_engine.add_request(name, {"prompt_token_ids": drive.path[:-1]}, params)

    def _step(self) -> None:
        outputs = self._llm.llm_engine.step()
        for output in outputs:
            self.forwarded += 1
            if len(output.outputs[0].token_ids) == 1:
                self.forwarded += len(output.prompt_token_ids) - (output.num_cached_tokens or 0) - 1
        ended = [name for name, drive in self.drives.items() if drive.done]
        if ended:
            self._llm.llm_engine.abort_request(ended)
        for name in ended:
            self._end(self.drives.pop(name))

    def _end(self, drive: Drive) -> None:
        row = drive.row
        if row is None:
            assert drive.value is not None
            self._values[drive.ticket] = drive.value
        elif drive.stale:
            before, tokens = list(row.fed), row.take()
            stop = row.scored + len(row.thought.ids)
            path = [*row.request.path, *before, *tokens[: row.scored]]
            self._add(
                Drive(drive.ticket, row, path, scored=tokens[row.scored : stop], tail=tokens[stop:])
            )
        else:
            self._finished.append((row.ticket, row.thoughts))

    def _ticket(self) -> int:
        self._tickets += 1
        return self._tickets


def _free_share() -> float:
    """The share of the GPU that vLLM may count on beside the trainer; it must be free now."""
    if not torch.cuda.is_available():
        return 0.9
    free, total = torch.cuda.mem_get_info()
    return 0.95 * free / total
