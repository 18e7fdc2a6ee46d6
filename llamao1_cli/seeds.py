"""Seeds for everything random, derived from the run's seed and a name, so that nothing has to be
stored to continue a run exactly."""

import hashlib


def derive_seed(seed: int, *names: str | int) -> int:
    """A seed in [0, 2^62) that depends on all arguments and on nothing else."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 2
