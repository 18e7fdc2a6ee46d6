"""How the tokens of a thought are drawn. The configuration imports this, so it loads no torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sampling:
    """The distribution that a thought's tokens are drawn from, and where a thought ends."""

    max_tokens: int = 32  # a longer thought is cut and closed
    min_tokens: int = 1  # before its end
    temperature: float = 1.0  # 0: the likeliest token
    top_k: int = 0  # draw among the k likeliest tokens only; 0: all
    top_p: float = 1.0  # draw among the fewest likeliest tokens that have this probability
    stop_ids: tuple[int, ...] = ()  # tokens that cut a thought, beside its proper end
