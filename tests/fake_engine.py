"""An engine without a model, and trees without a search, for tests of what stands around them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from llamao1_cli.config import GradingConfig
from llamao1_cli.engine.protocol import Beginning, Request, Thought
from llamao1_cli.language.marked import Meta, Rating
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.tasks.problem import EQUALITY, Problem
from llamao1_cli.tasks.rewards import Rewards, rewards_by_equality
from llamao1_cli.tasks.verifier import Verifier

# What a thought says and is worth, from its request, its depth, its meta-action and a generator.
Script = Callable[[Request, int, Meta | None, np.random.Generator], tuple[str, float]]

VALUES = (0.0, 0.25, 0.5, 0.75, 1.0)


def wander(
    request: Request, depth: int, meta: Meta | None, rng: np.random.Generator
) -> tuple[str, float]:
    """Now and then an answer, 7 or 8; else a step. The value may be exactly 0."""
    value = float(rng.choice(VALUES))
    if meta is Meta.CONCLUSION or rng.random() < 0.3:
        return f"The answer is \\boxed{{{rng.integers(7, 9)}}}.", value
    return f"step {rng.integers(60)}", value


class FakeEngine:
    """Thoughts from a script and the request's own seed; it remembers what it was asked."""

    def __init__(
        self,
        language: MarkedLanguage,
        script: Script = wander,
        *,
        full: Callable[[Request], bool] = lambda request: False,
        root_value: float = 0.5,
        batch: int = 10_000,
    ) -> None:
        self._language, self._script, self._full, self._root_value = (
            language,
            script,
            full,
            root_value,
        )
        self._batch, self._queue = batch, list[int]()
        self.requests: list[Request] = []
        self.rated: list[list[int]] = []

    def submit(self, requests: Sequence[Request]) -> list[int]:
        """Tickets in the order of asking."""
        first = len(self.requests)
        self.requests += requests
        self._queue += range(first, first + len(requests))
        return self._queue[-len(requests) :] if requests else []

    def poll(self) -> list[tuple[int, list[Thought]]]:
        """Chains of thoughts, `batch` requests at a time, the last ones first; none for a request
        that `full` holds to have no room."""
        taken, self._queue = self._queue[-self._batch :], self._queue[: -self._batch]
        asked = [(ticket, self.requests[ticket]) for ticket in reversed(taken)]
        return [(t, [] if self._full(request) else self._chain(request)) for t, request in asked]

    def refresh(self) -> None:
        """It has no weights."""

    def rate(self, paths: Sequence[list[int]]) -> list[float]:
        """The same value for every root."""
        self.rated += paths
        return [self._root_value] * len(paths)

    def _chain(self, request: Request) -> list[Thought]:
        rng = np.random.default_rng(request.seed)
        chain: list[Thought] = []
        for depth, meta in enumerate(request.metas, start=request.depth):
            text, value = self._script(request, depth, meta, rng)
            chain.append(thought(self._language, rng, text, value, meta))
            if len(chain) == 1:
                chain[0] = _begun(self._language, rng, chain[0], request.begins)
            spent = sum(each.generated for each in chain)
            if request.budget is not None and spent >= request.budget:
                chain[-1] = _cut(self._language, chain[-1], spent - request.budget)
                break
            if "boxed" in text:
                break
        return chain


class FakeEndpoint:
    """An external judge that charges `price` tokens a node, and values them by `worth`."""

    def __init__(self, price: int = 0, worth: Callable[[Node], float] = lambda node: 0.5) -> None:
        self.max_tokens, self._worth = price, worth
        self.asked = 0

    def judge(self) -> Callable[[Sequence[Tree]], None]:
        """What values each node of a forest once."""
        known: dict[int, int] = {}

        def value(trees: Sequence[Tree]) -> None:
            for tree in trees:
                for node in tree.nodes[known.get(id(tree), 0) :]:
                    node.value = self._worth(node)
                    tree.judging_tokens += self.max_tokens
                    self.asked += 1
                known[id(tree)] = len(tree.nodes)

        return value

    def drain(self) -> dict[str, int]:
        """What was asked since the last call."""
        asked, self.asked = self.asked, 0
        return {"asked": asked}


def _begun(
    language: MarkedLanguage, rng: np.random.Generator, whole: Thought, begins: Beginning
) -> Thought:
    """The thought behind the tokens that it begins with, by none of those that are barred."""
    ids = list(whole.ids)
    if ids[0] in begins.barred:
        words = (language.encode(str(number))[0] for number in range(99))
        ids.insert(0, next(word for word in words if word not in begins.barred))
    new = rng.uniform(0.05, 3.0, (3, len(ids))) * [[-1], [1], [1]]
    known = (begins.logprobs, begins.entropy, begins.varentropy)
    figures = [[*old, *fresh] for old, fresh in zip(known, new.tolist(), strict=True)]
    if begins == Beginning():
        return whole
    return Thought(
        whole.meta, language.decode([*begins.ids, *ids])[1], [*begins.ids, *ids], *figures,
        known=len(begins.ids), complete=whole.complete, rating=whole.rating, shown=whole.shown,
    )  # fmt: skip


