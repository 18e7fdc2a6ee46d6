"""Where the trees of an iteration come from: they are played, or read from a file."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from llamao1_cli.config import LearnConfig
from llamao1_cli.errors import UserError
from llamao1_cli.files.run_folder import RunFolder
from llamao1_cli.learn.credit import has_signal
from llamao1_cli.learn.restarts import Restarts
from llamao1_cli.report.display import Display
from llamao1_cli.run.assembly import Parts
from llamao1_cli.run.checkpoint import ProblemState
from llamao1_cli.run.spending import Spending
from llamao1_cli.search.forest import mean_success
from llamao1_cli.search.protocol import OnGrowth
from llamao1_cli.search.start import Start
from llamao1_cli.search.tree import Tree
from llamao1_cli.search.tree_files import read_trees, write_trees
from llamao1_cli.tasks.problem import Problem, Solution


class TreeSource:
    """The trees of a run's iterations, their seconds counted to what it spends.

    What the trees so far came to decides which problems are next: see `advance`.
    """

    def __init__(
        self, parts: Parts, folder: RunFolder, display: Display, spending: Spending
    ) -> None:
        self._parts, self._folder = parts, folder
        self._display, self._spending = display, spending
        self._learn, self._levels = parts.config.learn, parts.task.levels
        self._seed = parts.config.run.seed
        self._drawn = 0  # problems of all iterations before
        replay = parts.config.replay.restarts
        self._restarts = Restarts(replay.capacity) if replay else None
        self._starts: list[Start] = []  # of the iteration under way
        self._most_restarts = max(round(replay.share * self._learn.problems), 1) if replay else 0
        self._level = self._levels if self._learn.curriculum is None else 1

    def play(self, number: int) -> list[Tree]:
        """Returns the trees of iteration `number`, played with the weights of now; the run folder
        keeps them."""
        with (
            self._display.rounds(f"iteration {number}", "iteration") as on_growth,
            self._spending.timed("rollout"),
        ):
            if self._restarts is not None:
                self._starts = self._restarts.choose(self._most_restarts)
            trees = self._rounds(number, on_growth)
        self._spending.shift("rollout", -self._spending.phase("grading"))
        if self._parts.accelerator.is_main_process:
            write_trees(self._folder.trees(number), trees)
        return trees

    def read(self, path: Path, number: int) -> list[Tree]:
        """Returns stored trees, as if iteration `number` had played them.

        Raises UserError for a file that holds something else.
        """
        with self._spending.timed("reading"):
            trees = read_trees(path, self._parts.language)
        for tree in trees:
            tree.iteration = number
        return trees

    def taught(self, trees: list[Tree]) -> list[Tree]:
        """Returns the trees that teach the policy: with `learn.resample` those with a signal."""
        return [*filter(has_signal, trees)] if self._learn.resample else trees

    def advance(self, trees: Sequence[Tree]) -> dict[str, float]:
        """Go on to the problems that follow an iteration of these trees; returns its metrics."""
        metrics = {
            "played_problems": float(len(trees)),
            "signal_problems": float(sum(map(has_signal, trees))),
        }
        self._drawn += sum(not tree.begun for tree in trees)
        if self._restarts is not None:
            metrics |= self._restarts.take_in(trees, trees[0].iteration, self._seed)
        if self._learn.curriculum is not None:
            metrics["level"] = float(self._level)
            if mean_success(trees) >= self._learn.curriculum:
                self._level = min(self._level + 1, self._levels)
        return metrics

    def state(self) -> ProblemState:
        """Returns what a checkpoint must keep for the next iteration to have the same problems."""
        state: ProblemState = {"drawn": self._drawn}
        if self._learn.curriculum is not None:
            state["level"] = self._level
        if self._restarts is not None:
            state["restarts"] = self._restarts.state()
        return state

    def restore(self, state: ProblemState) -> None:
        """Take over what `state` returned; after the warm-up perhaps that of another variant."""
        self._drawn = state.get("drawn", self._drawn)
        if self._learn.curriculum is not None:
            self._level = state.get("level", self._level)
        if self._restarts is not None:
            try:
                self._restarts.restore(state.get("restarts", []))
            except ValueError as error:
                raise UserError(
                    f"the checkpoint's paths for replay.restarts are broken: {error}; resume from "
                    "an earlier one"
                ) from None

    def _rounds(self, number: int, on_growth: OnGrowth) -> list[Tree]:
        """Returns the trees of the problems asked for, and with `learn.resample` of further ones
        for those that teach nothing."""
        trees: list[Tree] = []
        wanted = self._learn.problems
        while wanted:
            trees += self._parts.selfplay.iterate(
                partial(self._problems, count=len(trees) + wanted),
                self._parts.config.search,
                number,
                begin=len(trees),
                given=[start.given for start in self._starts],
                rewards=replace(self._parts.verifier.rewards, of=self._reward),
                on_growth=on_growth,
            )
            wanted = lacking(trees, self._learn)
        return trees

    def _problems(self, iteration: int, count: int) -> Sequence[Problem]:
        """Returns the first problems of an iteration: the next one, or with actors that play ahead,
        where each has as many, a later one. Those to begin along a path come first."""
        counted = self._learn.resample or self._restarts is not None
        fresh = self._parts.task.train_problems(
            self._seed,
            iteration,
            count - len(self._starts),
            before=self._drawn if counted else None,
            level=self._level,
        )
        return [*(start.problem for start in self._starts), *fresh]

    def _reward(self, solved: Sequence[tuple[Problem, Solution]]) -> Sequence[float | None]:
        with self._spending.timed("grading"):
            return self._parts.verifier.rewards.of(solved)


def lacking(trees: Sequence[Tree], config: LearnConfig) -> int:
    """Returns how many further problems an iteration plays that has these trees: one for each that
    lacks a signal, up to the limit; none unless `resample` is set."""
    if not config.resample:
        return 0
    left = config.resample_limit * config.problems - len(trees)
    return min(config.problems - sum(map(has_signal, trees)), left)
