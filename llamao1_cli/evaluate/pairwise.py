"""The pairwise judge: a language model that is asked which of two solutions is better."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from llamao1_cli.errors import UserError
from llamao1_cli.model.load import LanguageModel
from llamao1_cli.search.refine.preference import Comparison

PROMPT = (
    "Question: {question}\n\nSolution 1:\n{first}\n\nSolution 2:\n{second}\n\n"
    "For this question, is solution 1 better than solution 2? Answer yes or no.\nAnswer:"
)
YES, NO = " yes", " no"


class PairwiseJudge:
    """Compares solutions by P = e^yes / (e^yes + e^no) (LLaMA-Berry, Zhang et al. 2024)."""

    def __init__(self, language_model: LanguageModel, max_length: int, batch_tokens: int) -> None:
        self.model, self._tokenizer = language_model.model, language_model.tokenizer
        self._max_length, self._batch_tokens = max_length, batch_tokens
        self._opening, self._yes, self._no = _answer_tokens(language_model)
        self.compared = 0  # comparisons asked for so far
        self.unread = 0  # those of them that the context did not hold
        self.tokens = 0  # read by the model

    def log_odds(self, comparisons: Sequence[Comparison]) -> np.ndarray:
        """Returns the log-odds `[N]` that the first solution is the better one, the mean over both
        orders.

        Turned comparisons thus have opposite log-odds. A comparison that the context does not hold
        is not read: its log-odds are 0, and `unread` counts it.
        """
        rows = [ids for c in comparisons for ids in (self.ids(c), self.ids(c.turned))]
        lengths = [max(map(len, orders)) for orders in zip(rows[::2], rows[1::2], strict=True)]
        fits = [length <= self._max_length for length in lengths]
        self.compared += len(comparisons)
        self.unread += fits.count(False)
        odds = torch.zeros(len(rows))
        self.model.eval()
        with torch.no_grad():
            read = [len(ids) if fits[index // 2] else 0 for index, ids in enumerate(rows)]
            self.tokens += sum(read)
            for indices in self.batches(read):
                odds[indices] = self.forward([rows[index] for index in indices]).cpu()
        return mean_odds(odds).double().numpy()

    def drain(self) -> dict[str, int]:
        """Returns what was counted since the last call: comparisons asked for (`compared`), those
        of them too long for the context (`unread`), and the tokens read."""
        counts = {"compared": self.compared, "unread": self.unread, "read_tokens": self.tokens}
        self.compared = self.unread = self.tokens = 0
        return counts

    def ids(self, comparison: Comparison) -> list[int]:
        """Returns the tokens of one order's question. Markers and other special tokens in it stay
        words."""
        text = PROMPT.format(**vars(comparison))
        ids = self._tokenizer.encode(text, add_special_tokens=True, split_special_tokens=True)
        return [*ids, *self._opening]

    def fits(self, comparison: Comparison) -> bool:
        """Returns whether the context holds the comparison in either order."""
        return max(len(self.ids(c)) for c in (comparison, comparison.turned)) <= self._max_length

    def forward(self, rows: Sequence[list[int]]) -> torch.Tensor:
        """Returns the logit of yes minus that of no `[B]`, fp32, after each row of tokens."""
        device = next(self.model.parameters()).device
        longest = max(map(len, rows))
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for index, row in enumerate(rows):  # on the right, so that all end in one column
            ids[index, longest - len(row) :] = torch.tensor(row)
            mask[index, longest - len(row) :] = 1
        logits = self.model(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            position_ids=(mask.cumsum(1) - 1).clamp(min=0).to(device),
            logits_to_keep=1,
            use_cache=False,
        ).logits[:, -1]
        return (logits[:, self._yes] - logits[:, self._no]).float()

    def batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Yields the indices of rows of similar lengths, as many as `batch_tokens` hold padded, and
        at least one; rows of length 0 are left out."""
        order = sorted((i for i, length in enumerate(lengths) if length), key=lambda i: lengths[i])
        batch: list[int] = []
        for index in order:
            if batch and (len(batch) + 1) * lengths[index] > self._batch_tokens:
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch


def mean_odds(answers: torch.Tensor) -> torch.Tensor:
    """Returns the log-odds `[N]` that the first solution is better, the mean over both orders, from
    the logits of yes minus no `[2 N]`, that of each comparison before that of it turned."""
    return (answers[::2] - answers[1::2]) / 2


def _answer_tokens(language_model: LanguageModel) -> tuple[list[int], int, int]:
    """Returns the tokens that yes and no both begin with, and the first of each that differs."""
    yes, no = (
        language_model.tokenizer.encode(word, add_special_tokens=False) for word in (YES, NO)
    )
    for index, (one, other) in enumerate(zip(yes, no, strict=False)):
        if one != other:
            return yes[:index], one, other
    raise UserError(f"{language_model.name}: its tokenizer cannot tell yes from no; use another")
