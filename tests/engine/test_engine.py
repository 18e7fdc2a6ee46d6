"""The built-in engine against plain forward passes: one sequence, no cache, no padding."""

import numpy as np
import pytest
import torch
from built_in_engine import CLOSE, TEXTS, check, engine, requests
from peft import LoraConfig, get_peft_model
from toy_models import KINDS, allowed_tokens, masked_window, plain_figures, toy_model, walk
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from llamao1_cli.config import SearchConfig
from llamao1_cli.engine.builtin.weights import shape_of
from llamao1_cli.engine.protocol import Request, Thought, complete
from llamao1_cli.errors import UserError
from llamao1_cli.language.answers import stated_answer
from llamao1_cli.language.marked import Meta, Rating, parse_tree, render_tree
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.language.sampling import Sampling
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.tasks.problem import Problem


@pytest.fixture(scope="module")
def llama(language: MarkedLanguage) -> PreTrainedModel:
    return toy_model(language)


@pytest.mark.parametrize("kind", KINDS)
def test_figures_equal_a_plain_forward(language: MarkedLanguage, kind: str) -> None:
    model = toy_model(language, kind)
    asked = requests(language, 20)
    chains = complete(engine(model, language, rows=12), asked)
    for request, thoughts in zip(asked, chains, strict=True):
        check(model, language, request, thoughts)
    thoughts = [thought for chain in chains for thought in chain]
    assert {thought.complete for thought in thoughts} == {True, False}
    assert max(len(chain) for chain in chains) == 5


@pytest.mark.parametrize("kind", KINDS)
def test_figures_on_paths_that_are_continued(language: MarkedLanguage, kind: str) -> None:
    """Prefixes come from what was kept, more is queued than fits, and memory is short."""
    model = toy_model(language, kind)
    deep, shallow = 2, 9
    for memory in (2**30, _room(model, language, groups=3)):
        busy = engine(model, language, rows=5, memory=memory)
        trees = [Tree.plant(Problem("p", text, "7"), 0, 0.5) for text in [*TEXTS, "Why?"]]
        for round_ in range(deep):
            asked = [
                _continuation(tree, node, language, seed=shallow * round_ + seed)
                for tree in trees
                for node in tree.nodes[-2:]
                if not node.terminal
                for seed in range(3)
            ]
            for request, thoughts in zip(asked, complete(busy, asked), strict=True):
                check(model, language, request, thoughts)
                tree = next(
                    t
                    for t in trees
                    if t.path_ids(t.root, language)
                    == request.path[: len(t.path_ids(t.root, language))]
                )
                node = next(n for n in tree.nodes if tree.path_ids(n, language) == request.path)
                tree.attach(node, thoughts)
            assert busy.bytes <= memory


def test_figures_under_eager_attention(language: MarkedLanguage) -> None:
    model = toy_model(language)
    model.set_attn_implementation("eager")
    for request, thoughts in _played(language, model, requests(language, 5)):
        check(model, language, request, thoughts)


@pytest.mark.parametrize("temperature", [0.6, 1.7])
def test_figures_at_other_temperatures(
    language: MarkedLanguage, llama: PreTrainedModel, temperature: float
) -> None:
    for request, thoughts in _played(
        language, llama, requests(language, 8, temperature=temperature)
    ):
        check(llama, language, request, thoughts)


def test_greedy_takes_the_likeliest_allowed_token(
    language: MarkedLanguage, llama: PreTrainedModel
) -> None:
    played = _played(language, llama, requests(language, 8, temperature=0.0))
    for request, thoughts in played:
        check(llama, language, request, thoughts)
    again = _played(language, llama, requests(language, 8, temperature=0.0, seed=5))
    assert [c for _, c in again] == [c for _, c in played]  # no seed has a say


