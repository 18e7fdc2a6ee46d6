"""Token tries: paths that begin with the same tokens share them."""

from collections.abc import Sequence


class Trie:
    """Tokens in the order in which they were first met; `before` holds the index of the token that
    each follows, or -1."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.before: list[int] = []
        self._index: dict[tuple[int, int], int] = {}  # by the token before and the token itself

    def extend(self, last: int, tokens: Sequence[int]) -> list[int]:
        """Add `tokens` behind the one at index `last` (-1: the start), and return their indices;
        known ones are shared."""
        indices = []
        for token in tokens:
            index = self._index.setdefault((last, token), len(self.ids))
            if index == len(self.ids):
                self.ids.append(token)
                self.before.append(last)
            indices.append(index)
            last = index
        return indices
