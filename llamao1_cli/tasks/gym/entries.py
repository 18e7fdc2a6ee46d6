"""The entries of reasoning-gym's data sets and what answers to them score, by an entry's id.

Imported only by processes that are started for it: some data sets draw from the generators that a
whole process shares, print, or walk through sets of words. Their hash seed is 0, so that such walks
take the same way in all of them.
"""

import difflib
import random
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any

import numpy as np
from reasoning_gym.factory import (
    CURRICULA,
    DATASETS,
    create_curriculum,
    create_dataset,
)

from llamao1_cli.tasks.gym.evaluation import may_be_scored, read_literals_only

BLOCK = 1000  # entries of a data set of one seed; the seeds are multiples of it
NAMES = tuple(sorted(DATASETS.keys() - {"composite"}))
_GIVEN = ("seed", "size")  # what the id of an entry decides


class Entries:
    """The entries of some data sets, each with options that lie over those of its level.

    `levels` is of the task: with one, a data set has its defaults; with several, those that its own
    curriculum has at each. Raises ValueError for names, options or levels that do not exist.
    """

    def __init__(self, data_sets: Mapping[str, Mapping[str, Any]], levels: int) -> None:
        read_literals_only()
        self._settings = {
            (name, level): settings(name, options, level if levels > 1 else None)
            for name, options in data_sets.items()
            for level in range(1, levels + 1)
        }
        self._data_set = lru_cache(maxsize=256)(self._make_data_set)
        self._entry = lru_cache(maxsize=1024)(self._make_entry)

    def problem(self, entry_id: str) -> tuple[str, str | None]:
        """Returns the question of an entry, and an answer if the data set gives one."""
        entry = self._entry(entry_id)
        answer = entry["answer"]
        return entry["question"], None if answer is None else str(answer)

    def score(self, entry_id: str, answer: str) -> float:
        """Returns what the data set gives for an answer."""
        name, level, seed, _ = _parts(entry_id)
        entry = self._entry(entry_id)
        if not may_be_scored(name, answer):
            return 0.0
        return float(self._data_set(name, level, seed).score_answer(answer, entry))

    def _make_data_set(self, name: str, level: int, seed: int) -> Any:
        _seed_all(seed)
        return create_dataset(name, **self._settings[name, level], seed=seed, size=BLOCK)

    def _make_entry(self, entry_id: str) -> Any:
        name, level, seed, index = _parts(entry_id)
        data_set = self._data_set(name, level, seed)
        _seed_all(seed + index)
        return data_set[index]


def settings(name: str, options: Mapping[str, Any], level: int | None) -> dict[str, Any]:
    """Returns the options of a data set at a level of its curriculum, or None for its defaults,
    with `options` laid over them. Raises ValueError for what it does not have."""
    if name not in NAMES:
        raise ValueError(
            f"task.dataset: {name}: reasoning-gym has no such data set; "
            + _nearest(name, NAMES, "`llamao1 tasks` lists all")
        )
    known = defaults(name)
    for key in options:
        if key in _GIVEN:
            raise ValueError(f"task.config: {key} is the run's to set; leave it out")
        if key not in known:
            raise ValueError(
                f"task.config: {name} has no option `{key}`; "
                + _nearest(key, known, f"it has {', '.join(known)}")
            )
    made = (known if level is None else _of_level(name, level)) | dict(options)
    if wrong := _objection(name, made):
        at = "" if level is None else f" at level {level}"
        raise ValueError(f"task.config: {name} cannot be made{at}: {wrong}")
    return made


def defaults(name: str) -> dict[str, Any]:
    """Returns the options of a data set with their defaults."""
    return _options_of(DATASETS[name][1]())


def levels_of(name: str) -> int:
    """Returns how many levels of difficulty a data set has, 1 without a curriculum.

    A few curricula have levels whose options their own data set refuses; these do not count.
    """
    curriculum = _curriculum(name, 1)
    if curriculum is None:
        return 1
    most = max(len(each.levels) for each in curriculum.attributes.values())
    refused = (n for n in range(1, most + 1) if _objection(name, _at(name, n)))
    return max(next(refused, most + 1) - 1, 1)


def _of_level(name: str, level: int) -> dict[str, Any]:
    """Returns the options that a data set's curriculum has at a level, counted from 1."""
    if level > levels_of(name):
        raise ValueError(
            f"task.levels: {name} has {levels_of(name)}, not {level}; lower task.levels"
        )
    return _at(name, level)


def _at(name: str, level: int) -> dict[str, Any]:
    curriculum = _curriculum(name, level)
    return _options_of(curriculum.generate_configuration()) if curriculum else defaults(name)


def _curriculum(name: str, level: int) -> Any:
    """Returns a data set's curriculum at a level, or None if it has none."""
    if name not in CURRICULA:
        return None
    curriculum = create_curriculum(name)
    curriculum.set_global_level(level - 1)
    return curriculum


def _objection(name: str, options: Mapping[str, Any]) -> str:
    """Returns what a data set has against its options, or nothing."""
    try:
        configuration = DATASETS[name][1](**options)
        if hasattr(configuration, "validate"):
            configuration.validate()
    except Exception as error:  # each data set checks its options in its own way
        return str(error) or f"{dict(options)} is refused"
    return ""


def _options_of(configuration: Any) -> dict[str, Any]:
    names = (each.name for each in fields(configuration))
    return {name: getattr(configuration, name) for name in names if name not in _GIVEN}


def _parts(entry_id: str) -> tuple[str, int, int, int]:
    """Returns the data set, the level, the seed and the index that an id names."""
    name, level, seed, index = entry_id.split(":")
    return name, int(level), int(seed), int(index)


def _seed_all(number: int) -> None:
    """Seed the generators that a process shares, from which some data sets draw."""
    random.seed(number)
    np.random.seed(number)


def _nearest(wrong: str, names: Iterable[str], otherwise: str) -> str:
    close = difflib.get_close_matches(wrong, [*names], n=1, cutoff=0.5)
    return f"did you mean `{close[0]}`?" if close else otherwise
