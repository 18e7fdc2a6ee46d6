"""Learning algorithms: each has its advantages, its scale and its loss in a module of its own."""

from llamao1_cli.config import LearnConfig
from llamao1_cli.config.registry import ALGORITHMS
from llamao1_cli.learn.algorithms.protocol import Algorithm


def configured_algorithm(config: LearnConfig) -> Algorithm:
    """Returns the algorithm that `learn.algorithm` names."""
    algorithm: Algorithm = ALGORITHMS[config.algorithm].load()(config)
    return algorithm
