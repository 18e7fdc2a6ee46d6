"""Requests of one path, which are read together: a shared prefix and one row a request."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from llamao1_cli.engine.builtin.segments import Segment
from llamao1_cli.engine.protocol import Request
from llamao1_cli.engine.rows import Row, Rules


@dataclass(eq=False)
class Group:
    """A prefix and the rows that continue it, at one slot of the buffers once admitted."""

    tokens: list[int]  # the prefix that all rows share
    rows: list[Row] = field(default_factory=list)
    max_suffix: int = 0  # how many tokens a row's suffix can have at most
    rated: int | None = None  # ticket of the rating that is to be read behind the prefix
    slot: int = -1
    fed: int = 0  # tokens of the prefix in the buffers
    base: Segment | None = None  # the last segment of the prefix that is stored

    @property
    def ready(self) -> bool:
        """Whether the whole prefix is in the buffers."""
        return self.fed == len(self.tokens)

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.ready and self.rated is None and all(row.done for row in self.rows)

    @property
    def reads_prefix(self) -> bool:
        """Whether anyone needs the logits behind the prefix."""
        return self.rated is not None or any(not row.pending for row in self.rows)


def make_groups(
    requests: Sequence[Request], tickets: Sequence[int], rules: Rules, most: int
) -> tuple[list[Group], list[int]]:
    """Returns groups of up to `most` neighbouring requests with one path, and the tickets of
    requests that have no room to begin.

    The header belongs to the shared prefix, unless hints come before it, and so do the tokens that
    a thought begins with. Where nothing opens a thought, a hint leaves the path's last token to the
    rows, for what it predicts is read again without the hint.
    """
    groups, full = [], []
    pairs = zip(requests, tickets, strict=True)
    for (path, begun), members in groupby(pairs, key=lambda p: (p[0].path, p[0].begins.ids)):
        asked = list(members)
        hinted = any(request.hints[0] for request, _ in asked)
        opened = [] if hinted else [*rules.language.opening(asked[0][0].depth), *begun]
        held = int(hinted and not rules.language.opening(asked[0][0].depth))
        shared = len(path) - held
        prefix, rows = [*path[:shared], *opened], list[Row]()
        for request, ticket in asked:
            row = Row(request, ticket, rules, shared=shared, pending=path[shared:])
            opening = row.opening()
            if opening is None:
                full.append(ticket)
                continue
            row.shared += len(opened)
            row.begin(opening, known=len(opened))
            rows.append(row)
        for start in range(0, len(rows), most):
            part = rows[start : start + most]
            longest = max(row.max_suffix for row in part)
            groups.append(Group(prefix, part, max_suffix=longest))
    return groups, full
