"""What tells which answers are equal, and what solutions earn."""

from pathlib import Path

from llamao1_cli.config import GradingConfig
from llamao1_cli.tasks.grading import Grader
from llamao1_cli.tasks.problem import EQUALITY, RewardSource
from llamao1_cli.tasks.rewards import Rewards, RewardWorkers, rewards_by_equality
from llamao1_cli.tasks.worker_pool import ClosedOnExit


class Verifier(ClosedOnExit):
    """Compares answers, and rewards solutions, in worker processes that can be killed. They start
    when first needed, and stop on leaving the context."""

    def __init__(
        self, config: GradingConfig, source: RewardSource, solved_at: float, log: Path
    ) -> None:
        """`log` is the file for the tracebacks of rewards that fail."""
        self._grader = Grader(config.workers, config.timeout_s)
        self.equal = self._grader.grade
        self._workers = None if source == EQUALITY else RewardWorkers(source, config, log)
        of = self._workers.of if self._workers else rewards_by_equality(self.equal)
        self.rewards = Rewards(of, solved_at)

    def close(self) -> None:
        """Stop the worker processes; they start again when they are needed."""
        self._grader.close()
        if self._workers:
            self._workers.close()