def test_a_request_does_not_depend_on_its_company(
    language: MarkedLanguage, llama: PreTrainedModel
) -> None:
    asked = requests(language, 14)
    together = complete(engine(llama, language), asked)
    in_threes = complete(engine(llama, language, rows=3), asked[::-1])[::-1]
    for request, *chains in zip(asked, together, in_threes, strict=True):
        (alone,) = complete(engine(llama, language), [request])
        for chain in chains:
            assert [t.ids for t in chain] == [t.ids for t in alone]
            for one, other in zip(chain, alone, strict=True):
                assert one.logprobs == pytest.approx(other.logprobs, **CLOSE)
                assert one.rating == pytest.approx(other.rating, **CLOSE)
    assert together[0] != complete(engine(llama, language), requests(language, 1, seed=9))[0]


def test_a_continuation_does_not_depend_on_who_asks_for_it(
    language: MarkedLanguage, llama: PreTrainedModel
) -> None:
    """The figures of a thought are the same in a roll-out and as its own request's."""
    asked = requests(language, 5)[4]
    (chain,) = complete(engine(llama, language), [asked])
    assert len(chain) > 1
    tree = Tree.plant(Problem("p", TEXTS[4 % 3], "7"), 0, 0.5)
    node = tree.attach(tree.root, chain[:1])[0]
    one = (None,)
    request = Request(tree.path_ids(node, language), 2, one, one, Sampling(7, temperature=0.0), 0)
    ((greedy,),) = complete(engine(llama, language), [request])
    (before, _), *_ = walk(language, request, [greedy])
    assert before == walk(language, asked, chain)[1][0]
    assert greedy.ids == plain_figures(llama, language, before, greedy, 1.0).best


def test_thoughts_always_parse(language: MarkedLanguage, llama: PreTrainedModel) -> None:
    seen, answers = set(), 0
    for request, thoughts in _played(language, llama, requests(language, 300, max_tokens=5)):
        tree = Tree.plant(Problem("p", "How many?", "7"), 0, 0.5)
        nodes = tree.attach(tree.root, thoughts)
        texts = [(node.meta, node.text) for node in parse_tree(render_tree(tree.marked()))]
        assert texts[1:] == [(thought.meta, thought.text) for thought in thoughts]
        assert not any(stated_answer(node.thought.text) for node in nodes[:-1])
        assert len(nodes) == len(request.metas) or nodes[-1].terminal
        answers += nodes[-1].terminal
        for thought in thoughts:
            seen.add(thought.meta)
            words = thought.ids[thought.meta is not None :]
            words = words[:-1] if thought.complete else words
            assert not set(words) & _markers(language)
            assert language.decode(thought.ids) == (thought.meta, thought.text)
            assert not thought.forced_meta
    assert seen == {None, *Meta}
    assert answers


def test_a_thought_that_does_not_end_is_cut(
    language: MarkedLanguage, llama: PreTrainedModel
) -> None:
    for request, thoughts in _played(language, llama, requests(language, 10, max_tokens=2)):
        check(llama, language, request, thoughts)
        for thought in thoughts:
            assert len(thought.ids) <= 2
            assert thought.complete == (thought.ids[-1] == language.thought_end)
            assert thought.complete or len(thought.ids) == 2


def test_a_request_ends_with_its_tokens(language: MarkedLanguage, llama: PreTrainedModel) -> None:
    whole = complete(engine(llama, language), requests(language, 12))
    for most in (1, 5, 7, 12, 40):
        cut = complete(engine(llama, language), requests(language, 12, budget=most))
        for full, part in zip(whole, cut, strict=True):
            tokens = [token for thought in full for token in thought.ids]
            assert [token for thought in part for token in thought.ids] == tokens[:most]
            assert part[:-1] == full[: len(part) - 1]  # whole thoughts stay as they were
            if len(tokens) <= most:
                assert part[-1].complete == full[-1].complete
            elif len(part[-1].ids) < len(full[len(part) - 1].ids):
                assert not part[-1].complete
    asked = requests(language, 6, budget=5)
    for request, thoughts in zip(asked, complete(engine(llama, language), asked), strict=True):
        check(llama, language, request, thoughts)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_forced_meta_actions_are_no_samples(
    language: MarkedLanguage, llama: PreTrainedModel, temperature: float
) -> None:
    metas = (Meta.CRITIC, Meta.REFINE, Meta.CONCLUSION)
    asked = requests(language, 8, metas=metas, hints=(None,) * 3, temperature=temperature)
    for request, thoughts in _played(language, llama, asked):
        check(llama, language, request, thoughts)
        assert [thought.meta for thought in thoughts] == list(metas[: len(thoughts)])
        assert all(thought.forced_meta for thought in thoughts)
        assert not {i for t in thoughts for i in t.ids} & {language.meta(meta) for meta in Meta}
        assert not any(t.ids[0] == language.thought_end for t in thoughts)


