"""Monte-Carlo tree search: which node of each tree grows next, and which values are backed up."""

import numpy as np

from llamao1_cli.config import SearchConfig
from llamao1_cli.search.protocol import Pick
from llamao1_cli.search.rules.selection import alphazero_scores, reference_scores, shares
from llamao1_cli.search.tree import Node, Tree

DIRICHLET = 0.3  # concentration of the root noise


class Mcts:
    """Expands one node of a tree at a time, so that no virtual loss is needed."""

    def __init__(self, config: SearchConfig) -> None:
        self._config = config

    def pick(self, trees: list[Tree]) -> list[Pick]:
        """Returns the next expansion of each tree; none where its search is done."""
        picks: list[Pick] = []
        for tree in trees:
            picks += self._advance(tree)
        return picks

    def reach(self, node: Node) -> int:
        """Returns the thoughts up to `search.max_depth` if it rolls out, else 1."""
        return self._config.max_depth - node.depth if self._config.rollout else 1

    def absorb(self, tree: Tree, node: Node) -> None:
        """Back up the value of a new chain's last node."""
        back_up(tree, node, leaf_value(node), self._config.discount)

    def _advance(self, tree: Tree) -> list[Pick]:
        """Simulate until the tree wants an expansion, or is done.

        A selection that ends where nothing can grow is a visit: it backs up that leaf once more.
        """
        while not self._finished(tree):
            tree.simulations += 1
            rng = np.random.default_rng([tree.seed, 1, tree.simulations])
            node = self._select(tree, rng)
            if self._expandable(node):
                room = self._config.max_children - len(node.children)
                return [Pick(tree, node, min(self._config.candidates, room))]
            self.absorb(tree, node)
        return []

    def _finished(self, tree: Tree) -> bool:
        patience = self._config.patience
        if patience and sum(node.outcome is True for node in tree.nodes) >= patience:
            return True
        return tree.simulations >= self._config.simulations

    def _select(self, tree: Tree, rng: np.random.Generator) -> Node:
        node = tree.start
        while node.children and not self._expandable(node):
            node = tree.nodes[node.children[int(np.argmax(self._scores(tree, node, rng)))]]
        return node

    def _expandable(self, node: Node) -> bool:
        config = self._config
        full = len(node.children) >= config.max_children
        return not (full or node.closed or node.terminal or node.depth >= config.max_depth)

    def _scores(self, tree: Tree, node: Node, rng: np.random.Generator) -> np.ndarray:
        config, children = self._config, tree.children(node)
        values = np.array([child.mean_value for child in children])
        visits = np.array([child.visits for child in children])
        priors = shares(np.array([child.likelihood for child in children]))
        if config.selection == "alphazero":
            if node is tree.start and config.root_noise:
                noise = root_noise(tree.seed, config.max_children, len(children))
                priors = (1 - config.root_noise) * priors + config.root_noise * noise
            return alphazero_scores(values, visits, priors, node.value)
        scores = reference_scores(
            values,
            visits,
            priors,
            np.array([child.varentropy for child in children]),
            exploration=config.exploration,
            varentropy_weight=config.varentropy_weight,
        )
        spread = config.selection_noise
        return scores * rng.uniform(1 - spread, 1 + spread, len(children)) if spread else scores


def root_noise(seed: int, most: int, count: int) -> np.ndarray:
    """Returns Dirichlet noise `[count]` on the root's children, drawn once a search: a child keeps
    its share among those it competes with. Normalised gamma variates are Dirichlet."""
    gammas = np.random.default_rng([seed, 3]).gamma(DIRICHLET, size=max(most, count))[:count]
    return shares(gammas)


def leaf_value(node: Node) -> float:
    """Returns what a leaf is worth in the search: its reward where it is known, else its value."""
    return node.value if node.reward is None else node.reward


def back_up(tree: Tree, node: Node, value: float, discount: float) -> None:
    """Add one sample to every node on the way to the root, discounted a step at a time."""
    for step in reversed(tree.path(node)):
        step.visits += 1
        step.value_sum += value
        value *= discount
