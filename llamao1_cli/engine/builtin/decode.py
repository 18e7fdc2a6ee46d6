"""Several tokens of every row at once, while the host does not look in between.

A GPU is done with a step of a few hundred rows before the host has launched the next one and read
the last. Here every cell of the grid of groups and columns feeds a token and samples the next,
step by step, in tensors that stay where they are; the host reads what came of it afterwards. On
CUDA a step is captured once as a graph, and replayed. A row that ends before the last step still
takes part in the steps after it: what it writes then lies behind what it has fed, and is
overwritten before anybody reads it.
"""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from llamao1_cli.engine.builtin.attention import Frame, Grid, Writes
from llamao1_cli.engine.builtin.buffers import STEP, Buffers, Shape
from llamao1_cli.engine.builtin.decode_state import (
    State,
    copied_to,
    first_state,
    load_state,
    tensors_of,
)
from llamao1_cli.engine.builtin.groups import Group
from llamao1_cli.engine.builtin.waiting import waits
from llamao1_cli.engine.rows import Row
from llamao1_cli.engine.sampler import Choice, Drawn, Sampler, token_stats

WARM_UPS = 2  # steps before one is captured: libraries set themselves up in the first


@dataclass(frozen=True)
class Form:
    """What decides on the kernels of a step: groups, key lengths, and the ways of sampling."""

    groups: int
    prefix: int
    suffix: int
    greedy: bool
    truncates: bool


@dataclass(frozen=True)
class PreparedStep:
    """A step of one form, ready to be run, and the state that it works on."""

    state: State
    run: Callable[[], None]


@dataclass(frozen=True)
class Decoded:
    """What a burst came to."""

    forwarded: int  # tokens
    rows: Sequence[Row]  # that took part


class Decoder:
    """Decodes `steps` tokens of every row that has one token to feed and wants the next.

    Paths are at most `max_length` tokens long.
    """

    def __init__(
        self, model: PreTrainedModel, sampler: Sampler, *, steps: int, max_length: int
    ) -> None:
        self._model, self._sampler = model, sampler
        self._steps, self._last = steps, max_length - 1
        self._prepared: dict[Form, PreparedStep] = {}
        # Of the buffers that these steps were made for; weak, for they may take most of a GPU.
        self._keys: Callable[[], Tensor | None] = lambda: None
        self._pool: Any = None  # memory that all graphs share, for only one runs at a time

    def decode(self, buffers: Buffers, groups: Sequence[Group]) -> Decoded:
        """Let the rows of the groups feed and sample.

        The buffers must have room for `steps` tokens behind what each row has fed.
        """
        ready = [group for group in groups if group.ready and any(r.decodes for r in group.rows)]
        if not ready:
            return Decoded(0, [])
        if buffers.prefix_keys is not self._keys():
            self._prepared.clear()
            self._keys = weakref.ref(buffers.prefix_keys)
        most = max(group.slot for group in ready) + 1
        size = min(_bucket(most, 1), buffers.groups)
        values = first_state(groups, size, buffers.columns, self._steps)
        step = self._prepare(self._form(buffers, ready, size, values.choice), buffers, values)
        load_state(step.state, values)
        for _ in range(self._steps):
            step.run()
        rows = self._hand_out(step.state.drawn, values.choice.roles, buffers.columns, ready)
        return Decoded(self._steps * size * buffers.columns, rows)

    def waits(self, shape: Shape) -> list[str]:
        """Returns the operations of a step that make the host wait; such a step has no graph."""
        buffers = Buffers(shape, 1)
        buffers.ensure(1, STEP, STEP)
        state = copied_to(first_state([], 1, 1, self._steps), shape.device)
        return waits(self.step_of(Form(1, STEP, STEP, True, True), buffers, state))

    def step_of(self, form: Form, buffers: Buffers, state: State) -> Callable[[], None]:
        """Returns one step of that form: feed, sample, store, move on."""

        def step() -> None:
            positions = (state.prefixes + state.lengths).clamp(max=self._last)
            logits = self._model(
                input_ids=state.tokens.unsqueeze(0),
                position_ids=positions.view(1, -1),
                use_cache=False,
                frame=_frame(form, buffers, state, positions),
            ).logits[0]
            choice = replace(
                state.choice,
                roles=state.choice.roles.index_select(0, state.step)[0],
                uniforms=state.choice.uniforms.index_select(0, state.step)[0],
            )
            drawn = self._sampler.draw(logits, choice)
            for target, value in zip(tensors_of(state.drawn), tensors_of(drawn), strict=True):
                target.index_copy_(0, state.step, value.unsqueeze(0))
            state.tokens.copy_(drawn.tokens)
            state.lengths.add_(1)
            state.step.add_(1)

        return step

    def _form(self, buffers: Buffers, ready: list[Group], size: int, choice: Choice) -> Form:
        prefix = max(len(group.tokens) for group in ready)
        fed = max(len(row.fed) for group in ready for row in group.rows if row.decodes)
        return Form(
            size,
            min(_bucket(prefix, STEP), buffers.prefix),
            min(_bucket(fed + self._steps, STEP), buffers.suffix),
            choice.greedy,
            choice.truncates,
        )

    def _prepare(self, form: Form, buffers: Buffers, values: State) -> PreparedStep:
        """Returns the step of that form, made at its first use."""
        if form not in self._prepared:
            state = copied_to(values, buffers.shape.device)
            step = self.step_of(form, buffers, state)
            self._prepared[form] = PreparedStep(state, self._captured(step, buffers.shape.device))
        return self._prepared[form]

    def _captured(self, step: Callable[[], None], device: torch.device) -> Callable[[], None]:
        """Returns, on CUDA, a graph of the step that is replayed at each call; elsewhere the step
        itself."""
        if device.type != "cuda":
            return step
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                step()
        torch.cuda.current_stream(device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            step()
        return graph.replay

    def _hand_out(self, drawn: Drawn, roles: Tensor, columns: int, ready: list[Group]) -> list[Row]:
        """Hand the rows what they sampled, each up to where it ended, or what may follow became
        other than it was drawn from; returns these rows."""
        steps = zip(*(t.cpu() for t in tensors_of(drawn)), strict=True)
        stats = [token_stats(Drawn(*each)) for each in steps]
        drawn_as, decoding = roles.tolist(), list[Row]()
        for group in ready:
            for cell, row in enumerate(group.rows, group.slot * columns):
                decoding += [row] * row.decodes
                for step in range(self._steps):
                    if not row.decodes or row.roles(1)[0] != drawn_as[step][cell]:
                        break
                    row.take()
                    row.sampled(stats[step][cell])
        return decoding


def _frame(form: Form, buffers: Buffers, state: State, positions: Tensor) -> Frame:
    """Returns what attention needs to know of a step in which every cell feeds one token."""
    cells, none = state.cells, state.cells[:0]
    slots = state.lengths.flatten()
    writes = Writes(none, none, none, cells, state.groups, state.columns, slots)
    grid = Grid(cells, state.groups, state.columns, positions, state.prefixes)
    return Frame(buffers, writes, grid, [], form.prefix, form.suffix)


def _bucket(length: int, least: int) -> int:
    """Returns the next of `least`, twice that, four times that, …; few lengths, few graphs."""
    size = least
    while size < length:
        size *= 2
    return size