def test_the_shown_rating_is_part_of_the_path(
    language: MarkedLanguage, llama: PreTrainedModel
) -> None:
    shown = set()
    for request, thoughts in _played(language, llama, requests(language, 10), show_ratings=True):
        check(llama, language, request, thoughts)
        for thought in thoughts:
            shown.add(thought.shown)
            positive = thought.rating >= 0.5
            assert thought.shown == (Rating.POSITIVE if positive else Rating.NEGATIVE)
    assert len(shown) == 2
    hidden = {t.shown for _, c in _played(language, llama, requests(language, 5)) for t in c}
    assert hidden == {Rating.UNKNOWN}


def test_hinted_thoughts_are_scored_without_their_hints(
    language: MarkedLanguage, llama: PreTrainedModel
) -> None:
    metas, hints = (Meta.EXPANSION, Meta.CRITIC, Meta.REFINE), ("Say 5.", None, "Hint: once more.")
    fields = {"metas": metas, "max_tokens": 4}
    told = requests(language, 8, hints=hints, **fields)
    untold = requests(language, 8, hints=(None,) * 3, **fields)
    played = _played(language, llama, told)
    for request, thoughts in played:
        check(llama, language, request, thoughts)  # `check` knows of no hint
    plain = [[t.ids for t in thoughts] for _, thoughts in _played(language, llama, untold)]
    assert [[t.ids for t in thoughts] for _, thoughts in played] != plain
    greedy = requests(language, 4, hints=hints, **fields, temperature=0.0)
    for request, thoughts in _played(language, llama, greedy):
        for before, thought in walk(language, request, thoughts, hints=True):
            assert thought.ids == plain_figures(llama, language, before, thought, 1.0).best


def test_a_path_that_would_outgrow_the_context_is_closed_and_never_cut(
    language: MarkedLanguage, llama: PreTrainedModel
) -> None:
    (request,) = requests(language, 1, metas=(None,) * 5, hints=(None,) * 5, seed=104)
    (free,) = complete(engine(llama, language), [request])
    assert len(free) > 2
    least = len(request.path) + len(language.opening(1)) + request.sampling.max_tokens + 4
    lengths = []
    for limit in [least - 1, *range(least, 256, 7)]:
        (chain,) = complete(engine(llama, language, max_length=limit), [request])
        assert [t.ids for t in chain] == [t.ids for t in free[: len(chain)]]
        if chain:
            before, _ = walk(language, request, chain)[-1]
            assert len(before) + request.sampling.max_tokens + 4 <= limit
            assert before[: len(request.path)] == request.path
        lengths.append(len(chain))
    assert lengths[:2] == [0, 1]
    assert lengths == sorted(lengths)
    assert set(lengths) == set(range(len(free) + 1))


def test_sampling_has_the_distribution_of_the_plain_forward(
    language: MarkedLanguage, llama: PreTrainedModel
) -> None:
    count, fields = 1500, {"metas": (None,), "hints": (None,), "max_tokens": 1, "temperature": 0.8}
    asked = [requests(language, 1, seed=seed, **fields)[0] for seed in range(count)]
    tokens = [chain[0].ids[0] for chain in complete(engine(llama, language, rows=500), asked)]
    ids = torch.tensor([asked[0].path + language.opening(1)])
    with torch.no_grad():
        logits = llama(ids).logits[0, -1] / 0.8
    allowed = language.grammar(len(logits))[1]
    chances = logits.masked_fill(~allowed, -torch.inf).softmax(-1).double().numpy()
    observed = np.bincount(tokens, minlength=len(chances))
    often = chances * count >= 5
    expected = np.append(chances[often], chances[~often].sum()) * count
    got = np.append(observed[often], observed[~often].sum())
    assert often.sum() > 5
    # Wilson and Hilferty's approximation of the 99.9% quantile
    freedom = len(expected) - 1
    limit = freedom * (1 - 2 / (9 * freedom) + 3.09 * (2 / (9 * freedom)) ** 0.5) ** 3
    assert ((got - expected) ** 2 / expected).sum() < limit


