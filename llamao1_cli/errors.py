"""The errors that people see as one line instead of a traceback."""


class UserError(Exception):
    """Bad usage, configuration or input; the message names it and the remedy. Exit code 2."""


class RunFailedError(Exception):
    """A run that started well and cannot go on, such as a loss that is not finite. Exit code 1."""


class InterruptedRunError(BaseException):
    """A signal asked the run to stop. Exit code 128 + signal number.

    Like KeyboardInterrupt no Exception: it may arrive inside a library that catches those.
    """

    def __init__(
        self, signum: int, remedy: str = "--resume goes on from the last checkpoint"
    ) -> None:
        super().__init__(f"stopped by signal {signum}; {remedy}")
        self.signum, self.exit_code = signum, 128 + signum
