"""Expansions that are under way: what they may cost, and what becomes of them."""

import math
from dataclasses import dataclass, field

from llamao1_cli.engine.protocol import Thought
from llamao1_cli.search.tree import Node, Tree


@dataclass(frozen=True)
class TokenBudget:
    """What every tree may spend."""

    tokens: float = math.inf  # infinite: as many as its rule asks for
    judging: int = 0  # most tokens that judging a node generates

    def left(self, tree: Tree) -> float:
        """Returns the tokens that `tree` may still spend on thoughts."""
        root_alone = len(tree.nodes) == 1  # then the root is yet to be judged
        return self.tokens - tree.generated_tokens - self.judging * root_alone


@dataclass(eq=False)
class PendingExpansions:
    """The expansions that a tree waits for, taken in together and in the order of asking."""

    tree: Tree
    unreserved: float  # tokens that no expansion has been promised yet
    nodes: list[Node] = field(default_factory=list)
    limits: list[int | None] = field(default_factory=list)  # None: as many tokens as it may need
    chains: list[list[Thought] | None] = field(default_factory=list)  # None: not back yet

    @property
    def complete(self) -> bool:
        """Whether every expansion has come back."""
        return None not in self.chains

    def add(self, node: Node, limit: int | None) -> int:
        """Add an expansion of `node`; returns its index."""
        self.nodes.append(node)
        self.limits.append(limit)
        self.chains.append(None)
        return len(self.nodes) - 1

    def reserve(self, thoughts: int, max_tokens: int, judging: int) -> int | None:
        """Set tokens aside for one more expansion of up to `thoughts` thoughts.

        Returns the most tokens it may generate: None for as many as it may need, 0 where it has
        to wait. What cannot be paid for in full waits until it is known what those before it left
        over. If nothing else is asked for, it gets all that is left, and may be cut.
        """
        need = thoughts * (max_tokens + judging)
        if need <= self.unreserved:
            self.unreserved -= need
            return None
        limit = 0 if self.nodes else max(int(self.unreserved) - thoughts * judging, 0)
        self.unreserved = 0
        return limit

    def attach(self) -> list[list[Node]]:
        """Add the thoughts that came back to the tree; returns the new nodes of each expansion."""
        return [
            attach_chain(self.tree, node, thoughts or [], limit)
            for node, limit, thoughts in zip(self.nodes, self.limits, self.chains, strict=True)
        ]


def attach_chain(tree: Tree, node: Node, thoughts: list[Thought], limit: int | None) -> list[Node]:
    """Add the thoughts of an expansion of `node` that might generate `limit` tokens to the tree.

    Returns the new nodes. A node with no room for a thought is closed. A thought that was cut
    because the tokens were spent states no answer: the model was not done with it.
    """
    node.closed = node.closed or not thoughts
    nodes = tree.attach(node, thoughts)
    if nodes and sum(len(each.ids) for each in thoughts) == limit and not thoughts[-1].complete:
        nodes[-1].answer = None
    return nodes
