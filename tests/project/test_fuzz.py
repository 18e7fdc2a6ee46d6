"""Damaged files at every reader: it reads them or says in one line what is wrong, and ends.

`LLAMAO1_FUZZ=N` gives each of the twelve readers N inputs; `scripts/soak.sh` gives them 20,000.
"""

import gzip
import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from fake_engine import random_tree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llamao1_cli.config import DataSource, DataTask, LearnConfig, ValueHeadConfig
from llamao1_cli.config.file import dump_config, load_config
from llamao1_cli.errors import UserError
from llamao1_cli.files.manifest import damage, write_manifest
from llamao1_cli.files.whole import write_whole
from llamao1_cli.language.marked import (
    MARKERS,
    MarkedNode,
    MarkedTextError,
    Meta,
    Rating,
    parse_tree,
    render_tree,
)
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.learn.experience import Experience, experiences
from llamao1_cli.learn.replay import Replay
from llamao1_cli.report.kept import MetricsFile
from llamao1_cli.run import checkpoint
from llamao1_cli.run.tracking import Tracker
from llamao1_cli.search.rectify import rectify
from llamao1_cli.search.tree_files import read_trees, write_trees
from llamao1_cli.tasks.dataset import DataSet
from llamao1_cli.value.head import ValueHead
from llamao1_cli.value.head_training import HeadTrainer

pytestmark = pytest.mark.fuzz
INPUTS = int(os.environ.get("LLAMAO1_FUZZ", "90"))
LONGEST_S = 10  # of processor time for one input: longer is a hang
TINY = Path(__file__).parents[2] / "configs" / "tiny.yaml"

Reader = Callable[[Path], object]

# What tells a reader something, in one format or another.
WORDS = [
    *[marker.encode() for marker in MARKERS],
    *b"{ } [ ] : , \" ' \n \t \\ & * ! | > - ? # % @ ` \0 \xff \xed\xa0\x80 \xef\xbb\xbf".split(
        b" "
    ),
    *b"null true NaN Infinity -1 1e999 99999999999999999999 0x10 1_000 2024-13-45".split(),
    *b"&a *a <<: !!binary !!python/object:os.system !!set --- ... \\ud800 \\u0000".split(),
    b"[" * 3000,
    b'{"a":' * 3000,
    b"9" * 5000,
    "\u2028\u0085é\U0001f600".encode(),
]


class Hang(BaseException):
    """No Exception, so that no reader takes it for a broken file."""


@contextmanager
def ending() -> Iterator[None]:
    """Raises Hang inside after so much processor time; a busy machine's waiting is not counted."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@st.composite
def damaged(draw: st.DrawFn, whole: Sequence[bytes]) -> bytes:
    """A whole file with up to four places overwritten, or any bytes."""
    data = draw(st.one_of(st.sampled_from(whole), st.binary(max_size=200)))
    for _ in range(draw(st.integers(0, 4))):
        start, width = draw(st.integers(0, len(data))), draw(st.integers(0, 60))
        patch = draw(st.one_of(st.sampled_from(WORDS), st.binary(max_size=8)))
        data = data[:start] + patch + data[start + width :]
    return data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data


def fuzz(whole: Sequence[bytes], read: Reader, file: Path) -> dict[str, int]:
    """Reads damaged files; gives how many were read, and how many refused."""
    counts = {"read": 0, "refused": 0}

    @settings(
        max_examples=INPUTS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(damaged(whole))
    def one(data: bytes) -> None:
        file.write_bytes(data)
        with ending():
            try:
                read(file)
                counts["read"] += 1
            except (UserError, MarkedTextError):
                counts["refused"] += 1

    one()
    return counts


def check(whole: Sequence[bytes], read: Reader, file: Path) -> None:
    """Whole files are read, and of damaged ones at least some refused."""
    for data in whole:
        file.write_bytes(data)
        read(file)
    counts = fuzz(whole, read, file)
    assert counts["refused"] > 0
    assert sum(counts.values()) >= INPUTS
    total = f"{sum(counts.values())} inputs, {counts['refused']} refused"
    print(f"soak | damaged {file.name} | {total} | 0 | no traceback, no hang")


def test_configurations(tmp_path: Path) -> None:
    files = [TINY.read_bytes(), dump_config(load_config(TINY)).encode()]
    check(files, load_config, tmp_path / "config.yaml")


def test_marked_texts(tmp_path: Path) -> None:
    nodes = [
        MarkedNode(-1, 0, "Mia has 3 pens.", Meta.PROBLEM),
        MarkedNode(0, 1, "3+4=7", Meta.EXPANSION, Rating.POSITIVE),
        MarkedNode(0, 2, "3+4=8", None, Rating.UNKNOWN),
    ]

    def read(path: Path) -> None:
        parse_tree(path.read_bytes().decode("utf-8", "replace"))

    check([render_tree(nodes).encode()], read, tmp_path / "text")


def as_table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as CSV."""
    lines = [list(rows[0]), *(row.values() for row in rows)]
    return "".join(",".join(f'"{cell}"' for cell in line) + "\n" for line in lines)


