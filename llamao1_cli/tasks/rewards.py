"""What solutions earn: by equal answers, or by a reward in worker processes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llamao1_cli.tasks.equality.groups import Equal
from llamao1_cli.tasks.problem import Problem, Solution

# Returns what each solution earns, in [0, 1]; None where its reward failed, which counts as 0.
RewardFunction = Callable[[Sequence[tuple[Problem, Solution]]], Sequence[float | None]]


@dataclass(frozen=True)
class Rewards:
    """What solutions earn, and how much one must earn to count as solved."""

    of: RewardFunction
    solved_at: float = 1.0


def rewards_by_equality(equal: Equal) -> RewardFunction:
    """Returns the reward of 1 for a stated answer that equals the problem's, and else 0."""

    def of(solved: Sequence[tuple[Problem, Solution]]) -> list[float]:
        return [*map(float, equal([(said.answer, problem.answer) for problem, said in solved]))]

    return of
