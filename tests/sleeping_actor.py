"""A self-play actor that sleeps instead of thinking; what it needs goes to Ray by value."""

import json
import os
import time

import numpy as np

from llamao1_cli.search.tree import Tree
from llamao1_cli.tasks.problem import Problem

SECONDS = 0.25  # a problem
ALONE = Tree.plant(Problem("", "", ""), 0, 0.5).to_json()  # a root, to be given its problem


class SleepingActor:
    """Takes the same time for every problem, and gives back its root alone."""

    def __init__(self, config: str, folder: str) -> None:
        pass

    def ready(self) -> None:
        pass

    def play(self, chunk: str, weights: np.ndarray) -> bytes:
        data = json.loads(chunk)
        time.sleep(SECONDS * len(data["seeds"]))
        pairs = zip(data["problems"], data["seeds"], strict=True)
        own = {"iteration": data["iteration"], "judging_tokens": os.getpid()}  # who it was
        return json.dumps([{**ALONE, **own, "problem": p, "seed": s} for p, s in pairs]).encode()