def test_rate_equals_a_plain_forward(language: MarkedLanguage, llama: PreTrainedModel) -> None:
    paths = [
        language.unrated(language.root(text))
        for text in [*TEXTS, "a", "Ben gives away 3 of them. " * 3]
    ]
    values = engine(llama, language, rows=2).rate(paths)
    for path, value in zip(paths, values, strict=True):
        with torch.no_grad():
            logits = llama(torch.tensor([[*path, language.rating_start]])).logits[0, -1]
        positive, negative = logits[[language.positive, language.negative]].exp().tolist()
        assert value == pytest.approx(positive / (positive + negative), **CLOSE)
    assert len({round(value, 4) for value in values}) == len(values)
    assert engine(llama, language).rate([]) == []


def test_the_model_itself_is_left_alone(language: MarkedLanguage, llama: PreTrainedModel) -> None:
    before = {name: weight.clone() for name, weight in llama.named_parameters()}
    attention = llama.config._attn_implementation
    llama.train()
    idle = engine(llama, language)
    assert complete(idle, requests(language, 6))
    assert llama.training
    llama.eval()
    assert llama.config._attn_implementation == attention
    for name, weight in llama.named_parameters():
        assert torch.equal(weight, before[name])
        assert weight.requires_grad
    assert complete(idle, []) == []


def test_nothing_is_read_twice(language: MarkedLanguage, llama: PreTrainedModel) -> None:
    """A tree grown level by level reads each of its tokens once, and one more an expansion that
    begins where everything is known."""
    busy = engine(llama, language, max_length=512)
    tree = Tree.plant(Problem("p", TEXTS[1], "7"), 0, 0.5)
    busy.rate([language.unrated(language.root(TEXTS[1]))])
    expansions = 0
    for level in range(4):
        for node in [n for n in tree.nodes if n.depth == level and not n.terminal]:
            for _ in range(2):
                asked = [
                    _continuation(tree, node, language, seed=len(tree.nodes) + i) for i in (0, 1)
                ]
                expansions += 1
                for thoughts in complete(busy, asked):
                    tree.attach(node, thoughts)
    read = set()
    for node in tree.nodes:
        path = tree.path_ids(node, language)
        open_node = node.depth < 4 and not node.terminal
        path = path + language.opening(node.depth + 1) if open_node else path[:-2]
        read |= {tuple(path[:end]) for end in range(1, len(path) + 1)}
    assert len(tree.nodes) > 60
    # Siblings that begin alike are sampled side by side: what they share is read by each.
    thoughts = sum(len(n.thought.ids) + (not n.thought.complete) + 1 for n in tree.nodes[1:])
    distinct = {tuple(tree.path_ids(n, language)) for n in tree.nodes}
    assert len(distinct) > 0.9 * len(tree.nodes)
    alike = thoughts - len(
        {
            (tuple(tree.path_ids(tree.nodes[n.parent], language)), tuple(ids[: end + 1]))
            for n in tree.nodes[1:]
            for ids in [
                tree.path_ids(n, language)[
                    len(tree.path_ids(tree.nodes[n.parent], language))
                    + len(language.opening(1)) : -2
                ]
            ]
            for end in range(len(ids))
        }
    )
    assert busy.forwarded <= len(read) + expansions + alike


