"""Several tokens of every row at once, without a word to the host in between.

A GPU is done with a step of a few hundred rows before the host has launched the next one and read
the last. Here every place of the grid of groups and columns feeds a token and samples the next,
step by step, in tensors that stay where they are; the host reads what came of it afterwards. On
CUDA a step is captured once as a graph, and replayed. A row that ends on the way goes on in vain:
what it writes lies behind what it has fed, and is written anew before anybody reads it.
"""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from llamao1_cli.engine.builtin.attention import Frame, Grid, Writes
from llamao1_cli.engine.builtin.buffers import STEP, Buffers, Shape
from llamao1_cli.engine.builtin.groups import Group
from llamao1_cli.engine.builtin.waiting import waits
from llamao1_cli.engine.sampler import Choice, Drawn, Sampler, choice_of, figures_of
from llamao1_cli.language.sampling import Sampling

UNUSED = Sampling()  # of places where no row decodes
WARM_UPS = 2  # steps before one is captured: libraries set themselves up in the first


@dataclass(frozen=True)
class Form:
    """What fixes the kernels of a step: groups, key lengths, and the ways of sampling."""

    groups: int
    prefix: int
    suffix: int
    greedy: bool
    cuts: bool


@dataclass(frozen=True)
class State:
    """What a step reads and brings forward, for B = G * C places and N steps in one go.

    A graph knows tensors by their addresses alone: all that a step finds, beside the model, the
    buffers and the grammar, is here and stays.
    """

    at: Tensor  # [B] 0, 1, 2, …
    groups: Tensor  # [B]
    columns: Tensor  # [B]
    step: Tensor  # [1] steps done
    tokens: Tensor  # [B] fed next
    lengths: Tensor  # [G, C] of the suffixes
    prefixes: Tensor  # [G, 1] their lengths
    choice: Choice  # roles and uniforms `[N, B]`, the rest `[B]`
    drawn: Drawn  # `[N, B]`: what comes of it


@dataclass(frozen=True)
class Plan:
    """A step of one form, ready to be run, and the state that it works on."""

    state: State
    run: Callable[[], None]


Values = TypeVar("Values", bound=State | Choice | Drawn)


