r"""Worked solutions as marked demonstrations: a thought a step, then a conclusion with the answer.

Right solutions alone would not teach ratings, so a share of the demonstrations contains a mistake:
the result of one step is replaced by a wrong number, and the chain ends there, because nobody has
worked out the next steps from that number. The step is rated negative and is not imitated. If the
replaced result was the answer, a conclusion states it, also rated negative and not imitated, so
that some conclusions are wrong too.
"""

import re

import numpy as np

from llamao1_cli.language.answer_forms import BOXED, AnswerForm
from llamao1_cli.language.marked import MarkedNode, Meta, Rating
from llamao1_cli.tasks.equality.verdict import verdict
from llamao1_cli.tasks.problem import Problem
from llamao1_cli.tasks.sentences import pieces

MISTAKEN = 0.25  # share of the demonstrations that end with a mistake

_ANNOTATION = re.compile(r"<<[^<>]*>>")  # a calculator's: 48/2 = <<48/2=24>>24
# The number behind an equals sign, with at most a currency and a sign between them.
_RESULT = re.compile(r"=\s*+[^\w\s=]{0,2}(?P<number>\d+(?:,\d{3})*(?:\.\d+)?)(?!\w)")
_CALCULATED = re.compile(r"[=≈]|\\(?:equiv|approx|cong)(?![A-Za-z])")
_STATEMENTS = 3  # most that one sentence is rid of
_AROUND = " \n\t.$*\\()[]{}"  # marks around an answer that say nothing
_LEADING_UP = {
    *("", "a", "answer", "answers", "and", "are", "correct", "final", "hence", "is", "it", "our"),
    *("so", "that", "the", "then", "therefore", "thus", "we", "have", "which", "gives", "means"),
}


def demonstrate(
    problem: Problem, solution: str, rng: np.random.Generator, answers: AnswerForm
) -> list[MarkedNode]:
    """Returns a chain of thoughts that solves `problem` as its worked `solution` does, or that ends
    with a mistake. The conclusion states its answer as `answers` does."""
    steps = solution_steps(solution, answers)
    found = [[*_RESULT.finditer(step)] * (not step.startswith("[asy]")) for step in steps]
    results = {index: matches[-1] for index, matches in enumerate(found) if matches}
    if not results or rng.random() >= MISTAKEN:
        return _chain(problem, steps, answers.statement(problem.answer), mistake=None)
    mistake = int(rng.choice(list(results)))
    begin, end = results[mistake].span("number")
    number, step = steps[mistake][begin:end], steps[mistake]
    wrong = _another_number(number, rng)
    written = [*steps[:mistake], step[:begin] + wrong + step[end:]]
    last = mistake == len(steps) - 1
    states_it = last and verdict(number, problem.answer) is True
    return _chain(problem, written, answers.statement(wrong) if states_it else None, mistake)


def solution_steps(solution: str, answers: AnswerForm) -> list[str]:
    r"""Returns the sentences or lines of a worked solution, without calculator annotations.

    They state no answer, since a thought that does ends its path: a box is taken off what it holds,
    and a sentence such as "So the answer is 5" is left out but for what stands before it. That is
    how data sets state answers, whatever the task's own `answers` look like; those go, too.
    """
    steps = pieces(_ANNOTATION.sub("", solution))
    for form in [BOXED] if answers is BOXED or answers.concludes else [BOXED, answers]:
        steps = [step for piece in steps if (step := _without_answer(piece, form))]
    return steps


def _without_answer(piece: str, form: AnswerForm) -> str:
    """Returns a piece without the answer that it states; empty if nothing else is in it."""
    answer = form.stated(piece)
    if answer is None:
        return piece
    bare = form.bare(piece)
    if bare.strip(_AROUND) == answer.strip(_AROUND):
        return ""
    for _ in range(_STATEMENTS):
        statement = form.stated(bare)
        if statement is None:
            return bare
        bare = _without_statement(bare, statement)
    return ""


def _without_statement(text: str, statement: str) -> str:
    """Returns a text without the answer that it states last and the words that lead up to it; a
    calculation, as in "the answer is 2 + 3 = 5", is kept."""
    before, _, behind = text.rpartition(statement)
    end = len(before)
    for word in reversed([*re.finditer(r"\S+", before)]):
        if word[0].strip(_AROUND + ",:;#").lower() not in _LEADING_UP:
            break
        end = word.start()
    kept = statement if _CALCULATED.search(statement) else ""
    behind = behind if kept else behind.lstrip(_AROUND)
    return f"{before[:end].strip()} {kept}{behind}".strip()


def _another_number(number: str, rng: np.random.Generator) -> str:
    """Returns the number with one digit changed; never to 0, so that it keeps its length."""
    positions = [position for position, letter in enumerate(number) if letter.isdigit()]
    position = int(rng.choice(positions))
    digits = [digit for digit in "123456789" if digit != number[position]]
    return number[:position] + str(rng.choice(digits)) + number[position + 1 :]


def _chain(
    problem: Problem, steps: list[str], conclusion: str | None, mistake: int | None
) -> list[MarkedNode]:
    """Returns the problem, the steps, and the conclusion unless it is None; the thoughts from index
    `mistake` on are wrong."""
    thoughts = [(Meta.EXPANSION, step) for step in steps]
    if conclusion is not None:
        thoughts.append((Meta.CONCLUSION, conclusion))
    nodes = [MarkedNode(-1, 0, problem.text, Meta.PROBLEM)]
    for index, (meta, text) in enumerate(thoughts):
        right = mistake is None or index < mistake
        rating = Rating.POSITIVE if right else Rating.NEGATIVE
        nodes.append(MarkedNode(index, index + 1, text, meta, rating, imitate=right))
    return nodes
