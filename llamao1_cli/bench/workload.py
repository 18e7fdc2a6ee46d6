"""Trees whose shape and lengths depend on a seed alone, so that every engine does equal work."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from llamao1_cli.config import SearchConfig
from llamao1_cli.engine.protocol import Engine, Request, Thought
from llamao1_cli.language.protocol import Language
from llamao1_cli.search.grow import SearchRequest, grow
from llamao1_cli.search.protocol import Pick, SearchRule
from llamao1_cli.search.tree import Node, Tree
from llamao1_cli.tasks.problem import Problem

ROOM = 16  # tokens of headers and ratings a thought, at most


@dataclass(frozen=True)
class Workload:
    """The trees that one measurement grows."""

    trees: int
    simulations: int  # expansions a tree
    candidates: int  # thoughts of an expansion
    max_children: int
    prompt_tokens: tuple[int, int]  # fewest and most
    thought_tokens: tuple[int, int]
    max_depth: int
    seed: int
    chains: int = 0  # of a tree of chains and forks; 0: expansions of one thought instead
    forks: int = 0

    @property
    def max_length(self) -> int:
        """How long a path can be at most."""
        thought = self.thought_tokens[1] + ROOM
        return self.prompt_tokens[1] + ROOM + self.max_depth * thought

    @property
    def room(self) -> int:
        """How many expansions a tree has room for."""
        inner = sum(self.max_children**depth for depth in range(self.max_depth))
        return inner * -(-self.max_children // self.candidates)

    def problems(self, language: Language) -> list[Problem]:
        """Returns problems of random words, each of its own length."""
        rng = np.random.default_rng([self.seed, 0])
        words = [" one", " two", " red", " blue", " of", " and", " has", " gives", " then", " it"]
        made = []
        for index in range(self.trees):
            text, length = "How", rng.integers(*self.prompt_tokens, endpoint=True)
            while len(language.encode(text)) < length:
                text += words[rng.integers(len(words))]
            made.append(Problem(f"bench-{index}", text, "7"))
        return made

    def grow(self, engine: Engine, language: Language, trees: int | None = None) -> list[Tree]:
        """Returns the first `trees` of the workload's trees (None: all), grown by the engine."""
        problems = self.problems(language)[:trees]
        config = SearchConfig(
            candidates=self.candidates,
            max_children=self.max_children,
            max_depth=self.max_depth,
        )
        seeds = [self.seed + 1 + index for index in range(len(problems))]
        sized = _Sized(engine, self.thought_tokens)
        rule: SearchRule = _Wander(self.simulations, config)
        if self.chains:
            rule = _Fork(self.chains, self.forks, self.max_depth)
        return grow(SearchRequest(problems, config, seeds, rule=rule), sized, language)


class _Wander:
    """Expands where a random walk from the root first finds room; looks at no value."""

    def __init__(self, simulations: int, config: SearchConfig) -> None:
        self._simulations, self._config = simulations, config

    def pick(self, trees: list[Tree]) -> list[Pick]:
        picks = []
        for tree in trees:
            if tree.simulations < self._simulations:
                tree.simulations += 1
                node = self._walk(tree)
                room = self._config.max_children - len(node.children)
                picks.append(Pick(tree, node, min(self._config.candidates, room)))
        return picks

    def reach(self, node: Node) -> int:
        return 1

    def absorb(self, tree: Tree, node: Node) -> None:
        """Nothing: the next walk is random too."""

    def _walk(self, tree: Tree) -> Node:
        rng = np.random.default_rng([tree.seed, tree.simulations])
        while True:
            node = tree.root
            while len(node.children) >= self._config.max_children:
                node = tree.nodes[node.children[rng.integers(len(node.children))]]
            if node.depth < self._config.max_depth:
                return node


class _Fork:
    """Chains from every root, then forks at random steps behind the first."""

    def __init__(self, chains: int, forks: int, max_depth: int) -> None:
        self._chains, self._forks, self._max_depth = chains, forks, max_depth

    def pick(self, trees: list[Tree]) -> list[Pick]:
        picks = []
        for tree in trees:
            tree.simulations += 1
            if tree.simulations == 1:
                picks.append(Pick(tree, tree.root, self._chains))
            elif tree.simulations == 2:
                # Where chains are one thought long, a fork is one more of them.
                inner = [node for node in tree.nodes[1:] if node.children] or [tree.root]
                drawn = np.random.default_rng(tree.seed).integers(len(inner), size=self._forks)
                picks += [Pick(tree, inner[index], 1) for index in drawn]
        return picks

    def reach(self, node: Node) -> int:
        return self._max_depth - node.depth

    def absorb(self, tree: Tree, node: Node) -> None:
        """Nothing: the forks are random."""


class _Sized:
    """An engine whose thoughts have lengths that depend on their requests' seeds alone."""

    def __init__(self, engine: Engine, thought_tokens: tuple[int, int]) -> None:
        self._engine, self._range = engine, thought_tokens

    def rate(self, paths: Sequence[list[int]]) -> list[float]:
        return self._engine.rate(paths)

    def submit(self, requests: Sequence[Request]) -> list[int]:
        return self._engine.submit([self._sized(request) for request in requests])

    def poll(self) -> list[tuple[int, list[Thought]]]:
        return self._engine.poll()

    def refresh(self) -> None:
        self._engine.refresh()

    def _sized(self, request: Request) -> Request:
        size = int(np.random.default_rng(request.seed).integers(*self._range, endpoint=True))
        return replace(
            request, sampling=replace(request.sampling, min_tokens=size, max_tokens=size)
        )


def unique_tokens(trees: Sequence[Tree], language: Language) -> int:
    """Returns the tokens that any engine must read at least once to grow and rate the trees.

    Root prompts and thoughts up to where their rating is read, once each; what closes a thought and
    opens the next one, once for every node that has children.
    """
    total = 0
    for tree in trees:
        total += language.root_node(tree.problem.text).read + 1
        for node in tree.nodes:
            thought = node.thought
            if node.parent is not None:
                total += len(thought.ids) + len(language.before_rating(thought.complete))
            if node.children:
                total += len(language.behind_rating(thought.shown))
                total += len(language.opening(node.depth + 1))
    return total


def thoughts(trees: Sequence[Tree]) -> list[Thought]:
    """Returns all sampled thoughts."""
    return [node.thought for tree in trees for node in tree.nodes[1:]]
