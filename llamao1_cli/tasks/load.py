"""The task that a configuration asks for."""

from llamao1_cli.config import ArithmeticTask, DataTask
from llamao1_cli.tasks.arithmetic import Arithmetic
from llamao1_cli.tasks.dataset import DataSet
from llamao1_cli.tasks.problem import Task


def load_task(config: ArithmeticTask | DataTask) -> Task:
    """Returns the configured task; raises UserError for data files that are missing or wrong."""
    return Arithmetic(config) if isinstance(config, ArithmeticTask) else DataSet(config)
