"""The section of the evaluation."""

from typing import Annotated

from pydantic import Field

from llamao1_cli.config.registry import OneOf
from llamao1_cli.config.section import Count, Natural, Positive, Section
from llamao1_cli.config.strategies import STRATEGY_NAMES

StrategyName = Annotated[str, OneOf(STRATEGY_NAMES)]


class EvalConfig(Section):
    """Accuracy on held-out problems."""

    every: Natural = Field(
        0, description="Iterations between evaluations; 0 evaluates before and after only."
    )
    points: Natural = Field(
        0,
        description="Evaluations of greedy alone between the first and the last, spread evenly "
        "over the run or its budget; an iteration that passes several is evaluated once.",
    )
    problems: Count = Field(500, description="Held-out problems.")
    strategies: Annotated[list[StrategyName], Field(min_length=1)] = Field(
        ["greedy"],
        description="Test-time strategies of every evaluation. `pass` tells whether any sample is "
        "right, `pass_distinct` whether any of as many distinct solutions is, the likeliest "
        "continuation first. mass takes the most probable answer of these, and stops as soon as it "
        "is certain; mass_value weighs them by their values. best_of and weighted_vote go by "
        "the value of a sample's last thought, or by its "
        "thoughts' smallest value, their product or their mean; beam by the values step by step. "
        "mcts selects by search.selection, mcts_reference and mcts_alphazero by their own rule; "
        "mcts_improvement rolls out where that likely ends right and nothing below likely is right "
        "yet, and takes the conclusion with the highest value; "
        "mcts_confidence needs no values: a path is worth the geometric mean probability of "
        "its tokens. Names with `_judge` go by the values of the section `judge` instead; they are "
        "names of their own, so that one evaluation shows what the judge adds, and nothing else "
        "pays for it. self_refine rewrites whole solutions and takes the most preferred.",
    )
    samples: Count = Field(8, description="Solutions sampled a problem.")
    temperature: Positive = Field(1.0, description="Temperature of all strategies but greedy.")
    simulations: Count = Field(4, description="Simulations of MCTS; rewritings of self_refine.")
    beam_width: Count = Field(4, description="Beam search: prefixes kept at every step.")
    pairwise: str | None = Field(
        None,
        description="self_refine: folder that `reward train --kind pairwise` wrote, whose judge "
        "compares solutions; null prefers by sigma(logit v1 - logit v2), v being the value of a "
        "solution's last thought.",
    )
