"""What is told of how a tree's thoughts were drawn: behind which sibling."""

from itertools import takewhile

from llamao1_cli.search.tree import Node, Tree


def left_sibling(tree: Tree, node: Node) -> Node | None:
    """Returns the sibling that a thought begins like, as its first tokens were known; the earliest
    of several, and None for a thought that is new from its first token on."""
    known = node.thought.known
    if node.parent is None or not known:
        return None
    siblings = tree.children(tree.nodes[node.parent])
    begun = node.thought.ids[:known]
    earlier = (each for each in siblings if each.id < node.id)
    return next((each for each in earlier if each.thought.ids[:known] == begun), None)


def shared_text(tree: Tree, node: Node) -> str:
    """Returns the beginning of a thought's text that the sibling it begins like has, too."""
    sibling = left_sibling(tree, node)
    both = zip(node.thought.text, sibling.thought.text if sibling else "", strict=False)
    return "".join(letter for letter, _ in takewhile(lambda pair: pair[0] == pair[1], both))