def test_memory_stays_within_its_budget_and_nothing_leaks(
    language: MarkedLanguage, llama: PreTrainedModel
) -> None:
    budget = _room(llama, language, groups=12)
    busy = engine(llama, language, rows=24, memory=budget)
    config = SearchConfig(simulations=12, max_thought_tokens=6, rollout=False)
    problems = [Problem(f"p{i}", f"How many are {i} and {i * 7}?", "7") for i in range(16)]
    held = set()
    for _ in range(12):
        trees = grow(
            SearchRequest(
                problems, config, range(16), on_growth=lambda trees: held.add(busy.bytes)
            ),
            busy,
            language,
        )
        assert not busy._memory.live
        assert not busy._queue
        assert not any(segment.pins for segment in busy._memory.segments)
    assert sum(len(tree.nodes) for tree in trees) > 16 * 12
    assert max(held) <= budget
    assert max(held) > 0.8 * budget  # it was short of memory, so that something had to go


def test_memory_stays_within_its_budget_at_full_size(
    language: MarkedLanguage, llama: PreTrainedModel
) -> None:
    """64 trees of 64 simulations, then 50 small searches on the same engine."""
    budget = _room(llama, language, groups=80)
    busy, held = engine(llama, language, rows=128, memory=budget), [0]

    def search(trees: int, simulations: int) -> None:
        config = SearchConfig(simulations=simulations, max_thought_tokens=4, rollout=False)
        problems = [Problem(f"p{i}", f"How many are {i} and {i * 7}?", "7") for i in range(trees)]
        grow(
            SearchRequest(
                problems, config, range(trees), on_growth=lambda grown: held.append(busy.bytes)
            ),
            busy,
            language,
        )

    search(64, 64)
    assert 0.8 * budget < max(held) <= budget
    for _ in range(50):
        search(2, 2)
        assert busy.bytes <= budget
    assert not busy._memory.live
    assert not any(segment.pins for segment in busy._memory.segments)


def test_memory_holds_for_batches_of_every_shape(
    language: MarkedLanguage, llama: PreTrainedModel
) -> None:
    """Many short groups, then few long ones, long prefixes beside long roll-outs, and back."""
    budget = 30 * _room(llama, language, groups=1) // 4
    busy, words = engine(llama, language, rows=64, memory=budget, max_length=480), "so many "
    held = []

    def play(texts: list[str], thoughts: int) -> None:
        asked = [
            Request(
                language.root(text), 1, (None,) * thoughts, (None,) * thoughts, Sampling(5), seed
            )
            for seed, text in enumerate(texts)
        ]
        tickets, finished = busy.submit(asked), 0
        while busy._queue or busy._memory.live:
            busy._step()
            held.append(busy.bytes)
        finished = len(busy.poll())
        assert finished == len(tickets)

    for _ in range(2):
        play([f"How many are {i}?" for i in range(60)], 1)
        play([words * 120 + str(i) for i in range(3)], 1)
        play([words * 120, *(f"How many are {i}?" for i in range(9))], 9)
    assert max(held) <= budget
    assert max(held) > budget / 3


def test_never_more_rows_than_configured_are_in_flight(
    language: MarkedLanguage, llama: PreTrainedModel
) -> None:
    path = language.root("How many?")
    for rows in (1, 3, 8):
        busy = engine(llama, language, rows=rows)
        asked = [Request(path, 1, (None,), (None,), Sampling(4), seed) for seed in range(12)]
        busy.submit(asked)
        most = 0
        while busy._queue or busy._memory.live:
            busy._step()
            most = max(most, sum(not row.done for group in busy._memory.live for row in group.rows))
        assert len(busy.poll()) == 12
        assert 0 < most <= rows


def test_groups_wider_than_those_in_flight_wait_their_turn(
    language: MarkedLanguage, llama: PreTrainedModel
) -> None:
    busy = engine(llama, language)
    narrow = requests(language, 3, metas=(None,) * 4, hints=(None,) * 4)
    wide = [
        Request(language.root(f"Who has {i // 5}?"), 1, (None,), (None,), Sampling(6), i)
        for i in range(15)
    ]
    tickets = busy.submit(narrow)
    busy._step()
    tickets += busy.submit(wide)
    results: dict[int, list[Thought]] = {}
    while finished := busy.poll():
        results |= dict(finished)
    for ticket, request in zip(tickets, [*narrow, *wide], strict=True):
        check(llama, language, request, results[ticket])


