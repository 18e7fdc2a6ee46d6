"""The README's promises: its commands run, its links lead somewhere, its reference is current."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from llamao1_cli.config_file import dump_config, load_config, reference

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DATA = Path(os.environ.get("LLAMAO1_DATA", ROOT.parent / "shared" / "data"))

# What keeps a command that trains for minutes to seconds here; it runs the same code.
SMALL = [
    "model.build.hidden_size=32", "warmup.examples=64", "run.iterations=2", "learn.problems=4",
    "run.checkpoint_every=1", "eval.problems=4", "eval.samples=2",
    "eval.strategies=[greedy,majority]",
]  # fmt: skip
SMALL_GSM8K = [
    "warmup.examples=2", "run.iterations=1", "learn.problems=1", "learn.batch_size=2",
    "search.chains=1", "search.max_depth=2", "search.max_thought_tokens=8", "eval.problems=1",
    "eval.strategies=[greedy]", "task.test.limit=1", "task.train.limit=2",
]  # fmt: skip


def commands() -> list[str]:
    """The lines of the README's bash blocks, continuation lines joined."""
    blocks = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split("  #")[0].strip() for line in lines if line and not line.startswith("#")]


def shortened(command: str) -> str:
    """The command with settings that keep it short."""
    if command == "bash scripts/test.sh":
        return f"{command} --collect-only"
    if "quickstart_seeds" in command:
        return f"{command} {_sets(SMALL)} --set run.threads=1"
    if "gsm8k" in command and ("train" in command or "eval" in command):
        return f"{command} {_sets(SMALL_GSM8K)}"
    if "quickstart" in command and ("quickstart.sh" in command or "train" in command):
        return f"{command} {_sets(SMALL)}"
    return command


def _sets(settings: list[str]) -> str:
    return " ".join(f"--set '{setting}'" for setting in settings)


@pytest.mark.slow
def test_every_command_of_the_readme_runs(tmp_path: Path) -> None:
    # A copy of the checkout, so that run folders and models land beside nobody's work.
    copy = tmp_path / "llamao1"
    subprocess.run(["git", "clone", "--quiet", ROOT, copy], check=True)
    for name in subprocess.check_output(
        ["git", "ls-files", "--modified", "--others", "--exclude-standard"], cwd=ROOT, text=True
    ).splitlines():
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    (copy / ".venv").symlink_to(ROOT / ".venv")
    (copy / "data").mkdir()
    if DATA.is_dir():
        (copy / "data" / "gsm8k").symlink_to(DATA / "gsm8k")
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "PROCESSES": "1"}
    environment["PYTHONPATH"] = str(copy)
    for command in commands():
        if "gsm8k" in command and not DATA.is_dir():
            continue
        done = subprocess.run(
            ["bash", "-c", shortened(command)],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def test_the_readme_shows_commands() -> None:
    shown = " ".join(commands())
    for name in ("train", "self-play", "eval", "solve", "sft", "report", "export", "config"):
        assert f"llamao1 {name}" in shown
    for script in ("quickstart", "test", "quickstart_seeds", "gsm8k", "train_multi_gpu"):
        assert f"scripts/{script}.sh" in shown


def test_local_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_configuration_reference_is_current() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == reference(), "run: llamao1 config --reference > docs/configuration.md"


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.name)
def test_every_shipped_configuration_loads(path: Path) -> None:
    config = load_config(path)
    written = yaml.safe_load(dump_config(config))
    assert written["run"]["dir"].startswith("runs/")
