"""Experiences as flat arrays: what checkpoints hold, and what ranks send each other."""

from collections.abc import Mapping, Sequence

import numpy as np
from accelerate import Accelerator
from safetensors.numpy import load, save

from llamao1_cli.distributed.ranks import gather_bytes
from llamao1_cli.learn.experience import Actions, Experience, Ratings

# Arrays of an experience that go together have one length.
GROUPS = ("tokens", "actions", "ratings")


def to_arrays(items: Sequence[Experience]) -> dict[str, np.ndarray]:
    """Returns all experiences end to end, with their lengths and iterations."""
    arrays = {"iterations": np.array([item.iteration for item in items], np.int64)}
    for group in GROUPS:
        rows = [_arrays(item, group) for item in items]
        arrays[f"{group}.lengths"] = np.array([len(next(iter(r.values()))) for r in rows], np.int64)
        for name in rows[0] if rows else ():
            arrays[f"{group}.{name}"] = np.concatenate([row[name] for row in rows])
    return arrays


def from_arrays(arrays: Mapping[str, np.ndarray]) -> list[Experience]:
    """Returns the experiences that `to_arrays` laid end to end; other arrays are passed over.
    Raises LookupError, TypeError or ValueError for arrays that are of none."""
    groups = [_cut(arrays, group) for group in GROUPS]
    items = [
        Experience(**tokens, actions=Actions(**actions), ratings=Ratings(**ratings), iteration=born)
        for tokens, actions, ratings, born in zip(
            *groups, arrays["iterations"].tolist(), strict=True
        )
    ]
    for item in items:
        _check(item)
    return items


def _arrays(item: Experience, group: str) -> dict[str, np.ndarray]:
    """Returns the arrays of an experience that have one length."""
    return (
        {"ids": item.ids, "before": item.before}
        if group == "tokens"
        else vars(getattr(item, group))
    )


def _cut(arrays: Mapping[str, np.ndarray], group: str) -> list[dict[str, np.ndarray]]:
    """Returns the arrays of a group, experience by experience."""
    lengths = arrays[f"{group}.lengths"]
    names = [n.partition(".")[2] for n in arrays if n.startswith(f"{group}.")]
    stops = np.cumsum(lengths)
    sizes = {
        (int(lengths.sum()),),
        *(arrays[f"{group}.{n}"].shape for n in names if n != "lengths"),
    }
    if (lengths < 0).any() or (len(lengths) and len(sizes) != 1):
        raise ValueError(f"the arrays of {group} do not go together")
    return [
        {n: arrays[f"{group}.{n}"][stop - size : stop].copy() for n in names if n != "lengths"}
        for size, stop in zip(lengths, stops, strict=True)
    ]


def _check(item: Experience) -> None:
    """Raise ValueError unless every index of an experience points at one of its tokens."""
    size = len(item.ids)
    before_itself = (item.before >= -1) & (item.before < np.arange(size))
    indices = np.concatenate([item.actions.at, item.ratings.at])
    whole = (item.ids, item.before, indices, item.actions.token, item.actions.role)
    if not all(np.issubdtype(array.dtype, np.integer) for array in whole):
        raise ValueError("an experience has tokens that are no numbers")
    if not (before_itself.all() and ((indices >= 0) & (indices < size)).all()):
        raise ValueError("an experience points at tokens it does not have")


def collect(
    accelerator: Accelerator, shard: Mapping[int, Experience], serials: Sequence[int]
) -> list[Experience]:
    """Returns the experiences with these serial numbers, on every rank; each comes from the rank
    whose shard has it.

    A batch is small beside a replay, and whole it can be shared out evenly.
    """
    if accelerator.num_processes == 1:
        return [shard[serial] for serial in serials]
    own = sorted(shard.keys() & set(serials))
    arrays = to_arrays([shard[serial] for serial in own]) | {"serials": np.array(own, np.int64)}
    batch: dict[int, Experience] = {}
    for data in gather_bytes(accelerator, save(arrays)):
        arrays = load(data)
        batch |= zip(arrays["serials"].tolist(), from_arrays(arrays), strict=True)
    return [batch[serial] for serial in serials]
