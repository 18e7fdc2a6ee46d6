"""What tells which answers are equal, and what solutions earn."""

from types import TracebackType
from typing import Self

from llamao1_cli.config import GradingConfig
from llamao1_cli.tasks.grading import Grader
from llamao1_cli.tasks.problem import RewardSource
from llamao1_cli.tasks.rewards import Rewards, rewards_by_equality


class Verifier:
    """Compares answers, and rewards solutions, in worker processes that can be killed. They start
    when first needed, and stop on leaving the context."""

    def __init__(self, config: GradingConfig, source: RewardSource, solved_at: float) -> None:
        self._grader = Grader(config.workers, config.timeout_s)
        self.equal = self._grader.grade
        self.rewards = Rewards(rewards_by_equality(self.equal), solved_at)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the worker processes; they start again when they are needed."""
        self._grader.close()
