"""Groups of equal answers: what votes are counted by."""

from collections.abc import Callable, Sequence

Equal = Callable[[Sequence[tuple[str, str]]], list[bool]]  # whether both of a pair are equal

Group = list[str]  # the ways in which one answer was written, the first one first


def join(answer: str, groups: list[Group], equal: Equal) -> int:
    """Add an answer to the group all of whose answers it equals, or as a new one at the end;
    returns the index of its group.

    `12` equals `12 kg` and `12 g`, which differ: so being equal to one of a group is not enough.
    """
    for index, group in enumerate(groups):
        if answer in group:
            return index
    first = equal([(answer, group[0]) for group in groups])
    for index, group in enumerate(groups):
        if first[index] and all(equal([(answer, other) for other in group[1:]])):
            group.append(answer)
            return index
    groups.append([answer])
    return len(groups) - 1
