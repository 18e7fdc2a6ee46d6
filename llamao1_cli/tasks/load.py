"""The task that a configuration asks for."""

from llamao1_cli.config.task import ArithmeticTask, DataTask, PythonTask
from llamao1_cli.config.task import Task as TaskConfig
from llamao1_cli.tasks.arithmetic import Arithmetic
from llamao1_cli.tasks.dataset import DataSet
from llamao1_cli.tasks.gym.task import ReasoningGym
from llamao1_cli.tasks.problem import Task
from llamao1_cli.tasks.task_file import TaskFile


def load_task(config: TaskConfig) -> Task:
    """Returns the configured task; raises UserError for files or names that are missing or
    wrong."""
    if isinstance(config, ArithmeticTask):
        return Arithmetic(config)
    if isinstance(config, PythonTask):
        return TaskFile(config)
    return DataSet(config) if isinstance(config, DataTask) else ReasoningGym(config)
