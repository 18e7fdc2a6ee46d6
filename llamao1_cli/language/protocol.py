"""What a thought is in a language, in terms that fit every language.

A path is a problem's prompt and the thoughts behind it, as tokens. Engine, search and learner see
a `Language` and never ask which one it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from llamao1_cli.language.answer_forms import AnswerForm
from llamao1_cli.language.marked import MarkedNode, Meta

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class NodeTokens:
    """The tokens of one node on a path, from what opens it to what closes it."""

    ids: list[int]
    sampled: int  # index of the first token that the model sampled
    read: int  # index of the token behind which the node's rating, or else its value, is read


@dataclass(frozen=True)
class SupervisedIds:
    """A text as tokens for supervised training, all of one length T.

    `labels[t]` is what the model should say at position t given `inputs[:t]`; it differs from
    `inputs[t]` where the context hides a rating. `weights[t]` is 0 where nothing is learned.
    """

    inputs: list[int]
    labels: list[int]
    weights: list[float]


class Language(Protocol):
    """Thoughts as tokens: how a path is written, and what the model may say in it."""

    tokenizer: "PreTrainedTokenizerFast"
    answers: AnswerForm  # how solutions state answers

    @property
    def rates(self) -> bool:
        """Whether the model rates the problem and every thought."""
        ...

    def encode(self, text: str) -> list[int]:
        """Returns the tokens of plain text; special tokens in it stay ordinary characters."""
        ...

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns what `encode` returns for each text, in one call that is faster."""
        ...

    def decode(
        self, ids: Sequence[int], forced_meta: Meta | None = None
    ) -> tuple[Meta | None, str]:
        """Returns the meta-action and the text of a thought's sampled tokens, behind a meta-action
        that was chosen for it."""
        ...

    def root(self, problem: str) -> list[int]:
        """Returns the tokens that every path of a problem begins with."""
        ...

    def root_node(self, problem: str) -> NodeTokens:
        """Returns the root's tokens, none of which was sampled."""
        ...

    def opening(self, depth: int, meta: Meta | None = None) -> list[int]:
        """Returns the tokens that open the thought at `depth` of a path, with the meta-action that
        the search chose for it, if any. Those of a meta-action stand behind the others."""
        ...

    def node(
        self,
        depth: int,
        ids: Sequence[int],
        *,
        forced_meta: Meta | None,
        complete: bool,
        shown: str,
    ) -> NodeTokens:
        """Returns the tokens of one thought on a path; the model sampled `ids` of them. `shown` is
        the rating that follows it, as `shown_rating` returned it."""
        ...

    def ends_thought(self, ids: Sequence[int]) -> bool:
        """Returns whether a thought has ended with the last of the tokens sampled for it."""
        ...

    def ends_solution(self, meta: Meta | None, text: str, ids: Sequence[int]) -> bool:
        """Returns whether nothing follows an ended thought, for it ends the solution."""
        ...

    def before_rating(self, complete: bool) -> list[int]:
        """Returns the tokens between a thought's last sampled one and its rating."""
        ...

    def behind_rating(self, shown: str) -> list[int]:
        """Returns the tokens that close a thought, from the rating that is shown on."""
        ...

    def unrated(self, ids: Sequence[int]) -> list[int]:
        """Returns the tokens of a path without what closes its last node, for its rating."""
        ...

    def shown_rating(self, rating: float | None, *, show: bool) -> str:
        """Returns how a rating stands in the path, hidden unless `show`."""
        ...

    def rating_logits(self, logits: Tensor) -> Tensor:
        """Returns the log-odds of success `[...]` that logits `[..., V]` rate a path with."""
        ...

    @property
    def room_to_close(self) -> int:
        """Returns how many tokens close a thought that was cut."""
        ...

    def problem_room(self, max_length: int, max_tokens: int, *, forced_meta: bool) -> int:
        """Returns how many tokens a problem's text may have at most for one thought of `max_tokens`
        to fit behind it in a path of `max_length`; less than 0 where none does."""
        ...

    def role(self, index: int, forced_meta: bool, min_tokens: int) -> int:
        """Returns which row of `grammar` sampled token `index` of a thought follows; the thought
        has at least `min_tokens` tokens, behind a meta-action that was written for it or not."""
        ...

    def grammar(self, size: int) -> Tensor:
        """Returns which tokens may be sampled `[R, size]`, a row a role; `size` is the width of the
        model's logits."""
        ...

    def supervised(
        self, nodes: Sequence[MarkedNode], *, show_ratings: bool, rating_weight: float
    ) -> SupervisedIds:
        """Returns a worked solution, its problem first, as tokens for supervised training."""
        ...
