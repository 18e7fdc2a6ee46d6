"""The vLLM back end against the built-in engine; run by `scripts/test_vllm.sh`, where vLLM is."""

import importlib.util
import sys
from dataclasses import replace
from enum import Enum
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from llamao1_cli.config import SearchConfig
from llamao1_cli.engine.builtin.engine import TreeEngine
from llamao1_cli.engine.protocol import Beginning, Engine, Request, Thought, complete
from llamao1_cli.engine.rows import Row, Rules
from llamao1_cli.engine.vllm.chooser import TokenChooser
from llamao1_cli.engine.vllm.engine import VllmEngine
from llamao1_cli.engine.vllm.processor import NAME, processor_for
from llamao1_cli.engine.vllm.request import VllmRequest
from llamao1_cli.errors import UserError
from llamao1_cli.language.marked import Meta
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.language.sampling import Sampling
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.tasks.problem import Problem

INSTALLED = importlib.util.find_spec("vllm") is not None
needs_vllm = pytest.mark.skipif(not INSTALLED, reason="vLLM is not installed")
SETTINGS = {"dtype": torch.float32, "rows": 16, "memory": 2**30, "max_length": 300}
TEXTS = ["How many?", "Mia has 3 coins. How many coins does Mia have?", "Ivy doubles the 5 pens."]
HINTED = {
    "metas": (Meta.EXPANSION, Meta.CRITIC, Meta.REFINE),
    "hints": ("Say 5.", None, "Hint: once more."),
}


