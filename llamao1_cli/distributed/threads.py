"""How many threads torch computes with."""

import torch

from llamao1_cli.config import RunConfig


def set_threads(config: RunConfig) -> None:
    """Have torch use as many threads as `run.threads` says; 0 leaves torch's own choice."""
    if config.threads:
        torch.set_num_threads(config.threads)
