"""Several steps decoded at once: what comes of it, and that the host need not look in between."""

import warnings
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import pytest
import torch
from built_in_engine import CLOSE, check, engine, requests
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from toy_models import KINDS, toy_model
from transformers import PreTrainedModel

from llamao1_cli.engine.builtin.buffers import Buffers
from llamao1_cli.engine.builtin.decode import Decoder, Form
from llamao1_cli.engine.builtin.decode_state import first_state, tensors_of
from llamao1_cli.engine.builtin.waiting import waits
from llamao1_cli.engine.builtin.weights import shape_of
from llamao1_cli.engine.protocol import Thought, complete
from llamao1_cli.engine.sampler import Sampler
from llamao1_cli.language.marked_language import MarkedLanguage


def played(
    model: PreTrainedModel, language: MarkedLanguage, burst: int, rows: int = 12, **changes: object
) -> list[list[Thought]]:
    """Ragged requests, more than fit at once; a model that decodes token by token would warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        busy = engine(model, language, rows=rows, burst=burst)
        return complete(busy, requests(language, 20, **changes))


def same(one: list[list[Thought]], other: list[list[Thought]]) -> None:
    assert [[t.ids for t in each] for each in one] == [[t.ids for t in each] for each in other]
    for first, second in zip(chain.from_iterable(one), chain.from_iterable(other), strict=True):
        assert (first.text, first.complete) == (second.text, second.complete)
        assert first.logprobs == pytest.approx(second.logprobs, **CLOSE)
        assert first.entropy == pytest.approx(second.entropy, **CLOSE)
        assert first.varentropy == pytest.approx(second.varentropy, **CLOSE)
        assert first.rating == pytest.approx(second.rating, **CLOSE)


@pytest.mark.parametrize("kind", KINDS)
def test_figures_of_a_burst_equal_a_plain_forward(language: MarkedLanguage, kind: str) -> None:
    model = toy_model(language, kind)
    chains = played(model, language, 3)
    for request, thoughts in zip(requests(language, 20), chains, strict=True):
        check(model, language, request, thoughts)


@pytest.mark.parametrize(
    ("burst", "changes"),
    [
        (2, {}),
        (16, {}),
        (5, {"temperature": 0.0}),
        (3, {"temperature": 0.7, "top_k": 4, "top_p": 0.8}),
        (4, {"min_tokens": 4, "budget": 11}),
        (5, {"hints": ("Say 5.",) * 5, "metas": (None,) * 5}),
    ],
)
def test_a_burst_samples_what_single_steps_do(
    language: MarkedLanguage, burst: int, changes: dict[str, object]
) -> None:
    model = toy_model(language)
    same(played(model, language, burst, **changes), played(model, language, 0, **changes))


def test_a_stop_token_ends_a_thought_within_a_burst(language: MarkedLanguage) -> None:
    model = toy_model(language)
    (first,) = language.encode("7")[:1]
    one = played(model, language, 8, stop_ids=(first,))
    same(one, played(model, language, 0, stop_ids=(first,)))
    assert any(thought.ids[-1] == first for thought in chain.from_iterable(one))


def test_an_engine_is_used_again_after_its_weights_changed(language: MarkedLanguage) -> None:
    """Buffers stay, what they hold must not: every figure is one of the new weights."""
    model = toy_model(language)
    busy = engine(model, language, rows=12, burst=4)
    complete(busy, requests(language, 20))
    buffers = busy._memory.buffers.prefix_keys
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.9)
    busy.refresh()
    for request, thoughts in zip(
        requests(language, 20), complete(busy, requests(language, 20)), strict=True
    ):
        check(model, language, request, thoughts)
    assert busy._memory.buffers.prefix_keys is buffers


def test_a_model_that_has_to_look_decodes_token_by_token(language: MarkedLanguage) -> None:
    """Rotations that are stretched as paths grow ask how long these are."""
    model = toy_model(language)
    parameters = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10_000.0}
    model.config.rope_parameters = parameters
    model = type(model)(model.config).eval()
    with pytest.warns(UserWarning, match="LlamaForCausalLM decodes token by token: it has aten"):
        busy = engine(model, language, burst=4)
    for request, thoughts in zip(
        requests(language, 6), complete(busy, requests(language, 6)), strict=True
    ):
        check(model, language, request, thoughts)


class Found(TorchDispatchMode):
    """Notes the tensors that operations find, and do not get from each other."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[torch.Tensor] = []
        self._made: list[torch.Tensor] = []  # kept, so that no address is given twice

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        made = addresses(self._made)
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        self.found += [each for each in given if not addresses([each]) <= made]
        result = func(*args, **kwargs or {})
        self._made += [each for each in tree_leaves(result) if isinstance(each, torch.Tensor)]
        return result


def addresses(tensors: Iterable[torch.Tensor]) -> set[int]:
    return {tensor.untyped_storage().data_ptr() for tensor in tensors} - {0}


def test_what_a_step_finds_outlives_it(language: MarkedLanguage) -> None:
    """A graph replays the addresses that it was captured with: nothing there may be freed."""
    model = toy_model(language, "gemma2")  # windows, soft caps
    sampler = Sampler(language.grammar(model.get_output_embeddings().out_features))
    with torch.no_grad():
        busy = engine(model, language, burst=2)
        decoder = Decoder(busy.model, sampler, steps=2, max_length=64)
        buffers = Buffers(shape_of(busy.model), 2)
        buffers.ensure(2, 64, 64)
        state = first_state([], 2, 2, steps=2)
        step = decoder.step_of(Form(2, 64, 64, True, True), buffers, state)
        with Found() as noted:
            step()
    outlives = [
        *busy.model.parameters(),
        *busy.model.buffers(),
        *tensors_of(state),
        *(value for value in vars(sampler).values() if isinstance(value, torch.Tensor)),
        *(value for value in vars(buffers).values() if isinstance(value, torch.Tensor)),
    ]
    assert addresses(noted.found) <= addresses(outlives)
    assert addresses([state.tokens, buffers.suffix_keys]) <= addresses(noted.found)


NUMBERS = torch.arange(4.0)
LOOKS: dict[str, Callable[[], object]] = {
    "a number": lambda: NUMBERS.sum().item(),
    "a condition": lambda: bool((NUMBERS > 1).any()),
    "numbers of Python": lambda: torch.tensor([1.0, 2.0]),
    "indices": lambda: (NUMBERS > 1).nonzero(),
    "a mask": lambda: NUMBERS[NUMBERS > 1],
    "a mask to write": lambda: NUMBERS.clone().__setitem__(NUMBERS > 1, NUMBERS[:2]),
    "an equality": lambda: torch.equal(NUMBERS, NUMBERS),
}


@pytest.mark.parametrize("name", LOOKS)
def test_what_makes_the_host_wait_is_found(name: str) -> None:
    assert waits(LOOKS[name])


def test_what_stays_on_the_device_is_not_found() -> None:
    indices = torch.tensor([0, 2])

    def run() -> None:
        kept = torch.where(NUMBERS > 1, NUMBERS, 0.0)[indices]
        torch.zeros(4).index_copy_(0, indices, kept).sort()

    assert waits(run) == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("kind", KINDS)
def test_graphs_give_what_single_steps_give(language: MarkedLanguage, kind: str) -> None:
    model = toy_model(language, kind).to("cuda")
    same(played(model, language, 4), played(model, language, 0))
