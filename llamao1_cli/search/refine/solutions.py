"""The solutions of a tree of rewritings: what each is worth, and which is rewritten next."""

from dataclasses import dataclass, field

import numpy as np

from llamao1_cli.search.refine.preference import blended_quality, tree_neighbours
from llamao1_cli.search.refine.solution_values import ancestors, berry_back_up, closed, uct
from llamao1_cli.search.tree import Node, Tree


@dataclass(frozen=True)
class Refinement:
    """How solutions are rewritten."""

    first: int = 1  # solutions sampled before any is rewritten
    rewritings: int = 8  # a tree
    exploration: float = 1.4  # c of UCT
    global_weight: float = 0.5  # of a solution's rank among all; the rest is of its neighbours'
    gamma: float = 0.5  # weight of a rewriting's quality in that of the solution it rewrites


@dataclass(eq=False)
class Solutions:
    """The solutions of one tree, each known by its index, the oldest first."""

    tree: Tree
    ends: list[Node] = field(default_factory=list)  # each one's last thought
    texts: list[str] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)  # solutions rewritten; -1: it rewrites none
    values: list[float] = field(default_factory=list)  # as judged, before qualities replace them
    odds: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))  # log-odds that i beats j

    def add(self, parent: int, chain: list[Node]) -> None:
        """Add the solution that ends a new chain. A critique that opens the chain is about the
        `parent`, and is left out of the text."""
        steps = chain[1:] if len(chain) > 1 and parent >= 0 else chain
        self.ends.append(chain[-1])
        self.texts.append("\n".join(node.thought.text.strip() for node in steps))
        self.parents.append(parent)

    def keep_values(self) -> None:
        """Keep the values of new solutions as they were judged: qualities will replace them."""
        self.values += [end.value for end in self.ends[len(self.values) :]]

    def uncompared(self) -> list[tuple[int, int]]:
        """Returns the pairs that were not compared yet, the newer solution of each first."""
        known = len(self.odds)
        return [(i, j) for i in range(known, len(self.ends)) for j in range(i)]

    def add_odds(self, odds: dict[tuple[int, int], float]) -> None:
        """Add the log-odds of pairs that are newly compared."""
        grown = np.zeros((len(self.ends), len(self.ends)))
        grown[: len(self.odds), : len(self.odds)] = self.odds
        for (i, j), value in odds.items():
            grown[i, j], grown[j, i] = value, -value
        self.odds = grown

    def set_qualities(self, refinement: Refinement) -> None:
        """Set the `value` of each solution's end to its quality, and the `mean_value` to its
        quality mixed with those of its rewritings.

        A new solution changes the ranks of all, so that all are backed up again, oldest first.
        """
        neighbours = tree_neighbours(np.array(self.parents))
        qualities = blended_quality(self.odds, neighbours, refinement.global_weight)
        carried, visits = qualities, np.ones(len(self.ends), int)
        for leaf in range(len(self.ends)):
            carried = berry_back_up(carried, self.parents, leaf, refinement.gamma)
            visits[ancestors(self.parents, leaf)] += 1
        for index, node in enumerate(self.ends):
            node.value, node.visits = float(qualities[index]), int(visits[index])
            node.value_sum = float(carried[index]) * node.visits

    def best_open(self, exploration: float) -> int | None:
        """Returns the solution to rewrite next, by UCT among those that are not closed; None if
        all are. A first solution's parent is the problem, visited once for each solution."""
        scores = {}
        for index, node in enumerate(self.ends):
            below = [self.ends[i].mean_value for i, p in enumerate(self.parents) if p == index]
            if not node.closed and not closed(node.mean_value, below):
                parent = self.parents[index]
                parent_visits = len(self.ends) if parent < 0 else self.ends[parent].visits
                scores[index] = uct(node.mean_value, node.visits, parent_visits, exploration)
        return max(scores, key=lambda index: scores[index]) if scores else None
