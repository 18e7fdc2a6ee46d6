"""A tree of thoughts: what was sampled, what it was worth, and its file format."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from llamao1_cli.engine.protocol import UNREAD, Thought
from llamao1_cli.language.answer_forms import BOXED, AnswerForm
from llamao1_cli.language.marked import MarkedNode, Meta, Rating
from llamao1_cli.language.protocol import Language, NodeTokens
from llamao1_cli.tasks.problem import Problem, Solution

FORMAT = 3  # of trees as JSON; format 2 had outcomes, but no rewards


@dataclass
class Node:
    """One thought in its tree. The root holds the problem and no sampled tokens."""

    id: int
    parent: int | None
    depth: int
    thought: Thought
    value: float  # probability that the path ends right: judged by a value head, else its rating
    children: list[int] = field(default_factory=list)
    # The final answer it states; such a node is terminal. "" ends a solution that states none.
    answer: str | None = None
    closed: bool = False  # no other child can follow: the path has no room, or has them all
    reward: float | None = None  # what the solution that it ends earned; None while nobody knows
    outcome: bool | None = None  # whether that is enough for the problem to be solved
    visits: int = 0
    value_sum: float = 0.0
    target: float | None = None  # what the outcomes made of it, once the search is over
    leaves: int = 0  # leaves below it, itself if it is one
    # Without replacement; see `frontier` and `weights`. None elsewhere.
    drawn: float | None = None  # when the solution that ends here was drawn, or this child
    clock: float | None = None  # when the next child would be drawn
    mass: float | None = None  # share of the policy's solutions that those below it stand for

    @property
    def terminal(self) -> bool:
        """Whether the thought states a final answer."""
        return self.answer is not None

    def earn(self, reward: float, solved_at: float = 1.0) -> None:
        """Take in what the solution that ends here earned."""
        self.reward, self.outcome = reward, reward >= solved_at

    @property
    def mean_value(self) -> float:
        """Q: mean of the values backed up through the node; its own value before that."""
        return self.value_sum / self.visits if self.visits else self.value

    @property
    def likelihood(self) -> float:
        """exp of the mean token log-prob as sampled; 1 if nothing was sampled."""
        logprobs = self.thought.logprobs
        return math.exp(sum(logprobs) / len(logprobs)) if logprobs else 1.0

    @property
    def varentropy(self) -> float:
        """Mean varentropy of the distributions its tokens were sampled from."""
        values = self.thought.varentropy
        return sum(values) / len(values) if values else 0.0


@dataclass
class Tree:
    """A problem and the thoughts grown on it; `nodes[i].id == i`, and node 0 is the root."""

    problem: Problem
    seed: int  # of everything random in this tree's search
    nodes: list[Node]
    iteration: int = 0  # self-play iteration whose weights grew it
    expansions: int = 0  # requests made so far; each seeds its own samples
    simulations: int = 0
    judging_tokens: int = 0  # generated to judge its thoughts
    failed_rewards: int = 0  # solutions whose reward failed, so that they earned 0
    clock: float | None = None  # when the next solution would be drawn, without replacement
    begun: int = 0  # id of the node that its search began at; what leads there was given
    joined: bool = False  # its thoughts are one text that was cut, each with the space around it

    @classmethod
    def plant(
        cls,
        problem: Problem,
        seed: int,
        rating: float | None,
        given: Sequence[Thought] = (),
        answers: AnswerForm = BOXED,
    ) -> "Tree":
        """Returns a tree of the root and the `given` thoughts, at whose end the search begins."""
        thought = Thought(Meta.PROBLEM, problem.text, rating=rating, shown=Rating.UNKNOWN)
        root = Node(0, None, 0, thought, UNREAD if rating is None else rating)
        tree = cls(problem, seed, [root], joined=answers.whole)
        known = [replace(each, known=len(each.ids)) for each in given]
        tree.attach(tree.root, known, answers)
        tree.begun = len(given)
        return tree

    @property
    def root(self) -> Node:
        """The problem."""
        return self.nodes[0]

    @property
    def start(self) -> Node:
        """The node that its search began at: the root, or the end of what was given."""
        return self.nodes[self.begun]

    @property
    def generated_tokens(self) -> int:
        """All tokens generated for it: its thoughts', and those that judged them."""
        return self.judging_tokens + sum(node.thought.generated for node in self.nodes)

    def probability(self, node: Node) -> float:
        """Returns the probability of the path to `node`, as it was sampled; what was given was
        not."""
        return math.exp(self.log_probability(node))

    def log_probability(self, node: Node) -> float:
        """Returns the logarithm of `probability`, which may be too small for a float."""
        sampled = (step for step in self.path(node) if step.id > self.begun)
        return math.fsum(p for step in sampled for p in step.thought.logprobs)

    def children(self, node: Node) -> list[Node]:
        """Returns the children of a node, oldest first."""
        return [self.nodes[i] for i in node.children]

    def path(self, node: Node) -> list[Node]:
        """Returns the nodes from the root to `node`, both included."""
        steps = [node]
        while steps[-1].parent is not None:
            steps.append(self.nodes[steps[-1].parent])
        return steps[::-1]

    def solution(self, node: Node) -> Solution | None:
        """Returns the solution that ends with `node`, None if it states no answer. A solution that
        rewrites another one begins behind it and its critique."""
        if node.answer is None:
            return None
        steps = self.path(node)[1:]
        if rewritten := [index for index, step in enumerate(steps[:-1]) if step.terminal]:
            steps = steps[rewritten[-1] + 1 :]
            steps = steps[len(steps) > 1 and steps[0].thought.meta is Meta.CRITIC :]
        return Solution(solution_text(steps, self.joined), node.answer)

    def leaf_nodes(self) -> Iterator[Node]:
        """Yields nodes without children, the root only if it stands alone."""
        return (node for node in self.nodes if not node.children)

    def attach(
        self, parent: Node, thoughts: list[Thought], answers: AnswerForm = BOXED
    ) -> list[Node]:
        """Add a chain of thoughts that may state `answers` below `parent`; returns its nodes, or []
        for an empty chain."""
        added = []
        for thought in thoughts:
            value = UNREAD if thought.rating is None else thought.rating
            node = Node(len(self.nodes), parent.id, parent.depth + 1, thought, value)
            parent.children.append(node.id)
            self.nodes.append(node)
            node.answer = self._answer(node, answers)
            added.append(node)
            parent = node
        return added

    def _answer(self, node: Node, answers: AnswerForm) -> str | None:
        """Returns the answer that a thought states, or the solution that it ends."""
        thought = node.thought
        if not answers.whole:
            return answers.stated_by(thought.meta, thought.text)
        if not thought.final:
            return None
        return answers.stated(solution_text(self.path(node)[1:], self.joined)) or ""

    def path_ids(self, node: Node, language: Language) -> list[int]:
        """Returns the tokens of the path to `node`, with the ratings that the thoughts were given
        when made."""
        ids = language.root(self.problem.text)
        for step in self.path(node)[1:]:
            ids += node_tokens(self, step, language).ids
        return ids

    def marked(self) -> list[MarkedNode]:
        """Returns the tree in the marked language, each node under its own number and rating."""
        return [_marked(node) for node in self.nodes]

    def to_json(self) -> dict[str, Any]:
        """Returns the tree as plain JSON values; `from_json` makes an equal tree of them."""
        return asdict(self) | {"format": FORMAT}

    @classmethod
    def from_json(cls, data: Any) -> "Tree":
        """Returns a tree from its JSON values. Raises ValueError, in one line, for what is none."""
        whole = isinstance(data, dict) and "nodes" in data
        if whole and (written := data.get("format", 1)) != FORMAT:
            raise ValueError(
                f"a tree of format {written!r:.20}, and this version of llamao1 reads {FORMAT}; "
                "grow the trees again, or use the version that grew them"
            )
        try:
            tree = _TREE.validate_python(data)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise ValueError(f"not a tree: {key}: {first['msg']}") from None
        _check_links(tree)
        for node in tree.nodes:
            _check_thought(node)
        return tree


