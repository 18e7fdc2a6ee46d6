"""What a run sees of its problems: how many, how long, and whether their answers can be graded."""

from collections.abc import Sequence
from dataclasses import dataclass

from llamao1_cli.language.answer_forms import AnswerForm
from llamao1_cli.language.protocol import Language
from llamao1_cli.preview.spread import Spread, spread
from llamao1_cli.tasks.equality.groups import Equal
from llamao1_cli.tasks.problem import Problem, written_alike

SHOWN = 3  # problems that are shown
LOOKED_AT = 20_000  # problems at most, spread over all: a run must not wait long to begin


@dataclass(frozen=True)
class ShownProblem:
    """A problem, where it stands, and its answer as it was read."""

    id: str
    problem: str
    answer: str


@dataclass(frozen=True)
class ProblemFacts:
    """The problems of one side, training or held out."""

    rows: int  # read
    dropped: dict[str, int]  # rows that were left out, by the reason
    kept: int
    duplicates: int  # kept problems that another has said, but for case and white space
    looked_at: int  # of those kept, what follows is about so many
    prompt_tokens: Spread | None
    room: int  # tokens that a prompt may have for a thought to fit behind it
    too_long: int  # prompts with more: they cannot be played
    not_right_against_themselves: int  # answers that grade as wrong where a solution states them
    ungradable: list[ShownProblem]  # some of those
    examples: list[ShownProblem]


def problem_facts(
    problems: Sequence[Problem],
    dropped: dict[str, int],
    language: Language,
    room: int,
    equal: Equal | None,
) -> ProblemFacts:
    """Returns the facts about problems that were kept, with those about rows that were not; `equal`
    is None where no answers are compared."""
    looked_at = problems[:: -(-len(problems) // LOOKED_AT) or 1]
    lengths = [len(ids) for ids in language.encode_all([problem.text for problem in looked_at])]
    wrong = [] if equal is None else _not_right(looked_at, language.answers, equal)
    return ProblemFacts(
        rows=len(problems) + sum(dropped.values()),
        dropped=dropped,
        kept=len(problems),
        duplicates=len(problems) - len({written_alike(problem.text) for problem in problems}),
        looked_at=len(looked_at),
        prompt_tokens=spread(lengths),
        room=room,
        too_long=sum(length > room for length in lengths),
        not_right_against_themselves=len(wrong),
        ungradable=[*map(_shown, wrong[:SHOWN])],
        examples=[*map(_shown, problems[:SHOWN])],
    )


def _not_right(problems: Sequence[Problem], form: AnswerForm, equal: Equal) -> list[Problem]:
    """Returns the problems whose answer is lost where a solution states it."""
    stated = [form.stated(form.statement(problem.answer)) or "" for problem in problems]
    pairs = [(said, problem.answer) for said, problem in zip(stated, problems, strict=True)]
    verdicts = zip(problems, equal(pairs), strict=True)
    return [problem for problem, right in verdicts if not right]


def _shown(problem: Problem) -> ShownProblem:
    return ShownProblem(problem.id, problem.text, problem.answer)
