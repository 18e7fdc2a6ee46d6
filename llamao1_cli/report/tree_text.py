"""A tree, and any text that was not written here, as the terminal may show them."""

from rich.text import Text
from rich.tree import Tree as Branch

from llamao1_cli.search.tree import Node, Tree


def printable(text: str) -> str:
    """Returns the text with letters escaped that would steer a terminal or turn the line around."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def draw_tree(tree: Tree) -> Branch:
    """Returns a tree for the terminal; what the model wrote is shown as text and steers nothing."""
    root = Branch(Text(_lines(tree.problem.text), style="bold"))
    branches = {0: root}
    for node in tree.nodes[1:]:
        assert node.parent is not None
        branches[node.id] = branches[node.parent].add(_label(node))
    return root


def _label(node: Node) -> Text:
    label = Text(f"{node.value:.2f} ", style="cyan")
    label.append(f"x{node.visits} " if node.visits else "", style="dim")
    if node.thought.meta:
        label.append(f"{node.thought.meta.name.lower()} ", style="dim")
    return label.append(_lines(node.thought.text), style="bold green" if node.terminal else "")


def _lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))
