"""llamao1: self-play reinforcement learning for o1-like reasoning models."""

__version__ = "0.1.0"
