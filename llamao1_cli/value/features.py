"""Features of a path for predicting its end, from ratings and log-probs that any engine returns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llamao1_cli.engine.protocol import Thought
from llamao1_cli.search.tree import Node

FEATURES = (
    "rating",  # logit of the last thought's rating
    "lowest_rating",
    "mean_rating",
    "logprob",  # summed over all sampled tokens
    "lowest_logprob",  # of any token
    "second_logprob",  # second lowest of any token
    "steps",
    "finished",  # whether it states an answer
)
# In a language without ratings.
UNRATED_FEATURES = (
    *(name for name in FEATURES if "rating" not in name),
    "tokens",  # sampled ones
    "mean_logprob",  # of them
)
RATING = FEATURES.index("rating")
LOGIT_LIMIT = 16.0  # a rating of 0 or 1 in fp32 is no more certain than this


@dataclass(frozen=True)
class PathStats:
    """Sums and extremes over a path; a child's follow from these and its own thought."""

    rating: float
    lowest_rating: float
    rating_sum: float
    logprob: float
    lowest: tuple[float, float]  # log-probs of the least likely tokens; 0, certain, for none
    steps: int
    finished: bool
    tokens: int  # sampled ones

    def features(self, names: Sequence[str]) -> list[float]:
        """Returns the named features, in their order."""
        known = {
            "rating": self.rating,
            "lowest_rating": self.lowest_rating,
            "mean_rating": self.rating_sum / (self.steps + 1),
            "logprob": self.logprob,
            "lowest_logprob": self.lowest[0],
            "second_logprob": self.lowest[1],
            "steps": self.steps,
            "finished": self.finished,
            "tokens": self.tokens,
            "mean_logprob": self.logprob / max(self.tokens, 1),
        }
        return [known[name] for name in names]


def extend_path(before: PathStats | None, node: Node) -> PathStats:
    """Returns the stats of the path to `node`; `before` are its parent's, None for the root."""
    rating, logprobs = rating_logit(node.thought), node.thought.logprobs
    lowest = sorted([*logprobs, 0.0, 0.0] if before is None else [*logprobs, *before.lowest])[:2]
    return PathStats(
        rating=rating,
        lowest_rating=rating if before is None else min(rating, before.lowest_rating),
        rating_sum=rating if before is None else rating + before.rating_sum,
        logprob=sum(logprobs) + (0.0 if before is None else before.logprob),
        lowest=(lowest[0], lowest[1]),
        steps=node.depth,
        finished=node.terminal,
        tokens=len(logprobs) + (0 if before is None else before.tokens),
    )


def extend_paths(known: list[PathStats], nodes: Sequence[Node]) -> None:
    """Append to `known`, the stats of a tree's first nodes, those of the `nodes` that follow them.

    Parents stand before their children, so that every thought is read once.
    """
    for node in nodes:
        known.append(extend_path(None if node.parent is None else known[node.parent], node))


def feature_rows(paths: Sequence[PathStats], names: Sequence[str] = FEATURES) -> np.ndarray:
    """Returns the named features of paths as rows `[N, F]`, float32."""
    rows = [path.features(names) for path in paths]
    return np.array(rows, np.float32).reshape(-1, len(names))


def rating_logit(thought: Thought) -> float:
    """Returns the logit of a thought's rating; 0 for one without."""
    return 0.0 if thought.rating is None else logit(thought.rating)


def logit(probability: float) -> float:
    """Returns log p / (1 - p), clipped to +-`LOGIT_LIMIT`."""
    if not 0.0 < probability < 1.0:
        return LOGIT_LIMIT if probability >= 1.0 else -LOGIT_LIMIT
    return min(max(math.log(probability / (1.0 - probability)), -LOGIT_LIMIT), LOGIT_LIMIT)
