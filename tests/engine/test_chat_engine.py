"""The built-in engine in the chat language: every figure is that of a plain forward pass."""

from dataclasses import replace

import pytest
import torch
from built_in_engine import CLOSE, SAMPLING, TEXTS, engine
from chat_models import chat_language, chat_model
from fake_engine import BY_EQUALITY
from toy_models import KINDS
from transformers import PreTrainedModel

from llamao1_cli.config import EngineConfig, SearchConfig
from llamao1_cli.engine.make import make_engine
from llamao1_cli.engine.protocol import Request, Thought, complete
from llamao1_cli.errors import UserError
from llamao1_cli.language.chat.language import ChatLanguage
from llamao1_cli.language.distribution import action_logprobs
from llamao1_cli.language.marked import METAS, Meta
from llamao1_cli.language.sampling import Sampling
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.search.tree import Tree
from llamao1_cli.tasks.problem import Problem

CHAT = chat_language()
BURSTS = [0, 3]


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return chat_model(CHAT)


def asked(count: int, **changes: object) -> list[Request]:
    """Ragged requests: paths of three lengths, one to five thoughts."""
    made = []
    for index in range(count):
        size = 1 + index % 5
        drawn = {name: changes[name] for name in SAMPLING & changes.keys()}
        fields = {"metas": (None,) * size, "hints": (None,) * size, "seed": 100 + index}
        fields |= {name: value for name, value in changes.items() if name not in SAMPLING}
        sampling = Sampling(**{"max_tokens": 9, **drawn})
        made.append(Request(CHAT.root(TEXTS[index % 3]), 1, sampling=sampling, **fields))
    return made


def check(model: PreTrainedModel, request: Request, thoughts: list[Thought]) -> None:
    """The log-probs of a path are those of one forward over it, and nothing else is in it."""
    path, sampling = list(request.path), request.sampling
    grammar = CHAT.grammar(model.config.vocab_size)
    for index, thought in enumerate(thoughts):
        path += CHAT.opening(request.depth + index, request.metas[index])
        start, path = len(path), [*path, *thought.ids]
        with torch.no_grad():
            logits = model(torch.tensor([path])).logits[0, start - 1 : -1]
        roles = [CHAT.role(i, False, sampling.min_tokens) for i in range(len(thought.ids))]
        tokens = torch.tensor(thought.ids)
        expected = action_logprobs(logits, tokens, grammar[roles], sampling)
        assert thought.logprobs == pytest.approx(expected.tolist(), **CLOSE)
        assert (thought.rating, thought.shown) == (None, "")


@pytest.mark.parametrize("burst", BURSTS)
@pytest.mark.parametrize("sampling", [{}, {"min_tokens": 4}, {"temperature": 0.7, "top_k": 20}])
def test_figures_are_those_of_a_plain_forward(
    model: PreTrainedModel, burst: int, sampling: dict[str, float]
) -> None:
    requests = asked(12, **sampling)
    played = complete(engine(model, CHAT, rows=7, burst=burst), requests)
    for request, thoughts in zip(requests, played, strict=True):
        check(model, request, thoughts)
    assert {len(thoughts) for thoughts in played} >= {1, 2, 3}


def test_bursts_change_nothing(model: PreTrainedModel) -> None:
    requests = asked(15, min_tokens=2)
    plain, burst = (complete(engine(model, CHAT, burst=size), requests) for size in (0, 5))
    assert [[t.ids for t in each] for each in plain] == [[t.ids for t in each] for each in burst]


@pytest.mark.parametrize("burst", BURSTS)
def test_thoughts_end_at_lines_and_solutions_at_the_end_of_the_turn(
    model: PreTrainedModel, burst: int
) -> None:
    seen = set()
    for request, thoughts in zip(
        requests := asked(30), complete(engine(model, CHAT, burst=burst), requests), strict=True
    ):
        for thought in thoughts:
            final = thought.ids[-1] in CHAT.turn_ends
            line = "\n" in CHAT.decode(thought.ids)[1].lstrip()
            assert thought.final == final
            assert thought.complete == (final or line)
            assert not CHAT.turn_ends & set(thought.ids[:-1])
            assert "\n" not in CHAT.decode(thought.ids[:-1])[1].lstrip()
            assert thought.complete or len(thought.ids) == request.sampling.max_tokens
            seen.add((final, line))
        assert not any(thought.final for thought in thoughts[:-1])
        assert thoughts[-1].final or len(thoughts) == len(request.metas)
    assert {(True, False), (False, True), (False, False)} <= seen


@pytest.mark.parametrize("kind", list(KINDS))
def test_greedy_decoding_is_that_of_transformers(kind: str) -> None:
    model = chat_model(CHAT, kind, seed=1)
    width = model.get_output_embeddings().out_features
    forbidden = (~CHAT.grammar(width)[0]).nonzero().flatten().tolist()
    played = complete(
        engine(model, CHAT), asked(3, metas=(None,) * 6, hints=(None,) * 6, temperature=0.0)
    )
    for text, thoughts in zip(TEXTS, played, strict=True):
        ids = [token for thought in thoughts for token in thought.ids]
        prompt = torch.tensor([CHAT.root(text)])
        made = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=len(ids),
            suppress_tokens=forbidden,
            eos_token_id=sorted(CHAT.turn_ends),
            pad_token_id=0,
        )
        assert made[0, prompt.shape[1] :].tolist() == ids


