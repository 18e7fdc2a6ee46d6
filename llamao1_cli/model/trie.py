"""Token tries: what the paths of a tree have in common from their start is there once."""

from collections.abc import Sequence


class Trie:
    """Tokens in the order they are first met, each behind the one before it."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.before: list[int] = []
        self._places: dict[tuple[int, int], int] = {}

    def extend(self, last: int, tokens: Sequence[int]) -> list[int]:
        """Indices of `tokens` behind the token `last` (-1: the start); known ones are shared."""
        places = []
        for token in tokens:
            place = self._places.setdefault((last, token), len(self.ids))
            if place == len(self.ids):
                self.ids.append(token)
                self.before.append(last)
            places.append(place)
            last = place
        return places
