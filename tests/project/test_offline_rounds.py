"""The script of the offline loop, shortened: every round leaves what the next one begins with."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from command_line import Scripts
from safetensors.numpy import load_file

ROOT = Path(__file__).parents[2]
# What keeps a round to seconds; one step of arithmetic is learned well enough to be right at all.
SMALL = [
    "model.build={hidden_size: 48, layers: 2, heads: 2, feed_forward: 96}",
    "task.min_operations=1", "task.max_operations=1", "warmup.examples=5000", "run.threads=1",
    "run.iterations=2", "learn.problems=24", "search.simulations=3", "search.max_depth=4",
    "eval.problems=12", "eval.samples=2", "value_head.steps=5",
]  # fmt: skip


@pytest.mark.slow
def test_a_round_of_the_script_behind_the_warm_up(tmp_path: Path) -> None:
    copy = tmp_path / "llamao1"
    for folder in ("scripts", "configs"):
        shutil.copytree(ROOT / folder, copy / folder)
    scripts = Scripts(copy)
    out = copy / "runs" / "offline_rounds"

    def run(rounds: int, *options: str) -> subprocess.CompletedProcess[str]:
        script = ["bash", "scripts/offline_rounds.sh", "configs/offline_rounds.yaml", str(rounds)]
        sets = [word for setting in [*SMALL, *options] for word in ("--set", setting)]
        return scripts.run(*script, *sets)

    done = run(0)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    first = (out / "round-0" / "eval.json").read_bytes()
    done = run(1)  # it goes on behind the first
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert (out / "round-0" / "eval.json").read_bytes() == first
    assert sorted(path.name for path in out.iterdir()) == ["round-0", "round-1"]
    results = [json.loads((out / f"round-{n}" / "eval.json").read_text()) for n in range(2)]
    assert results[0]["value"] == results[0]["rating"]  # nothing has learned values yet
    for number, result in enumerate(results[1:], start=1):
        folder = out / f"round-{number}"
        assert result["n"] == 12
        assert result["value"] != result["rating"]
        assert result["model"] == f"runs/offline_rounds/round-{number}/model"
        assert len(list((folder / "trees").glob("*.jsonl"))) == 2
        rows = [json.loads(line) for line in (folder / "traces.jsonl").read_text().splitlines()]
        assert rows
        assert len(rows) <= 2 * 2 * 24  # the two best of a problem
        before, after = (
            load_file(out / f"round-{n}" / "model" / "model.safetensors")
            for n in (number - 1, number)
        )
        assert before.keys() == after.keys()
        assert any((before[name] != after[name]).any() for name in before)


def test_the_script_tells_how_it_is_used() -> None:
    for words in ([], ["configs/tiny.yaml"], ["configs/tiny.yaml", "many"]):
        done = subprocess.run(
            ["bash", ROOT / "scripts" / "offline_rounds.sh", *words],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2
        assert done.stderr.startswith("usage: bash scripts/offline_rounds.sh CONFIG ROUNDS")