class Decoder:
    """Decodes `steps` tokens of every row that has one token to feed and wants the next.

    Paths are at most `max_length` tokens long.
    """

    def __init__(
        self, model: PreTrainedModel, sampler: Sampler, *, steps: int, max_length: int
    ) -> None:
        self._model, self._sampler = model, sampler
        self._steps, self._last = steps, max_length - 1
        self._plans: dict[Form, Plan] = {}
        # Of the buffers that the plans were made for; a weak one, for they may take most of a GPU.
        self._keys: Callable[[], Tensor | None] = lambda: None
        self._pool: Any = None  # memory that all graphs share, for only one runs at a time

    def decode(self, buffers: Buffers, groups: Sequence[Group]) -> int:
        """Let the rows of the groups feed and sample; gives the number of tokens forwarded.

        The buffers must have room for `steps` tokens behind what each row has fed.
        """
        ready = [group for group in groups if group.ready and any(r.decodes for r in group.rows)]
        if not ready:
            return 0
        if buffers.prefix_keys is not self._keys():
            self._plans.clear()
            self._keys = weakref.ref(buffers.prefix_keys)
        most = max(group.slot for group in ready) + 1
        size = min(_bucket(most, 1), buffers.groups)
        values = self._values(size, buffers.columns, groups)
        plan = self._plan(self._form(buffers, ready, size, values.choice), buffers, values)
        _load(plan.state, values)
        for _ in range(self._steps):
            plan.run()
        self._hand_out(plan.state.drawn, buffers.columns, ready)
        return self._steps * size * buffers.columns

    def waits(self, shape: Shape) -> list[str]:
        """The operations of a step that make the host wait; there is no graph of such a step."""
        buffers = Buffers(shape, 1)
        buffers.ensure(1, STEP, STEP)
        state = _moved(self._values(1, 1, []), shape.device)
        return waits(self._step_of(Form(1, STEP, STEP, True, True), buffers, state))

    def _form(self, buffers: Buffers, ready: list[Group], size: int, choice: Choice) -> Form:
        prefix = max(len(group.tokens) for group in ready)
        fed = max(len(row.fed) for group in ready for row in group.rows if row.decodes)
        return Form(
            size,
            min(_bucket(prefix, STEP), buffers.prefix),
            min(_bucket(fed + self._steps, STEP), buffers.suffix),
            choice.greedy,
            choice.cuts,
        )

    def _values(self, size: int, columns: int, groups: Sequence[Group]) -> State:
        """The state before the first step, on the host; a place where no row decodes feeds token 0
        behind what is there."""
        count, steps = size * columns, self._steps
        # Filled place by place, which numpy does faster than torch.
        tokens, lengths = np.zeros(count, np.int64), np.zeros(count, np.int64)
        prefixes = np.zeros((size, 1), np.int64)
        roles, uniforms = np.zeros((steps, count), np.int64), np.zeros((steps, count))
        sampling = [UNUSED] * count
        for group in groups:
            if group.slot >= size:
                continue
            prefixes[group.slot] = len(group.tokens)
            for at, row in enumerate(group.rows, group.slot * columns):
                lengths[at] = len(row.fed)
                if group.ready and row.decodes:
                    tokens[at], sampling[at] = row.pending[0], row.request.sampling
                    roles[:, at], uniforms[:, at] = row.roles(steps), row.uniforms(steps)
        choice = choice_of(sampling, [0] * count, [0.0] * count, torch.device("cpu"))
        every = torch.arange(count)
        return State(
            every,
            every // columns,
            every % columns,
            torch.zeros(1).long(),
            torch.from_numpy(tokens),
            torch.from_numpy(lengths).view(size, columns),
            torch.from_numpy(prefixes),
            replace(choice, roles=torch.from_numpy(roles), uniforms=torch.from_numpy(uniforms)),
            Drawn(torch.zeros(steps, count).long(), *torch.zeros(3, steps, count)),
        )

    def _plan(self, form: Form, buffers: Buffers, values: State) -> Plan:
        if form not in self._plans:
            state = _moved(values, buffers.shape.device)
            step = self._step_of(form, buffers, state)
            self._plans[form] = Plan(state, self._captured(step, buffers.shape.device))
        return self._plans[form]

    def _step_of(self, form: Form, buffers: Buffers, state: State) -> Callable[[], None]:
        """One step of that form: feed, sample, store, move on."""
        at, groups, columns = state.at, state.groups, state.columns

        def step() -> None:
            positions = (state.prefixes + state.lengths).clamp(max=self._last)
            slots = state.lengths.flatten()
            writes = Writes(at[:0], at[:0], at[:0], at, groups, columns, slots)
            grid = Grid(at, groups, columns, positions, state.prefixes)
            logits = self._model(
                input_ids=state.tokens.unsqueeze(0),
                position_ids=positions.view(1, -1),
                use_cache=False,
                frame=Frame(buffers, writes, grid, [], form.prefix, form.suffix),
            ).logits[0]
            choice = replace(
                state.choice,
                roles=state.choice.roles.index_select(0, state.step)[0],
                uniforms=state.choice.uniforms.index_select(0, state.step)[0],
            )
            drawn = self._sampler.draw(logits, choice)
            for target, value in zip(_tensors(state.drawn), _tensors(drawn), strict=True):
                target.index_copy_(0, state.step, value.unsqueeze(0))
            state.tokens.copy_(drawn.tokens)
            state.lengths.add_(1)
            state.step.add_(1)

        return step

    def _captured(self, step: Callable[[], None], device: torch.device) -> Callable[[], None]:
        """On CUDA, a graph of the step that is replayed at each call; elsewhere the step itself."""
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

    def _hand_out(self, drawn: Drawn, columns: int, ready: list[Group]) -> None:
        """Give the rows what they sampled, each up to where it ended."""
        steps = [Drawn(*each) for each in zip(*(t.cpu() for t in _tensors(drawn)), strict=True)]
        figures = [figures_of(each) for each in steps]
        for group in ready:
            for at, row in enumerate(group.rows, group.slot * columns):
                for step in range(self._steps):
                    if not row.decodes:
                        break
                    row.take()
                    row.sampled(figures[step][at])


def _tensors(values: State | Choice | Drawn) -> list[Tensor]:
    """All tensors of a state, in the order of its fields."""
    found: list[Tensor] = []
    for field in fields(values):
        value = getattr(values, field.name)
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, Choice | Drawn):
            found += _tensors(value)
    return found


def _moved(values: Values, device: torch.device) -> Values:
    """A copy of all its tensors on the device."""
    moved: dict[str, Any] = {}
    for field in fields(values):
        value = getattr(values, field.name)
        if isinstance(value, Tensor):
            moved[field.name] = value.to(device, copy=True)
        elif isinstance(value, Choice | Drawn):
            moved[field.name] = _moved(value, device)
    return replace(values, **moved)


def _load(state: State, values: State) -> None:
    for target, value in zip(_tensors(state), _tensors(values), strict=True):
        target.copy_(value)


def _bucket(length: int, least: int) -> int:
    """The next of `least`, twice that, four times that, …; few lengths, few graphs."""
    size = least
    while size < length:
        size *= 2
    return size