def _cut(language: MarkedLanguage, whole: Thought, surplus: int) -> Thought:
    """The thought without its last tokens; nothing changes if there are none too many."""
    if not surplus:
        return whole
    kept = len(whole.ids) - surplus
    figures = {name: getattr(whole, name)[:kept] for name in ("logprobs", "entropy", "varentropy")}
    ids = whole.ids[:kept]
    return replace(whole, text=language.decode(ids)[1], ids=ids, complete=False, **figures)


def thought(
    language: MarkedLanguage,
    rng: np.random.Generator,
    text: str,
    value: float,
    meta: Meta | None = None,
    *,
    forced: bool | None = None,
    complete: bool = True,
) -> Thought:
    """A thought with random figures; a `meta` that is not forced is among its tokens."""
    forced = meta is not None if forced is None else forced
    ids = [language.meta(meta)] if meta and not forced else []
    ids += language.encode(text) + [language.thought_end] * complete
    figures = rng.uniform(0.05, 3.0, (3, len(ids)))
    return Thought(
        meta,
        text,
        ids=ids,
        logprobs=(-figures[0]).tolist(),
        entropy=figures[1].tolist(),
        varentropy=figures[2].tolist(),
        forced_meta=forced,
        complete=complete,
        rating=value,
        shown=Rating.UNKNOWN,
    )


def by_equality(pairs: Sequence[tuple[str, str]]) -> list[bool]:
    """Whether whole numbers are equal."""
    return [stated == true for stated, true in pairs]


BY_EQUALITY = Rewards(rewards_by_equality(by_equality))
# It starts no process for whole numbers.
VERIFIER = Verifier(GradingConfig(), EQUALITY, 1.0, Path("rewards.log"))


def answer_of(chosen: Node | None) -> str | None:
    """The answer of a chosen solution."""
    return chosen.answer if chosen else None


def random_tree(language: MarkedLanguage, seed: int, size: int = 12, answer: str = "7") -> Tree:
    """A tree of random shape whose thoughts vary in every field; graded, but not rectified."""
    rng = np.random.default_rng(seed)
    tree = Tree.plant(Problem(f"p{seed}", f"How many are {seed}?", answer), seed, rng.random())
    tree.root.thought.shown = Rating.UNKNOWN
    tree.root.value = 1.0 - tree.root.value
    while len(tree.nodes) < size:
        open_nodes = [node for node in tree.nodes if not node.terminal]
        parent = open_nodes[rng.integers(len(open_nodes))]
        _grow_one(tree, parent, language, rng)
    return tree


def chain_tree(values: Sequence[float], outcome: bool | None) -> Tree:
    """A chain whose thoughts have `values`; the last states an answer unless `outcome` is None."""
    tree = Tree.plant(Problem("chain", "How many?", "7"), 0, values[0])
    node = tree.root
    for depth, value in enumerate(values[1:], start=1):
        last = outcome is not None and depth == len(values) - 1
        text = "The answer is \\boxed{7}." if last else "a step"
        node = tree.attach(node, [Thought(None, text, rating=value)])[0]
    if outcome is not None:
        node.earn(float(outcome))
    return tree


def shaped_tree(parents: Sequence[int], leaves: dict[int, bool | None]) -> Tree:
    """A tree in which node i + 1 stands below `parents[i]`; `leaves` gives the outcomes."""
    tree = Tree.plant(Problem("shape", "How many?", "7"), 0, 0.5)
    for index, parent in enumerate(parents, start=1):
        known = leaves.get(index) is not None
        text = "The answer is \\boxed{7}." if known else "a step"
        tree.attach(tree.nodes[parent], [Thought(None, text)])
        if (outcome := leaves.get(index)) is not None:
            tree.nodes[index].earn(float(outcome))
    return tree


def _grow_one(tree: Tree, parent: Node, language: MarkedLanguage, rng: np.random.Generator) -> None:
    """One more thought, in one case of three an answer, right or wrong or (rarely) ungraded."""
    meta = [None, *Meta][rng.integers(6)]
    final, complete = rng.random() < 0.35, bool(rng.random() < 0.7)
    stated = str(rng.integers(7, 9))
    text = f"The answer is \\boxed{{{stated}}}." if final else f"step {rng.integers(60)}"
    forced = bool(meta is not None and rng.random() < 0.5)
    new = thought(language, rng, text, float(rng.random()), meta, forced=forced, complete=complete)
    new.shown = list(Rating)[rng.integers(3)]
    node = tree.attach(parent, [new])[0]
    node.visits, node.value_sum = int(rng.integers(1, 9)), float(rng.random() * 3)
    node.value = 1.0 - new.rating  # judged otherwise than rated
    if final:
        node.earn(float(stated == tree.problem.answer))
