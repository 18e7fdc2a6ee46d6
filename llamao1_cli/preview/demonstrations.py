"""What a run sees of its demonstrations: how long they are, and what of them play allows."""

from collections.abc import Sequence
from dataclasses import dataclass

from llamao1_cli.config import SearchConfig
from llamao1_cli.language.marked import MarkedNode
from llamao1_cli.language.protocol import Language
from llamao1_cli.preview.spread import Spread, share, spread


@dataclass(frozen=True)
class DemonstrationFacts:
    """The demonstrations that were looked at; a whole one ends with no mistake."""

    looked_at: int
    tokens: Spread | None
    dropped: int  # longer than the context
    dropped_share: float
    whole: int
    whole_dropped: int
    whole_dropped_share: float
    thoughts: Spread | None  # of the longest chain of each
    too_deep: int  # chains of more thoughts than play allows
    too_deep_share: float
    steps: int  # thoughts of all demonstrations
    step_tokens: Spread | None  # as play counts them, with meta-action and end
    too_long_steps: int
    too_long_steps_share: float


def demonstration_facts(
    trees: Sequence[list[MarkedNode]], language: Language, search: SearchConfig, max_length: int
) -> DemonstrationFacts:
    """Returns the facts about demonstrations under a context of `max_length` tokens."""
    lengths = [
        len(language.supervised(tree, show_ratings=False, rating_weight=1.0).inputs)
        for tree in trees
    ]
    whole = [
        length
        for length, tree in zip(lengths, trees, strict=True)
        if all(node.imitate for node in tree[1:])
    ]
    depths = [_depth(tree) for tree in trees]
    steps = _step_lengths(trees, language, search)
    dropped = sum(length > max_length for length in lengths)
    whole_dropped = sum(length > max_length for length in whole)
    too_deep = sum(depth > search.max_depth for depth in depths)
    too_long = sum(step > search.max_thought_tokens for step in steps)
    return DemonstrationFacts(
        looked_at=len(trees),
        tokens=spread(lengths),
        dropped=dropped,
        dropped_share=share(dropped, len(trees)),
        whole=len(whole),
        whole_dropped=whole_dropped,
        whole_dropped_share=share(whole_dropped, len(whole)),
        thoughts=spread(depths),
        too_deep=too_deep,
        too_deep_share=share(too_deep, len(trees)),
        steps=len(steps),
        step_tokens=spread(steps),
        too_long_steps=too_long,
        too_long_steps_share=share(too_long, len(steps)),
    )


def _step_lengths(
    trees: Sequence[list[MarkedNode]], language: Language, search: SearchConfig
) -> list[int]:
    """Returns the tokens of each thought as the model would sample them: its meta-action, unless
    the search writes that, its words, and its end."""
    nodes = [node for tree in trees for node in tree[1:]]
    words = language.encode_all([node.text for node in nodes])
    written = search.meta_actions == "model"
    return [
        len(ids) + (written and node.meta is not None) + 1
        for node, ids in zip(nodes, words, strict=True)
    ]


def _depth(tree: list[MarkedNode]) -> int:
    """Returns how many thoughts the longest chain has below its problem."""
    depths: dict[int, int] = {}
    for node in tree:
        depths[node.local] = depths.get(node.father, -1) + 1
    return max(depths.values(), default=0)