@pytest.mark.parametrize("name", ["t.jsonl", "t.json", "t.csv", "t.csv.gz"])
def test_data(tmp_path: Path, name: str) -> None:
    test = tmp_path / "test.jsonl"
    test.write_text('{"problem": "1+1?", "answer": 2}\n')
    rows = [
        {"problem": "Mia has 3 pens.", "answer": "3", "solution": "3\n#### 3"},
        {"problem": "2*3?", "answer": 6.0, "solution": "2*3 = <<2*3=6>>6\n\\boxed{6}"},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    text = {".jsonl": lines, ".json": json.dumps(rows)}.get(name[1:], as_table(rows))
    files = [gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()]

    def read(path: Path) -> None:
        names = {"problem_field": "problem", "answer_field": "answer", "solution_field": "solution"}
        sources = {"train": DataSource(path=str(path)), "test": DataSource(path=str(test))}
        data = DataSet(DataTask(kind="data", **sources, **names))
        data.demonstrations(0, 3)
        data.train_problems(0, 1, 3)

    check(files, read, tmp_path / name)


@pytest.mark.parametrize("known", [True, False], ids=["with tokenizer", "without"])
def test_trees(tmp_path: Path, language: MarkedLanguage, known: bool) -> None:
    forest = [random_tree(language, seed, 3) for seed in range(2)]
    for tree in forest:
        rectify(tree, 1.0, "failure")
    write_trees(tmp_path / "trees.jsonl", forest)
    whole = (tmp_path / "trees.jsonl").read_bytes()
    check(
        [whole],
        lambda path: read_trees(path, language if known else None),
        tmp_path / "trees.jsonl",
    )


def test_metrics(tmp_path: Path) -> None:
    tracker = Tracker(tmp_path / "metrics.jsonl", {}, print)
    for step in (1, 2):
        tracker.log("warmup", step, {"loss": 1.0, "seconds": {"rollout": 1.0}})
    tracker.close()
    whole = (tmp_path / "metrics.jsonl").read_bytes()

    def resumed(path: Path) -> None:
        again = Tracker(path, {}, print)
        again.cut(len(whole))
        again.close()
        MetricsFile(path).read()

    check([whole], resumed, tmp_path / "metrics.jsonl")


def toy_parts(
    language: MarkedLanguage,
) -> tuple[torch.optim.Optimizer, Replay[Experience], HeadTrainer]:
    """An optimizer, a replay and a value head, each with something in it."""
    layer = torch.nn.Linear(2, 3)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(2)).sum().backward()
    optimizer.step()
    trees = [random_tree(language, seed, 4) for seed in range(3)]
    for tree in trees:
        rectify(tree, 1.0, "failure")
    replay: Replay[Experience] = Replay(4, 0.6)
    replay.add(experiences(trees, language, LearnConfig(), 1.0), 1)
    values = HeadTrainer(ValueHead(4, 0), ValueHeadConfig(steps=1))
    values.learn(trees, 1)
    return optimizer, replay, values


STATE: dict[str, Any] = {"stage": "self-play", "iteration": 2, "warmup_steps": 4}
STATE |= {"spent": [1.5, 100.0], "metrics_bytes": 300}
STATE["self_play"] = {"next": 4, "outstanding": [[3, 1], [3, 2]]}
STATE["problems"] = {"drawn": 8, "level": 2}


@pytest.mark.parametrize(
    "name",
    [
        "state.json",
        "manifest.json",
        "optimizer.safetensors",
        "replay-0.safetensors",
        "reference.safetensors",
        "value_examples.safetensors",
    ],
)
def test_files_of_a_checkpoint(tmp_path: Path, language: MarkedLanguage, name: str) -> None:
    optimizer, replay, values = toy_parts(language)
    weights = {"weight": torch.ones(3, 2)}
    (tmp_path / "model").mkdir()
    checkpoint.save_state(tmp_path, STATE)
    checkpoint.save_optimizer(tmp_path, checkpoint.optimizer_tensors(optimizer))
    checkpoint.save_replay(tmp_path, replay)
    checkpoint.save_weights(tmp_path, weights)
    values.save(tmp_path)
    write_manifest(tmp_path)

    def verify(path: Path) -> None:
        if wrong := damage(path.parent):
            raise UserError(wrong)

    readers: dict[str, Reader] = {
        "state.json": lambda path: checkpoint.load_state(path.parent),
        "manifest.json": verify,
        "optimizer.safetensors": lambda path: checkpoint.load_optimizer(path.parent, optimizer),
        "replay-0.safetensors": lambda path: checkpoint.load_replay(path.parent, Replay(4, 0.6)),
        "reference.safetensors": lambda path: checkpoint.load_weights(path.parent, weights),
        "value_examples.safetensors": lambda path: values.load(path.parent),
    }
    random = torch.get_rng_state()
    check([(tmp_path / name).read_bytes()], readers[name], tmp_path / name)
    torch.set_rng_state(random)


BOMB = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        BOMB + "run: {seed: *j}",
        BOMB + "search: *j",
        BOMB + "eval: {strategies: *j}",
        "run: &a {dir: x, seed: *a}",
        "run: &a [*a]",
        "task: &a {kind: data, train: *a}",
        "[" * 10**4,
        "{a: " * 10**4,
        "run: {seed: " + "9" * 10**6 + "}",
        "run: {iterations: 0x" + "f" * 10**5 + "}",
        "run: {seed: [0x" + "f" * 10**5 + "]}",
        "run: {dir: " + "x" * 10**5 + "}\nrum: 1",
        "? " * 10**4,
    ],
    ids=lambda text: repr(text[-24:]),
)
def test_configurations_that_would_take_forever_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    write_whole(path, text)
    with ending(), pytest.raises(UserError) as error:
        load_config(path)
    assert len(str(error.value)) < 10000


def test_a_tree_file_with_a_torn_last_line_names_it(
    tmp_path: Path, language: MarkedLanguage
) -> None:
    forest = [random_tree(language, seed, 3) for seed in range(2)]
    for tree in forest:
        rectify(tree, 1.0, "failure")
    path = tmp_path / "trees.jsonl"
    write_trees(path, forest)
    text = path.read_text()
    path.write_text(text[:-1])  # whole but for its end of line
    assert read_trees(path, language) == forest
    path.write_text(text[:-40])
    with pytest.raises(UserError, match=r"trees.jsonl line 2: .*; the line was cut short"):
        read_trees(path, language)