def test_hinted_and_plain_requests_of_one_path_share_it(
    language: MarkedLanguage, llama: PreTrainedModel
) -> None:
    """Each has true figures, and what continues either is found again."""
    busy, path = engine(llama, language), language.root("How many are there of them?")
    hints = [("Say 5.",), (None,), ("Hint: no.",), (None,)]
    metas = (Meta.EXPANSION,)
    asked = [Request(path, 1, metas, hint, Sampling(6), 40 + i) for i, hint in enumerate(hints)]
    for request, (thought,) in zip(asked, complete(busy, asked), strict=True):
        check(llama, language, request, [thought])
        tree = Tree.plant(Problem("p", "How many are there of them?", "7"), 0, 0.5)
        node = tree.attach(tree.root, [thought])[0]
        deeper = Request(tree.path_ids(node, language), 2, (None,), (None,), Sampling(3), 7)
        before = busy.forwarded
        (chain,) = complete(busy, [deeper])
        check(llama, language, deeper, chain)
        new = 2 + len(language.opening(2)) + len(chain[0].ids) + (not chain[0].complete) + 1
        assert busy.forwarded - before <= new


def test_a_long_prompt_is_read_in_parts(language: MarkedLanguage, llama: PreTrainedModel) -> None:
    long = toy_model(language)
    long.config.max_position_embeddings = 4096
    text = "There are 7 pens and 3 coins. " * 60
    busy = engine(long, language, max_length=4000)
    request = Request(language.root(text), 1, (None,) * 2, (None,) * 2, Sampling(5), 3)
    assert len(request.path) > 700
    (chain,) = complete(busy, [request])
    check(long, language, request, chain)
    assert busy.rate([language.unrated(language.root(text))]) == pytest.approx(
        [_plain_value(long, language, language.unrated(language.root(text)))], **CLOSE
    )


def test_a_problem_beyond_the_context_is_left_unread(
    language: MarkedLanguage, llama: PreTrainedModel
) -> None:
    busy = engine(llama, language, max_length=40)
    path = language.root("There are 7 pens and 3 coins. " * 9)
    assert busy.rate([path]) == [0.5]
    assert complete(busy, [Request(path, 1, (None,), (None,), Sampling(4), 0)]) == [[]]
    assert busy.forwarded == 0


def test_a_budget_below_one_group_is_refused(
    language: MarkedLanguage, llama: PreTrainedModel
) -> None:
    tight = engine(llama, language, memory=10_000)
    with pytest.raises(UserError, match=r"engine\.memory_gib"):
        complete(tight, requests(language, 2))


def test_a_thought_is_as_long_as_it_must_be(
    language: MarkedLanguage, llama: PreTrainedModel
) -> None:
    asked = requests(language, 20, min_tokens=4, max_tokens=9)
    for _, thoughts in _played(language, llama, asked):
        for thought in thoughts:
            assert language.thought_end not in thought.ids[:4]
            assert len(thought.ids) >= 5


def test_a_stop_token_cuts_the_thought(language: MarkedLanguage, llama: PreTrainedModel) -> None:
    stop = language.encode("\\boxed{7}.")[0]
    cut = [
        thought
        for request, thoughts in _played(language, llama, requests(language, 40, stop_ids=(stop,)))
        for thought in thoughts
        if stop in thought.ids
    ]
    assert cut
    for thought in cut:
        assert thought.ids.index(stop) == len(thought.ids) - 1
        assert not thought.complete


@pytest.mark.parametrize(("top_k", "top_p"), [(3, 1.0), (0, 0.6), (5, 0.8)])
def test_cut_distributions_have_their_own_figures(
    language: MarkedLanguage, llama: PreTrainedModel, top_k: int, top_p: float
) -> None:
    asked = requests(language, 6, top_k=top_k, top_p=top_p, temperature=0.9)
    for request, thoughts in _played(language, llama, asked):
        for before, thought in walk(language, request, thoughts):
            with torch.no_grad():
                logits = llama(torch.tensor([[*before, *thought.ids]])).logits[0, len(before) - 1 :]
            for index, token in enumerate(thought.ids):
                allowed = allowed_tokens(language, index, forced=False)
                chances = (logits[index, allowed] / 0.9).softmax(-1).tolist()
                order = sorted(range(len(chances)), key=lambda i: -chances[i])[: top_k or None]
                total, kept, reached = sum(chances[i] for i in order), [], 0.0
                for i in order:
                    if reached < top_p:
                        kept.append(i)
                    reached += chances[i] / total
                left = {allowed[i]: chances[i] / sum(chances[j] for j in kept) for i in kept}
                assert thought.logprobs[index] == pytest.approx(np.log(left[token]), **CLOSE)
                entropy = -sum(p * np.log(p) for p in left.values())
                assert thought.entropy[index] == pytest.approx(entropy, **CLOSE)