@pytest.fixture(scope="module")
def model(language: MarkedLanguage) -> PreTrainedModel:
    """A random model with adapters and trained marker rows; its weights change in one test."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(language.tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        initializer_range=0.15,
        max_position_embeddings=512,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    rows = [language.thought_end, language.positive, language.negative]
    adapters = LoraConfig(
        r=4,
        target_modules="all-linear",
        trainable_token_indices={"embed_tokens": rows, "lm_head": rows},
    )
    adapted = get_peft_model(LlamaForCausalLM(config), adapters)
    _disturb(adapted)
    return adapted.eval()


@pytest.fixture(scope="module")
def engines(model: PreTrainedModel, language: MarkedLanguage) -> tuple[VllmEngine, TreeEngine]:
    return VllmEngine(model, language, **SETTINGS), TreeEngine(model, language, **SETTINGS)


def requests(language: MarkedLanguage, count: int, **changes: object) -> list[Request]:
    drawn = {"max_tokens": 8}
    drawn |= {name: value for name, value in changes.items() if name in Sampling.__match_args__}
    asked = {name: value for name, value in changes.items() if name not in drawn}
    three: tuple[None, ...] = (None,) * 3
    fields = {"metas": three, "hints": three, **asked}
    return [
        Request(language.root(TEXTS[i % 3]), 1, sampling=Sampling(**drawn), seed=i, **fields)
        for i in range(count)
    ]


@needs_vllm
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"temperature": 0.6},
        {"temperature": 0.0},
        {"top_k": 5},
        {"top_p": 0.7},
        {"min_tokens": 4},
        HINTED,
        {"metas": HINTED["metas"]},
    ],
    ids=str,
)
def test_the_same_requests_give_the_same_thoughts(
    language: MarkedLanguage, engines: tuple[VllmEngine, TreeEngine], changes: dict
) -> None:
    asked = requests(language, 24, **changes)
    equal = [_alike(*pair) for pair in zip(*_both(engines, asked), strict=True)]
    # Rounding decides a token now and then: what one engine draws on an edge the other may not.
    assert np.mean(equal) > 0.9


@needs_vllm
def test_ratings_are_the_same(
    language: MarkedLanguage, engines: tuple[VllmEngine, TreeEngine]
) -> None:
    paths = [language.unrated(language.root(text)) for text in TEXTS]
    vllm, builtin = (engine.rate(paths) for engine in engines)
    assert vllm == pytest.approx(builtin, abs=1e-4)
    assert len({round(value, 4) for value in vllm}) == 3


@needs_vllm
def test_many_samples_have_the_same_distribution(
    language: MarkedLanguage, engines: tuple[VllmEngine, TreeEngine]
) -> None:
    """Seeds of its own for each engine, so that only the distributions can agree."""
    counts = []
    for offset, engine in enumerate(engines):
        asked = [
            replace(request, path=language.root(TEXTS[0]), seed=5000 * offset + index)
            for index, request in enumerate(requests(language, 1500, max_tokens=1, min_tokens=1))
        ]
        asked = [replace(request, metas=(None,), hints=(None,)) for request in asked]
        tokens = [chain[0].ids[0] for chain in complete(engine, asked)]
        counts.append(np.bincount(tokens, minlength=len(language.tokenizer)))
    often = counts[0] + counts[1] >= 20
    table = np.array([[*c[often], c[~often].sum()] for c in counts], float)
    table = table[:, table.sum(0) > 0]
    expected = table.sum(0) / 2
    chi_square = ((table - expected) ** 2 / expected).sum()
    freedom = table.shape[1] - 1
    assert freedom > 10
    # Wilson and Hilferty's approximation of the 99.9% quantile
    assert chi_square < freedom * (1 - 2 / (9 * freedom) + 3.09 * (2 / (9 * freedom)) ** 0.5) ** 3


@needs_vllm
def test_a_seeded_search_grows_the_same_trees(
    language: MarkedLanguage, engines: tuple[VllmEngine, TreeEngine]
) -> None:
    config = SearchConfig(simulations=5, max_depth=4, max_thought_tokens=6)
    problems = [Problem(str(i), f"How many are {i} and {3 * i}?", "7") for i in range(6)]
    forests = [grow(SearchRequest(problems, config, range(6)), e, language) for e in engines]
    same = [
        [node.thought.ids for node in one.nodes] == [node.thought.ids for node in other.nodes]
        for one, other in zip(*forests, strict=True)
    ]
    assert np.mean(same) > 0.8


@needs_vllm
def test_a_refresh_takes_over_new_weights_in_place(
    language: MarkedLanguage, model: PreTrainedModel, engines: tuple[VllmEngine, TreeEngine]
) -> None:
    asked = requests(language, 12)
    before = complete(engines[0], asked)
    _disturb(model)
    for engine in engines:
        engine.refresh()
    after, builtin = _both(engines, asked)
    assert np.mean([_alike(*pair) for pair in zip(after, builtin, strict=True)]) > 0.9
    assert not any(_alike(*pair) for pair in zip(before, after, strict=True))


@needs_vllm
def test_a_cached_prefix_is_not_read_again(
    language: MarkedLanguage, engines: tuple[VllmEngine, object]
) -> None:
    path = language.root("Ben has 4 pens. " * 40)
    read = []
    for seed in range(2):
        before = engines[0].forwarded
        complete(engines[0], [replace(requests(language, 1)[0], path=path, seed=seed)])
        read.append(engines[0].forwarded - before)
    assert read[1] < read[0] - len(path) / 2


def test_a_question_asked_again_gets_the_same_answer(language: MarkedLanguage) -> None:
    """vLLM asks again when it has read a prompt in parts; the row must not go on twice."""
    chooser = TokenChooser(language)
    (request,) = requests(language, 1)
    row = Row(request, 1, Rules(language, 300, show_ratings=False), shared=len(request.path))
    opening = row.opening()
    assert opening
    row.begin(opening)
    asked = VllmRequest(1, row, [*request.path, *row.take()], forced=[language.thought_end])
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(4, 1, len(language.tokenizer), generator=generator) * 5
    assert chooser.choose([(asked, 0)], logits[0]) == [language.thought_end]  # it was forced
    first = chooser.choose([(asked, 1)], logits[1])
    assert chooser.choose([(asked, 1)], logits[2]) == first
    assert row.thought.ids == first
    second = chooser.choose([(asked, 2)], logits[3])
    assert row.thought.ids == [*first, *second]


@needs_vllm
def test_distinct_solutions_are_the_same(
    language: MarkedLanguage, engines: tuple[VllmEngine, TreeEngine]
) -> None:
    search = SearchConfig(algorithm="distinct", solutions=5, max_depth=3, max_thought_tokens=6)
    problems = [Problem(str(seed), TEXTS[seed % 3], "7") for seed in range(8)]
    forests = [grow(SearchRequest(problems, search, range(8)), e, language) for e in engines]
    same = [
        [node.thought.ids for node in one.nodes] == [node.thought.ids for node in other.nodes]
        for one, other in zip(*forests, strict=True)
    ]
    assert np.mean(same) > 0.8


def test_the_first_choice_behind_a_beginning_is_none_of_the_barred(
    language: MarkedLanguage,
) -> None:
    chooser = TokenChooser(language)
    (request,) = requests(language, 1)
    logits = torch.randn(1, len(language.tokenizer), generator=torch.Generator().manual_seed(1))
    allowed = language.grammar(len(language.tokenizer))[0].nonzero().flatten().tolist()
    begun, last = language.encode("7"), allowed[5]
    for barred in (frozenset(allowed) - {last}, frozenset(allowed)):
        zeros = tuple([0.0] * len(begun))
        begins = Beginning(tuple(begun), zeros, zeros, zeros, barred)
        row = Row(
            replace(request, begins=begins), 1, Rules(language, 300, False), len(request.path)
        )
        row.begin(row.opening() or [])
        asked = VllmRequest(1, row, [*request.path, *row.take()])
        assert asked.path[-len(begun) :] == begun
        chooser.choose([(asked, 0)], logits)
        if last not in barred:
            assert row.thought.ids == [*begun, last]
            assert row.thought.known == len(begun)
            assert row.thought.logprobs[-1] < -1  # as if nothing were barred
        else:
            assert asked.done
            assert row.thoughts == []


def test_rows_keep_their_requests_when_vllm_moves_them(
    language: MarkedLanguage, monkeypatch: pytest.MonkeyPatch
) -> None:
    direction = Enum("MoveDirectionality", ["UNIDIRECTIONAL", "SWAP"])
    package = SimpleNamespace(LogitsProcessor=object)
    interface = SimpleNamespace(MoveDirectionality=direction)
    for name in ("vllm", "vllm.v1", "vllm.v1.sample"):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace())
    monkeypatch.setitem(sys.modules, "vllm.v1.sample.logits_processor", package)
    monkeypatch.setitem(sys.modules, "vllm.v1.sample.logits_processor.interface", interface)
    known = {name: VllmRequest(ticket, None, []) for ticket, name in enumerate("abc")}
    chooser = SimpleNamespace(
        requests=known, choose=lambda asked, logits: [10 + each.ticket for each, _ in asked]
    )
    processor = processor_for(chooser)(None, None, False)

    def update(removed: list = (), added: list = (), moved: list = ()) -> list[int]:
        """The token left to each row after a change of the batch; -1: vLLM's own choice."""
        added = [(row, SimpleNamespace(extra_args={NAME: n}), [], []) for row, n in added]
        processor.update_state(SimpleNamespace(removed=removed, added=added, moved=moved))
        rows = processor.apply(torch.zeros(3, 16))
        return [int(row.argmax()) if row.isinf().any() else -1 for row in rows]

    assert update(added=[(0, "a"), (1, "b"), (2, "c")]) == [10, 11, 12]
    assert update(moved=[(0, 2, direction.SWAP)]) == [12, 11, 10]
    assert update(removed=[0], moved=[(2, 0, direction.UNIDIRECTIONAL)]) == [10, 11, -1]
    assert update(removed=[1], added=[(0, "b")]) == [11, -1, -1]
    assert update(added=[(0, "nobody")]) == [-1, -1, -1]