_TREE = TypeAdapter(Tree)


def solution_text(steps: Sequence[Node], joined: bool) -> str:
    """Returns thoughts as a text: as they are if they are `joined`, else a line each."""
    if joined:
        return "".join(step.thought.text for step in steps).strip()
    return "\n".join(step.thought.text.strip() for step in steps)


def node_tokens(tree: Tree, node: Node, language: Language) -> NodeTokens:
    """Returns the tokens of a node of the tree as they stand on every path through it."""
    if node.parent is None:
        return language.root_node(tree.problem.text)
    thought = node.thought
    return language.node(
        node.depth,
        thought.ids,
        forced_meta=thought.meta if thought.forced_meta else None,
        complete=thought.complete,
        shown=thought.shown,
    )


def _marked(node: Node) -> MarkedNode:
    rating = None
    if node.parent is not None and node.thought.rating is not None:
        rating = Rating.POSITIVE if node.thought.rating >= 0.5 else Rating.NEGATIVE
    father = -1 if node.parent is None else node.parent
    return MarkedNode(father, node.id, node.thought.text, node.thought.meta, rating)


def _check_links(tree: Tree) -> None:
    """Raise ValueError unless every node stands under its number, behind and below its parent."""
    if not tree.nodes or tree.nodes[0].parent is not None:
        raise ValueError("not a tree: it has no root")
    below: list[list[int]] = [[] for _ in tree.nodes]
    for index, node in enumerate(tree.nodes):
        if node.id != index or (
            index and not (node.parent is not None and 0 <= node.parent < index)
        ):
            raise ValueError(f"not a tree: node {index} is out of order")
        if node.parent is not None:
            below[node.parent].append(index)
    given = [node.parent for node in tree.nodes[1 : tree.begun + 1]]
    if tree.begun < 0 or given != list(range(tree.begun)):
        raise ValueError("not a tree: what its search began behind is no path")
    for index, node in enumerate(tree.nodes):
        if node.children != below[index]:
            raise ValueError(f"not a tree: node {index} lists the wrong children")
        if node.depth != (0 if node.parent is None else tree.nodes[node.parent].depth + 1):
            raise ValueError(f"not a tree: node {index} has the wrong depth")


def _check_thought(node: Node) -> None:
    """Raise ValueError unless the thought has its figures for each token, and can be shown."""
    thought = node.thought
    sizes = {len(figures) for figures in (thought.logprobs, thought.entropy, thought.varentropy)}
    if sizes != {len(thought.ids)} or not all(0 <= token < 2**31 for token in thought.ids):
        raise ValueError(f"not a tree: node {node.id} has broken tokens")
    if not 0 <= thought.known <= len(thought.ids):
        raise ValueError(f"not a tree: node {node.id} knows more tokens than it has")
    allowed = [""] if thought.rating is None and node.parent is not None else list(Rating)
    if thought.shown not in allowed:
        raise ValueError(f"not a tree: node {node.id} shows no rating that it can have")
