"""Where the trees of an iteration come from: they are played, or read from a file."""

from collections.abc import Sequence
from pathlib import Path

from llamao1_cli.files.run_folder import RunFolder
from llamao1_cli.report.display import Display
from llamao1_cli.run.assembly import Parts
from llamao1_cli.run.spending import Spending
from llamao1_cli.search.tree import Tree
from llamao1_cli.search.tree_files import read_trees, write_trees


class TreeSource:
    """The trees of a run's iterations, their seconds counted to what it spends."""

    def __init__(
        self, parts: Parts, folder: RunFolder, display: Display, spending: Spending
    ) -> None:
        self._parts, self._folder = parts, folder
        self._display, self._spending = display, spending

    def play(self, number: int) -> list[Tree]:
        """Returns the trees of iteration `number`, played with the weights of now; the run folder
        keeps them."""
        with (
            self._display.rounds(f"iteration {number}") as on_growth,
            self._spending.timed("rollout"),
        ):
            trees = self._parts.selfplay.iterate(
                self._parts.problems,
                self._parts.config.search,
                number,
                grade=self._grade,
                on_growth=on_growth,
            )
        self._spending.shift("rollout", -self._spending.phase("grading"))
        if self._parts.accelerator.is_main_process:
            write_trees(self._folder.trees(number), trees)
        return trees

    def read(self, path: Path, number: int) -> list[Tree]:
        """Returns stored trees, as if iteration `number` had played them.

        Raises UserError for a file that holds something else.
        """
        with self._spending.timed("reading"):
            trees = read_trees(path, self._parts.codec)
        for tree in trees:
            tree.iteration = number
        return trees

    def _grade(self, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        with self._spending.timed("grading"):
            return self._parts.grader.grade(pairs)
