"""vLLM as the engine: it runs the model, and the tokens are chosen here.

A logits processor inside vLLM hands every row's logits to the same rows and the same sampler as the
built-in engine's, and leaves vLLM one token to choose. Headers and ratings are forced the same way,
so that a whole roll-out is one request, and entropies and ratings cost nothing more.
"""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from llamao1_cli.engine.builtin.weights import merged_weights
from llamao1_cli.engine.protocol import Request
from llamao1_cli.engine.rows import Row, Rules
from llamao1_cli.engine.tickets import TicketEngine
from llamao1_cli.engine.vllm.chooser import TokenChooser
from llamao1_cli.engine.vllm.processor import NAME
from llamao1_cli.engine.vllm.request import VllmRequest
from llamao1_cli.engine.vllm.start import start_vllm
from llamao1_cli.errors import RunFailedError
from llamao1_cli.language.protocol import Language


class VllmEngine(TicketEngine):
    """Continues and rates paths with vLLM inside this process; see `Engine` for the protocol.

    `forwarded` leaves out tokens that vLLM finds in its cache. Raises UserError where vLLM is not
    installed.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        language: Language,
        *,
        dtype: torch.dtype,
        rows: int,
        memory: int,
        max_length: int,
        show_ratings: bool = False,
    ) -> None:
        super().__init__(Rules(language, max_length, show_ratings))
        self._source, self._chooser = model, TokenChooser(language)
        self._names = 0
        self._llm = start_vllm(
            model, self._chooser, dtype=dtype, rows=rows, memory=memory, max_length=max_length
        )

    def refresh(self) -> None:
        """Take over the model's weights of now, in place; see `Engine.refresh`."""
        weights = merged_weights(self._source)
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
        if not self._llm.reset_prefix_cache():
            raise RunFailedError("vLLM could not forget what it had read with the old weights")

    @property
    def _busy(self) -> bool:
        return bool(self._chooser.requests)

    def _queue_path(self, path: list[int], ticket: int) -> None:
        self._add(VllmRequest(ticket, None, path))

    def _queue_requests(self, requests: Sequence[Request], tickets: Sequence[int]) -> None:
        for request, ticket in zip(requests, tickets, strict=True):
            row = Row(request, ticket, self._rules, shared=len(request.path))
            opening = row.opening()
            if opening is None:
                self._finished.append((ticket, []))
            else:
                row.begin(opening)
                self._add(VllmRequest(ticket, row, [*request.path, *row.take()]))

    def _add(self, request: VllmRequest) -> None:
        """Hand a request to vLLM.

        The last token known is emitted instead of being read with the prompt: while a prompt is
        read in parts, there are no logits to decide anything by.
        """
        from vllm import SamplingParams

        self._names += 1
        name = str(self._names)
        self._chooser.requests[name] = request
        request.forced.insert(0, request.path[-1])
        params = SamplingParams(
            temperature=0.0,
            max_tokens=self._rules.max_length,
            ignore_eos=True,
            detokenize=False,
            extra_args={NAME: name},
        )
        self._llm.llm_engine.add_request(name, {"prompt_token_ids": request.path[:-1]}, params)

    def _step(self) -> None:
        outputs = self._llm.llm_engine.step()
        for output in outputs:
            self.forwarded += 1
            if len(output.outputs[0].token_ids) == 1:
                self.forwarded += len(output.prompt_token_ids) - (output.num_cached_tokens or 0) - 1
        ended = [name for name, request in self._chooser.requests.items() if request.done]
        if ended:
            self._llm.llm_engine.abort_request(ended)
        for name in ended:
            self._end(self._chooser.requests.pop(name))

    def _end(self, request: VllmRequest) -> None:
        """Hand over what a done request has come to, or send what follows it."""
        if request.row is None:
            assert request.rating is not None
            self._ratings[request.ticket] = request.rating
        elif request.stale:
            self._add(request.rescored())
        else:
            self._finished.append((request.ticket, request.row.thoughts))
