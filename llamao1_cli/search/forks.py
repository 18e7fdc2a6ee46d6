"""Independent chains first, then forks at the steps the model was least sure of.

After TreeRL's entropy-guided search, with the forks of a whole batch shared out where they can
teach something: in trees with both right and wrong conclusions.
"""

from llamao1_cli.config import SearchConfig
from llamao1_cli.search.tree import Node, Tree


class Forks:
    """Two rounds: `chains` from every root, then about `forks` a problem at uncertain steps."""

    def __init__(self, config: SearchConfig) -> None:
        self._config = config
        self._trees: list[Tree] = []
        self._out = 0  # trees whose chains are not back yet
        self._forked = False

    def pick(self, trees: list[Tree]) -> list[tuple[Tree, Node, int]]:
        """Chains for all trees first; forks once the chains of all are back, and then nothing."""
        if not self._trees:
            self._trees, self._out = trees, len(trees)
            return [(tree, tree.root, self._config.chains) for tree in trees]
        self._out -= len(trees)
        if self._out or self._forked:
            return []
        self._forked = True
        return self._fork_points(self._trees)

    def absorb(self, tree: Tree, node: Node) -> None:
        """Nothing: this search reads no statistics while it runs."""

    def _fork_points(self, trees: list[Tree]) -> list[tuple[Tree, Node, int]]:
        """Parents of the most uncertain steps in mixed trees, most uncertain first."""
        budget = round(self._config.forks * len(trees))
        steps = [
            (max(node.thought.entropy, default=0.0), place, node.id)
            for place, tree in enumerate(trees)
            if mixed(tree)
            for node in tree.nodes
            if node.depth >= 2  # a fork of a first step would be one more chain
        ]
        picks: list[tuple[Tree, Node, int]] = []
        taken = [0] * len(trees)
        for _, place, node_id in sorted(steps, key=lambda step: (-step[0], step[1], step[2])):
            if len(picks) < budget and taken[place] < self._config.max_forks:
                tree = trees[place]
                parent = tree.nodes[node_id].parent
                assert parent is not None
                picks.append((tree, tree.nodes[parent], 1))
                taken[place] += 1
        return picks


def mixed(tree: Tree) -> bool:
    """Whether the tree has both a right and a wrong conclusion."""
    return {True, False} <= {node.outcome for node in tree.nodes}
