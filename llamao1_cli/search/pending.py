"""Expansions that are under way: what they may cost, and what becomes of them."""

import math
from dataclasses import dataclass, field

from llamao1_cli.engine.protocol import Thought
from llamao1_cli.language.answer_forms import AnswerForm
from llamao1_cli.search.frontier import Branch, Frontier
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
class Expansion:
    """One expansion that a tree waits for."""

    node: Node  # below which its thoughts will stand
    limit: int | None  # tokens it may generate; None: as many as it may need
    frontier: Frontier | None = None  # where its beginning comes from, without replacement
    branch: Branch | None = None
    thoughts: list[Thought] | None = None  # None: not back yet


@dataclass(eq=False)
class PendingExpansions:
    """The expansions that a tree waits for, taken in together and in the order of asking."""

    tree: Tree
    unreserved: float  # tokens that no expansion has been promised yet
    expansions: list[Expansion] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every expansion has come back."""
        return all(each.thoughts is not None for each in self.expansions)

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
        limit = 0 if self.expansions else max(int(self.unreserved) - thoughts * judging, 0)
        self.unreserved = 0
        return limit

    def attach(self, answers: AnswerForm) -> list[list[Node]]:
        """Add the thoughts that came back to the tree; returns the new nodes of each expansion."""
        return [_attach(self.tree, each, answers) for each in self.expansions]


def _attach(tree: Tree, grown: Expansion, answers: AnswerForm) -> list[Node]:
    """Add what an expansion came to; returns its nodes."""
    frontier, branch, thoughts = grown.frontier, grown.branch, grown.thoughts or []
    if frontier is None or branch is None:
        return attach_chain(tree, grown.node, thoughts, grown.limit, answers)
    if thoughts or branch.thought is None:  # nothing came back: no room, or else nothing was left
        nodes = attach_chain(tree, grown.node, thoughts, grown.limit, answers)
    else:
        nodes = []
    frontier.grown(tree, branch, nodes, cut=_is_cut(thoughts, grown.limit))
    return nodes


def attach_chain(
    tree: Tree, node: Node, thoughts: list[Thought], limit: int | None, answers: AnswerForm
) -> list[Node]:
    """Add the thoughts of an expansion of `node` that might generate `limit` tokens to the tree.

    Returns the new nodes. A node with no room for a thought is closed. A thought that was cut
    because the tokens were spent states no answer: the model was not done with it.
    """
    node.closed = node.closed or not thoughts
    nodes = tree.attach(node, thoughts, answers)
    if _is_cut(thoughts, limit):
        nodes[-1].answer = None
    return nodes


def _is_cut(thoughts: list[Thought], limit: int | None) -> bool:
    """Returns whether the last thought was cut because the tokens were spent."""
    spent = bool(thoughts) and sum(each.generated for each in thoughts) == limit
    return spent and not thoughts[-1].complete