HINTED: list[tuple[tuple[Meta | None, ...], tuple[str | None, ...]]] = [
    ((Meta.EXPANSION,), ("Hint: add.\n",)),
    ((Meta.EXPANSION, Meta.EXPANSION, Meta.CRITIC), ("Hint: add.\n", None, "Hint: look.\n")),
    ((Meta.CONCLUSION, None, Meta.EXPANSION), ("Hint: end.\n", None, "Hint: add.\n")),
    ((None, Meta.REFINE), (None, None)),
]


@pytest.mark.parametrize("burst", BURSTS)
def test_hints_and_openers_leave_the_figures_of_the_path(
    model: PreTrainedModel, burst: int
) -> None:
    requests = [
        replace(each, metas=metas, hints=hints)
        for metas, hints in HINTED
        for each in asked(3, max_tokens=6)
    ]
    played = complete(engine(model, CHAT, burst=burst), requests)
    for request, thoughts in zip(requests, played, strict=True):
        check(model, request, thoughts)
        for meta, thought in zip(request.metas, thoughts, strict=False):
            assert (thought.meta, thought.forced_meta) == (meta, meta is not None)
    assert {len(thoughts) for thoughts in played} == {1, 2, 3}


PROBLEMS = [Problem(str(i), text, "7") for i, text in enumerate(TEXTS)]


def grown(model: PreTrainedModel, burst: int = 0, **search: object) -> list[Tree]:
    config = SearchConfig(**{"max_depth": 4, "max_thought_tokens": 8, **search})
    request = SearchRequest(PROBLEMS, config, [1, 2, 3], rewards=BY_EQUALITY)
    return grow(request, engine(model, CHAT, burst=burst), CHAT)


@pytest.mark.parametrize("burst", BURSTS)
@pytest.mark.parametrize(
    "search",
    [
        {"algorithm": "mcts", "simulations": 6, "discount": 1.0},
        {"algorithm": "mcts", "simulations": 4, "replacement": False},
        {"algorithm": "forks", "chains": 4, "forks": 3},
        {"algorithm": "distinct", "solutions": 7, "branches_at_once": 3},
        {"algorithm": "mcts", "simulations": 4, "meta_actions": "matrix", "hints": "answer"},
    ],
    ids=["mcts", "without replacement", "forks", "distinct", "matrix"],
)
def test_every_search_grows_paths_of_the_prompt_and_what_was_sampled(
    model: PreTrainedModel, burst: int, search: dict[str, object]
) -> None:
    """Thoughts are slices of a completion, with the log-probs of one forward over it."""
    trees = grown(model, burst, **search)
    grammar = CHAT.grammar(model.config.vocab_size)
    for tree in trees:
        prompt = CHAT.root(tree.problem.text)
        for leaf in tree.leaf_nodes():
            path = tree.path_ids(leaf, CHAT)
            steps = tree.path(leaf)[1:]
            with torch.no_grad():
                logits = model(torch.tensor([path])).logits[0]
            end = len(prompt)
            for step in steps:
                forced = step.thought.meta if step.thought.forced_meta else None
                start = end + len(CHAT.opening(step.depth, forced))
                end = start + len(step.thought.ids)
                expected = action_logprobs(
                    logits[start - 1 : end - 1],
                    torch.tensor(step.thought.ids),
                    grammar[[0] * len(step.thought.ids)],
                    Sampling(),
                )
                assert step.thought.ids == path[start:end]
                assert step.thought.logprobs == pytest.approx(expected.tolist(), **CLOSE)
            assert end == len(path)
            assert leaf.terminal == steps[-1].thought.final
            assert not any(step.terminal for step in steps[:-1])
    assert any(leaf.terminal for tree in trees for leaf in tree.leaf_nodes())


@pytest.mark.parametrize("burst", BURSTS)
def test_all_solutions_of_a_model_add_up_to_one(model: PreTrainedModel, burst: int) -> None:
    sizes = {"max_depth": 2, "max_thought_tokens": 2, "top_k": 3}
    for tree in grown(model, burst, algorithm="distinct", solutions=10_000, **sizes):
        leaves = list(tree.leaf_nodes())
        paths = {tuple(tree.path_ids(leaf, CHAT)) for leaf in leaves}
        assert len(paths) == len(leaves)
        assert sum(map(tree.probability, leaves)) == pytest.approx(1.0, abs=1e-5)


def test_vllm_is_refused_in_one_line(model: PreTrainedModel) -> None:
    with pytest.raises(UserError, match="vllm does not speak the chat language"):
        make_engine(
            EngineConfig(backend="vllm"),
            model,
            CHAT,
            dtype="float32",
            max_length=64,
            show_ratings=False,
        )


def test_what_opens_nothing_is_part_of_every_opening() -> None:
    assert isinstance(CHAT, ChatLanguage)
    assert all(CHAT.opening(1, meta)[:0] == CHAT.opening(1) for meta in METAS)