@pytest.mark.parametrize("tied", [True, False])
def test_the_copy_follows_the_model_and_its_adapters(language: MarkedLanguage, tied: bool) -> None:
    """Merged LoRA and trained marker rows, and what an update makes of them."""
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(language.tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
        tie_word_embeddings=tied,
    )
    rows = [language.thought_end, language.rating_start, language.positive]
    names = ["embed_tokens"] if tied else ["embed_tokens", "lm_head"]
    model = get_peft_model(
        LlamaForCausalLM(config),
        LoraConfig(
            r=3, target_modules="all-linear", trainable_token_indices=dict.fromkeys(names, rows)
        ),
    )
    asked, kept = requests(language, 6), engine(model, language)
    for _ in range(2):
        with torch.no_grad():
            for weight in model.parameters():
                if weight.requires_grad:
                    weight.add_(torch.randn_like(weight) * 0.2)
        kept.refresh()
        for request, thoughts in zip(asked, complete(kept, asked), strict=True):
            check(model.eval(), language, request, thoughts)


def test_bfloat16_rollouts_stay_near_the_model(
    language: MarkedLanguage, llama: PreTrainedModel
) -> None:
    asked = requests(language, 12)
    played = _played(language, llama, asked, dtype=torch.bfloat16)
    gaps = []
    for request, thoughts in played:
        for before, thought in walk(language, request, thoughts):
            expected = plain_figures(llama, language, before, thought, 1.0)
            gaps += np.abs(np.subtract(thought.logprobs, expected.logprobs)).tolist()
    assert 1e-5 < np.mean(gaps) < 0.1  # another type indeed, and close


def test_an_architecture_of_its_own_attention_is_refused(language: MarkedLanguage) -> None:
    torch.manual_seed(0)
    odd = BloomForCausalLM(
        BloomConfig(vocab_size=len(language.tokenizer), hidden_size=32, n_layer=2, n_head=4)
    )
    with pytest.raises(UserError, match="BloomForCausalLM"):
        engine(odd, language)


def test_a_window_that_only_masks_know_is_refused(language: MarkedLanguage) -> None:
    with pytest.raises(UserError, match="gives other logits for PhimoeForCausalLM"):
        engine(masked_window(len(language.tokenizer)), language)


def _plain_value(model: PreTrainedModel, language: MarkedLanguage, path: list[int]) -> float:
    with torch.no_grad():
        logits = model(torch.tensor([[*path, language.rating_start]])).logits[0, -1]
    return float(torch.sigmoid(logits[language.positive] - logits[language.negative]))


def _continuation(tree: Tree, node: Node, language: MarkedLanguage, seed: int) -> Request:
    return Request(
        tree.path_ids(node, language), node.depth + 1, (None,), (None,), Sampling(5), seed
    )


def _room(model: PreTrainedModel, language: MarkedLanguage, groups: int) -> int:
    """Bytes for so many groups of two rows at paths of a hundred tokens."""
    shape = shape_of(model)
    return groups * shape.token_bytes * (192 + 2 * 64)


def _played(
    language: MarkedLanguage, model: PreTrainedModel, asked: list[Request], **changes: object
) -> list[tuple[Request, list[Thought]]]:
    return list(zip(asked, complete(engine(model, language, **changes), asked), strict=True))


def _markers(language: MarkedLanguage) -> set[int]:
    names = language.tokenizer.get_vocab()
    return {index for name, index in names.items() if name[0] == "<" and len(name) > 3}