@pytest.mark.skipif(INSTALLED, reason="vLLM is installed")
def test_without_vllm_the_error_names_the_extra(language: MarkedLanguage) -> None:
    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2,
    )  # fmt: skip
    with pytest.raises(UserError, match=r"llamao1-cli\[vllm\]"):
        VllmEngine(LlamaForCausalLM(config), language, **SETTINGS)


def _both(
    engines: tuple[Engine, Engine], asked: list[Request]
) -> tuple[list[list[Thought]], list[list[Thought]]]:
    return complete(engines[0], asked), complete(engines[1], asked)


def _alike(one: list[Thought], other: list[Thought]) -> bool:
    """Whether the tokens are the same; then the figures must be, to 1e-4."""
    if [thought.ids for thought in one] != [thought.ids for thought in other]:
        return False
    for a, b in zip(one, other, strict=True):
        assert (a.meta, a.text, a.complete, a.forced_meta) == (
            b.meta,
            b.text,
            b.complete,
            b.forced_meta,
        )
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-4)
        assert a.entropy == pytest.approx(b.entropy, abs=1e-4)
        assert a.varentropy == pytest.approx(b.varentropy, abs=1e-3)
        assert a.rating == pytest.approx(b.rating, abs=1e-4)
    return True


def _disturb(model: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn(weight.shape, generator=generator) * 0.1)
