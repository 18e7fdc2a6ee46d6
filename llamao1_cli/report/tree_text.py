"""A tree, and any text that was not written here, as the terminal may show them."""

from rich.text import Text
from rich.tree import Tree as Branch

from llamao1_cli.report.draws import shared_text
from llamao1_cli.search.coverage import covered
from llamao1_cli.search.tree import Node, Tree


def printable(text: str) -> str:
    """Returns the text with letters escaped that would steer a terminal or turn the line around."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def draw_tree(tree: Tree) -> Branch:
    """Returns a tree for the terminal: of each thought its value and the probability of the path to
    it. What the model wrote is shown as text and steers nothing."""
    head = Text(_lines(tree.problem.text), style="bold")
    root = Branch(head.append(f"\ncovered {covered(tree):.3f}", style="not bold dim"))
    branches = {0: root}
    for node in tree.nodes[1:]:
        assert node.parent is not None
        branches[node.id] = branches[node.parent].add(_label(tree, node))
    return root


def _label(tree: Tree, node: Node) -> Text:
    """Returns a thought; the beginning that it shares with the sibling it leaves is dim."""
    drawn = "given" if node.id <= tree.begun else f"p {tree.probability(node):.2g}"
    label = Text.assemble((f"{node.value:.2f} ", "cyan"), (f"{drawn} ", "dim"))
    label.append(f"x{node.visits} " if node.visits else "", style="dim")
    if node.thought.meta:
        label.append(f"{node.thought.meta.name.lower()} ", style="dim")
    again = shared_text(tree, node)
    label.append(_lines(again), style="dim")
    new = node.thought.text[len(again) :].rstrip("\n")
    return label.append(_lines(new), style="bold green" if node.terminal else "")


def _lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))
