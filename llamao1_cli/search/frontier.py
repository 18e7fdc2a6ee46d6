"""Sampling without replacement: where the next solution leaves those that are known.

Give every solution a clock that rings once, after an exponential time with the solution's
probability as its rate. In the order in which they ring, solutions are a sample without
replacement (Kool, van Hoof and Welling 2019 sort by Gumbel noise, which is minus the logarithm of
these times). The first of many clocks rings at a time whose rate is the sum of theirs, and which
one it is does not depend on when. So nothing is drawn for a solution before its turn comes: all
solutions that leave the known ones at one token are one branch, with one time. When it comes up,
the model continues from that token as ever, except that its first draw is none of the known tokens;
the rest of the branch, and what leaves the new solution later, are branches with later times.

What is known costs nothing to walk through, and a solution costs its own suffix. Different branches
have no solution in common, so that several may grow at once.
"""

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from llamao1_cli.engine.protocol import Beginning, Thought
from llamao1_cli.search.tree import Node, Tree

NEVER = 1e300  # when what has no solutions left is drawn; finite, as JSON has no infinity
NOTHING_LEFT = 1e-6  # probability that rounding may leave where every token is known


@dataclass(frozen=True, order=True)
class Branch:
    """All solutions that leave the known ones behind the first `index` tokens of a thought."""

    time: float  # when the first of them is drawn; smaller ones come first
    parent: Node = field(compare=False)  # below which its thoughts stand
    thought: Thought | None = field(default=None, compare=False)  # a child that begins so; None: no
    index: int = field(default=0, compare=False)
    reached: float = field(default=1.0, compare=False)  # probability of getting here
    left: float = field(default=1.0, compare=False)  # share of it that goes on by no known token
    known: frozenset[int] = field(default=frozenset(), compare=False)  # tokens that go on from here

    @property
    def probability(self) -> float:
        """Probability of all its solutions together."""
        return self.reached * self.left

    @property
    def beginning(self) -> Beginning:
        """Returns what the branch's next thought begins with, and may not go on with."""
        if self.thought is None:
            return Beginning()
        begun = slice(self.index)
        return Beginning(
            tuple(self.thought.ids[begun]),
            tuple(self.thought.logprobs[begun]),
            tuple(self.thought.entropy[begun]),
            tuple(self.thought.varentropy[begun]),
            self.known,
        )


class Frontier:
    """The branches of everything below one node that is not known yet, earliest first.

    `whole`: what is drawn without replacement are whole solutions; else the node's children, each
    of which is followed by thoughts that are drawn as ever. Without `rng` nothing is left to
    chance: the most probable branch comes first, and what comes of it is no sample and has no time.
    """

    def __init__(self, node: Node, rng: np.random.Generator | None, *, whole: bool) -> None:
        self._node, self._rng, self._whole = node, rng, whole
        self._branches: list[Branch] = []
        self._growing = 0  # branches that were taken and are not back
        self._push(Branch(0.0, node))

    def __len__(self) -> int:
        return len(self._branches)

    @property
    def time(self) -> float:
        """When the next draw is; `NEVER` where nothing is left, or all that is left grows now."""
        return self._branches[0].time if self._branches else NEVER

    @property
    def first(self) -> Branch:
        """The earliest branch; IndexError if there is none."""
        return self._branches[0]

    def take(self) -> Branch:
        """Returns the earliest branch, which grows from now on; IndexError if there is none."""
        branch = heapq.heappop(self._branches)
        self._growing += 1
        return branch

    def grown(self, tree: Tree, branch: Branch, nodes: Sequence[Node], *, cut: bool) -> None:
        """Take in the chain that grew at a branch; an empty one says that nothing was left there.

        Everything that leaves the chain, and what is left of the branch, is drawn later. A chain
        that was cut is no solution: nobody knows how it would have gone on.
        """
        self._growing -= 1
        if nodes:
            self._take_in(branch, nodes)
        if self._rng is None:
            return
        end = nodes[-1 if self._whole else 0] if nodes else None
        if end is not None and not (cut and end is nodes[-1]):
            end.drawn = branch.time
        if self._whole:
            tree.clock = self.time
        else:
            self._node.clock = self.time
            self._node.closed = self._node.closed or not (self._branches or self._growing)

    def _take_in(self, branch: Branch, nodes: Sequence[Node]) -> None:
        """Put what leaves a chain in line."""
        first = nodes[0].thought
        token, chance = first.ids[branch.index], math.exp(first.logprobs[branch.index])
        known = branch.known | {token}
        begun = branch.thought or first
        self._push(replace(branch, thought=begun, left=branch.left - chance, known=known))
        for each in self._leaving(branch, nodes if self._whole else nodes[:1]):
            self._push(each)

    def _leaving(self, branch: Branch, nodes: Sequence[Node]) -> Iterator[Branch]:
        """Yields the branches that leave new thoughts behind their first new token."""
        reached, parent, start = branch.reached, branch.parent, branch.index
        for node in nodes:
            thought = node.thought
            for index in range(start, len(thought.ids)):
                chance = math.exp(thought.logprobs[index])
                if index > branch.index or node is not nodes[0]:
                    known = frozenset(thought.ids[index : index + 1])
                    left = 1 - chance
                    yield Branch(branch.time, parent, thought, index, reached, left, known)
                reached *= chance
            parent, start = node, 0

    def _push(self, branch: Branch) -> None:
        """Draw when a branch comes up, later than the time it has, and put it in line."""
        rate = branch.probability
        if branch.left <= NOTHING_LEFT or rate <= 0:
            return
        time = branch.time + self._rng.exponential() / rate if self._rng else -rate
        heapq.heappush(self._branches, replace(branch, time=time))
