"""From the configuration to its task."""

from llamao1_cli.config import ArithmeticTask, DataTask
from llamao1_cli.tasks.arithmetic import Arithmetic
from llamao1_cli.tasks.dataset import DataSet
from llamao1_cli.tasks.problem import Task


def load_task(config: ArithmeticTask | DataTask) -> Task:
    """The configured task; data files are read and checked now (UserError)."""
    return Arithmetic(config) if isinstance(config, ArithmeticTask) else DataSet(config)
