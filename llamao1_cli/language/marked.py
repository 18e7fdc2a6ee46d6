"""The marked language: thoughts as text, and text as thoughts.

A tree of thoughts is a sequence of marked nodes. This module owns the markers, the meta-actions,
the reader and the writer, and nothing about tokens, models or search.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

FATHER_START, FATHER_END = "<start_of_father_id>", "<end_of_father_id>"
LOCAL_START, LOCAL_END = "<start_of_local_id>", "<end_of_local_id>"
THOUGHT_START, THOUGHT_END = "<start_of_thought>", "<end_of_thought>"
RATING_START, RATING_END = "<start_of_rating>", "<end_of_rating>"


class Rating(StrEnum):
    """What the text says of a thought: right, wrong, or nothing."""

    POSITIVE = "<positive_rating>"
    NEGATIVE = "<negative_rating>"
    UNKNOWN = "<unknown_rating>"


class Meta(StrEnum):
    """The meta-actions a thought may begin with, in the order of the transition matrix."""

    EXPANSION = "<expansion>"
    PROBLEM = "<problem>"
    CRITIC = "<critic>"
    REFINE = "<refine>"
    CONCLUSION = "<conclusion>"


METAS: tuple[Meta, ...] = tuple(Meta)
MARKERS: tuple[str, ...] = (
    FATHER_START,
    FATHER_END,
    LOCAL_START,
    LOCAL_END,
    THOUGHT_START,
    THOUGHT_END,
    RATING_START,
    RATING_END,
    *Rating,
    *Meta,
)
OLD_UNKNOWN = "<unknow_rating>"  # a misspelling found in published data

HINTS: dict[Meta, str] = {
    Meta.EXPANSION: "Hint: take the next step towards the answer {answer}.",
    Meta.PROBLEM: "Hint: divide the problem and state one smaller problem that helps to solve it.",
    Meta.CRITIC: "Hint: point out the flaws of the last step, or confirm it.",
    Meta.REFINE: "Hint: write the last step again without its flaws.",
    Meta.CONCLUSION: "Hint: summarise the steps and conclude with the final answer {where}.",
}


class MarkedTextError(ValueError):
    """Text is not in the marked language; the message says where, and what was expected."""


@dataclass(frozen=True)
class MarkedNode:
    """One node as the text shows it. `rating` is None where the text has no rating field.

    `imitate` is False for a thought that the model should learn to rate but not to write; no marker
    in the text stands for it.
    """

    father: int
    local: int
    text: str
    meta: Meta | None = None
    rating: Rating | None = None
    imitate: bool = True


def neutralise(text: str) -> str:
    """Returns the text with its markers made harmless: with the brackets ‹ › they are words."""
    return _ANY_MARKER.sub(lambda match: f"‹{match.group()[1:-1]}›", text)


def hint(meta: Meta, answer: str | None, where: str) -> str | None:
    """Returns the sentence that asks for `meta`; None where it would need an unknown answer.
    `where` says how a conclusion states its answer."""
    if meta is Meta.EXPANSION and answer is None:
        return None
    return HINTS[meta].format(answer=neutralise(answer or ""), where=where)


def render_node(node: MarkedNode) -> str:
    """Returns one node as marked text; markers inside its free text are made harmless."""
    head = (
        f"{FATHER_START}{node.father}{FATHER_END}{LOCAL_START}{node.local}{LOCAL_END}"
        f"{THOUGHT_START}{node.meta or ''}{neutralise(node.text)}{THOUGHT_END}"
    )
    return head if node.rating is None else f"{head}{RATING_START}{node.rating}{RATING_END}"


def render_tree(nodes: Iterable[MarkedNode]) -> str:
    """Returns the nodes as marked text, one a line."""
    return "\n".join(render_node(node) for node in nodes)


def with_digits(text: str) -> str:
    """Returns marked text with the numbers of its nodes in digits, where it spells them in the
    tokens that some tokenizers have for them."""
    return _OWN_NUMBER.sub(r"\1\2", text)


def parse_tree(text: str) -> list[MarkedNode]:
    """Returns the nodes of marked text, in order; any white space may stand between nodes.

    Raises MarkedTextError with the position of the first error. A father that has not appeared
    before its child is one, and so is a node id that appears twice.
    """
    nodes: list[MarkedNode] = []
    known: set[int] = set()
    position = _skip_space(text, 0)
    while position < len(text):
        node, end = _parse_node(text, position)
        _check_ids(node, known, position)
        nodes.append(node)
        known.add(node.local)
        position = _skip_space(text, end)
    if not nodes:
        raise MarkedTextError(f"no node in the text, at its end (character {position})")
    return nodes


_OWN_NUMBER = re.compile(rf"({FATHER_START}|{LOCAL_START})<id_(-?\d+)>")
_ANY_MARKER = re.compile("|".join(re.escape(m) for m in (*MARKERS, OLD_UNKNOWN)))
_SPACE = re.compile(r"\s*")
_HEADER = re.compile(
    rf"{FATHER_START}(-?\d{{1,9}}){FATHER_END}\s*{LOCAL_START}(\d{{1,9}}){LOCAL_END}\s*{THOUGHT_START}"
)
_META = re.compile("|".join(METAS))
_RATING = re.compile(rf"\s*{RATING_START}\s*({'|'.join((*Rating, OLD_UNKNOWN))})\s*{RATING_END}")


def _skip_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _parse_node(text: str, position: int) -> tuple[MarkedNode, int]:
    header = _HEADER.match(text, position)
    if header is None:
        raise MarkedTextError(
            f"no node header at character {position}: {text[position : position + 40]!r}"
        )
    meta = _META.match(text, header.end())
    start = meta.end() if meta else header.end()
    stop = _ANY_MARKER.search(text, start)
    if stop is None or stop.group() != THOUGHT_END:
        found, where = (stop.group(), stop.start()) if stop else ("the end of the text", len(text))
        raise MarkedTextError(
            f"a thought must end with {THOUGHT_END}, found {found} at character {where}"
        )
    rating = _RATING.match(text, stop.end())
    if rating is None:
        return _node(header, meta, text[start : stop.start()], None), stop.end()
    known = Rating.UNKNOWN if rating[1] == OLD_UNKNOWN else Rating(rating[1])
    return _node(header, meta, text[start : stop.start()], known), rating.end()


def _node(
    header: re.Match[str], meta: re.Match[str] | None, text: str, rating: Rating | None
) -> MarkedNode:
    return MarkedNode(
        father=int(header[1]),
        local=int(header[2]),
        text=text,
        meta=Meta(meta.group()) if meta else None,
        rating=rating,
    )


def _check_ids(node: MarkedNode, known: set[int], position: int) -> None:
    """Raise MarkedTextError unless the node's id is new and its father's is `known`."""
    if node.local in known:
        problem = f"node {node.local} appears twice"
    elif known and node.father not in known:
        problem = f"node {node.local} names father {node.father}, which has not appeared before it"
    elif not known and node.father != -1:
        problem = f"the first node must have father -1, not {node.father}"
    else:
        return
    raise MarkedTextError(f"{problem}, at character {position}")
