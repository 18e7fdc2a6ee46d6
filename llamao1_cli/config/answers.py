"""How the final answer of a problem is stated."""

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from llamao1_cli.config.section import Section
from llamao1_cli.config.template import template_parts
from llamao1_cli.language.answer_forms import FORMS, AnswerForm, FormName, pattern_form

NAMED, FOUND = "named form", "found by a pattern"  # tell the two kinds apart


class AnswerPattern(Section):
    """An answer that a regular expression finds, run by RE2 (extra `re2`) in linear time."""

    pattern: str = Field(
        description="Regular expression of RE2 whose one group is the answer, such as "
        "`Final: (.+)`; where it fits several times in a thought, the last one counts."
    )
    template: str = Field(
        description="Words in which demonstrations state an answer, such as `Final: {answer}`; the "
        "pattern has to find it there."
    )

    @field_validator("template")
    @classmethod
    def _states_the_answer(cls, template: str) -> str:
        if [field for _, field in template_parts(template) if field is not None] != ["answer"]:
            raise ValueError("must name {answer} once, and nothing else between braces")
        return template

    @model_validator(mode="after")
    def _fits(self) -> "AnswerPattern":
        pattern_form(self.pattern, self.template)
        return self


def answer_form(answers: FormName | AnswerPattern) -> AnswerForm:
    """Returns the configured form."""
    if isinstance(answers, AnswerPattern):
        return pattern_form(answers.pattern, answers.template)
    return FORMS[answers]


def _kind(answers: Any) -> str:
    return FOUND if isinstance(answers, AnswerPattern | dict) else NAMED


Answers = Annotated[
    Annotated[FormName, Tag(NAMED)] | Annotated[AnswerPattern, Tag(FOUND)], Discriminator(_kind)
]
