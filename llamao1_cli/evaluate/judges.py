"""The judges that some strategies ask instead of the run's own values; made only if needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llamao1_cli.config import JudgeConfig
from llamao1_cli.errors import UserError
from llamao1_cli.evaluate.endpoint import Endpoint
from llamao1_cli.evaluate.judge_folder import load_pairwise
from llamao1_cli.evaluate.pairwise import PairwiseJudge
from llamao1_cli.evaluate.strategies import SELF_REFINE, by_growth
from llamao1_cli.language.marked import Meta
from llamao1_cli.search.refine.self_refine import Prefer


@dataclass(frozen=True)
class Judges:
    """The judges that some strategies ask; None for one that is not needed."""

    endpoint: Endpoint | None = None  # of thoughts
    pairwise: PairwiseJudge | None = None  # of solutions

    @property
    def prefer(self) -> Prefer | None:
        """What compares solutions; None where their values do."""
        return self.pairwise.log_odds if self.pairwise else None

    def drain(self) -> dict[str, dict[str, int]]:
        """Returns what was asked of each judge since the last call, with what it could not
        judge."""
        asked = (("judge", self.endpoint), ("pairwise", self.pairwise))
        return {name: judge.drain() for name, judge in asked if judge is not None}


NOBODY = Judges()


def make_judges(
    names: Sequence[str],
    judge: JudgeConfig | None,
    pairwise: str | None,
    allowed_metas: Sequence[Meta],
) -> Judges:
    """Returns the judges that the strategies `names` need.

    `judge` is the section of the external judge, `pairwise` the folder of a pairwise one.

    Raises UserError for a strategy whose judge is not configured or cannot be had, or whose
    meta-actions are not allowed.
    """
    growths = dict(by_growth(names))
    external = [name for growth, chosen in growths.items() if growth.external for name in chosen]
    if external and judge is None:
        raise UserError(
            f"judge: {external[0]} needs the section `judge`, with its base_url and model"
        )
    refined = SELF_REFINE in growths
    if refined and not {Meta.CRITIC, Meta.REFINE} <= {*allowed_metas}:
        raise UserError(
            f"search.allowed_metas: self_refine needs {Meta.CRITIC} and {Meta.REFINE}; add them"
        )
    return Judges(
        endpoint=Endpoint(judge) if external and judge else None,
        pairwise=load_pairwise(Path(pairwise)) if refined and pairwise else None,
    )
