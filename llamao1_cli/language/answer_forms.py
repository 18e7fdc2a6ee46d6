r"""How a task has its final answers stated: forms that find one in a thought, and write it.

What a form reads is the model's: none takes longer than linear in the text.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from llamao1_cli.language.answers import (
    hashed_answer,
    last_number,
    stated_answer,
    stated_letter,
    tagged_answer,
    unboxed,
    untagged,
)
from llamao1_cli.language.marked import Meta

FormName = Literal["boxed", "tags", "hashes", "letter", "number"]

READ = 10_000  # most characters, the last of a text, that a pattern is looked for in
_SAMPLES = ("7", "B", "yes", "x + 1")  # a template that states none of these is wrong


@dataclass(frozen=True)
class AnswerForm:
    """A way to state the final answer."""

    stated: Callable[[str], str | None]  # the answer that a text states last; None: it states none
    template: str  # of the words that state {answer}
    where: str  # a hint says that the answer stands
    concludes: bool = False  # only a conclusion states an answer, for any thought would seem to
    bare: Callable[[str], str] = str  # takes the marks off the answers of a text
    whole: bool = False  # only a solution that has ended states one, anywhere in its text

    def stated_by(self, meta: Meta | None, text: str) -> str | None:
        """Returns the final answer that a thought states, stripped but not normalised, or None."""
        may = (not self.concludes or meta is Meta.CONCLUSION) and not self.whole
        return self.stated(text) if may else None

    def statement(self, answer: str) -> str:
        """Returns the words in which a conclusion states an answer."""
        return self.template.format(answer=answer)


BOXED = AnswerForm(
    stated_answer, "The answer is \\boxed{{{answer}}}.", "in \\boxed{}", bare=unboxed
)
FORMS: dict[FormName, AnswerForm] = {
    "boxed": BOXED,
    "tags": AnswerForm(
        tagged_answer, "<answer>{answer}</answer>", "between <answer> and </answer>", bare=untagged
    ),
    "hashes": AnswerForm(hashed_answer, "#### {answer}", "behind ####"),
    "letter": AnswerForm(stated_letter, "The answer is {answer}.", "as one letter", concludes=True),
    "number": AnswerForm(
        last_number, "The answer is {answer}.", "as the last number", concludes=True
    ),
}


def pattern_form(pattern: str, template: str) -> AnswerForm:
    """Returns the form whose answers are what the one group of a regular expression finds last.

    RE2 runs it (extra `re2`), which no text can make slow. Raises ValueError for a pattern that is
    not RE2's, or does not read what the template states.
    """
    try:
        import re2
    except ImportError:
        raise ValueError("a pattern needs the extra: pip install 'llamao1-cli[re2]'") from None
    options = re2.Options()
    options.log_errors = False  # on standard error
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        cause = error.args[0].decode(errors="replace")
        raise ValueError(f"{pattern!r:.80} is no regular expression of RE2: {cause}") from None
    if compiled.groups != 1:
        raise ValueError(
            f"{pattern!r:.80} has {compiled.groups} groups; put parentheses around the answer "
            "alone, and write (?:…) for others"
        )

    def stated(text: str) -> str | None:
        found = [match[1] or "" for match in compiled.finditer(text[-READ:])]
        return next(filter(None, map(str.strip, reversed(found))), None)

    form = AnswerForm(stated, template, f"as in {template.format(answer='…')}")
    if not any(stated(form.statement(sample)) == sample for sample in _SAMPLES):
        raise ValueError(
            f"the pattern {pattern!r:.80} does not find the answer that the template "
            f"{template!r:.80} states; change one of them"
        )
    return form
