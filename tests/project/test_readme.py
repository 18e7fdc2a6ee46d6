"""The promises of README and documentation: their commands run, their links lead somewhere, their
references are current."""

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import yaml
from command_line import Scripts, train_here
from shown_commands import LLAMAO1, ROOT, Block, arguments, blocks, check_options, pages

from llamao1_cli.cli.main import app
from llamao1_cli.compare import cells
from llamao1_cli.config.file import dump_config, load_config
from llamao1_cli.config.reference import reference
from llamao1_cli.search.rectify import rectify
from llamao1_cli.search.tree import Tree
from llamao1_cli.search.tree_files import write_trees

DOCS = importlib.util.find_spec("material") is not None
GYM = importlib.util.find_spec("reasoning_gym") is not None
DATA = Path(os.environ.get("LLAMAO1_DATA", ROOT.parent / "shared" / "data"))
PAGES = pages()
BLOCKS = {page: blocks(page) for page in PAGES}
COMMANDS = ROOT / "docs" / "commands.md"
GSM8K = ROOT / "docs" / "howto" / "gsm8k.md"

# What keeps a command that trains for minutes to seconds here; it runs the same code.
SMALL = [
    "model.build={hidden_size: 16, layers: 1, heads: 2, feed_forward: 16}",
    "warmup.examples=64", "run.iterations=2", "learn.problems=4",
    "run.checkpoint_every=1", "eval.problems=4", "eval.samples=2",
    "eval.strategies=[greedy,majority]", "run.threads=1", "search.chains=3",
    "search.simulations=2", "search.max_depth=3", "search.max_thought_tokens=8",
]  # fmt: skip
SMALL_GSM8K = [
    "warmup.examples=2", "run.iterations=1", "learn.problems=1", "learn.batch_size=2",
    "search.chains=1", "search.max_depth=2", "search.max_thought_tokens=8", "eval.problems=1",
    "eval.strategies=[greedy]", "task.test.limit=1", "task.train.limit=2",
]  # fmt: skip
BENCH = " --repeats 1 --prompt-tokens 5-10 --thought-tokens 2-4"
LARGE = (
    *("quickstart.sh", "scripts/seeds.sh", "configs/quickstart.yaml", "configs/sums.yaml"),
    "train --config configs/chain_sum.yaml",
    "train --config configs/coins.yaml",
)


def shortened(command: str) -> str:
    """The command with settings that keep it short."""
    if "gsm8k" in command:
        return f"{command} {_sets(SMALL_GSM8K)}"
    if "config --check" in command or not any(name in command for name in LARGE):
        return command
    return f"{command} {_sets(SMALL)}{BENCH * ('bench' in command)}"


def _sets(settings: list[str]) -> str:
    return " ".join(f"--set '{setting}'" for setting in settings)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, so that run folders and models land beside nobody's work."""
    copy = tmp_path_factory.mktemp("shown") / "llamao1"
    subprocess.run(["git", "clone", "--quiet", ROOT, copy], check=True)
    for name in subprocess.check_output(
        ["git", "ls-files", "--modified", "--others", "--exclude-standard"], cwd=ROOT, text=True
    ).splitlines():
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    (copy / "data").mkdir()
    if DATA.is_dir():
        (copy / "data" / "gsm8k").symlink_to(DATA / "gsm8k")
    return copy


@pytest.fixture(scope="module")
def scripts(checkout: Path) -> Scripts:
    return Scripts(checkout)


def solve_some(path: Path) -> None:
    """Count a leaf of each stored tree as right and the others as wrong: a model of 64 examples
    solves nothing, and some exports ask for solutions."""
    trees = [Tree.from_json(json.loads(line)) for line in path.read_text().splitlines()]
    for tree in trees:
        for place, leaf in enumerate(tree.leaf_nodes()):
            leaf.answer = "7"
            leaf.earn(float(place == 0))
        rectify(tree, 1.0, "failure")
    write_trees(path, trees)


def run(block: Block, command: str, scripts: Scripts) -> None:
    """Run a command as it is shown, but short; llamao1 in this process, which has torch at hand."""
    if "chain_sum" in command and not GYM:
        return  # it needs the extra
    given = arguments(shortened(command))
    if given is not None:
        try:
            app(given, standalone_mode=False)
        except BaseException as error:
            error.add_note(f"{block.page.name}: {command}")
            raise
        torch.set_num_threads(1)  # as conftest.py has it
        return
    if command == "bash scripts/test.sh":
        return  # what runs this
    if command == "bash scripts/docs.sh" and not DOCS:
        return  # the test that builds the pages says why it is skipped
    done = scripts.run("bash", "-c", shortened(command), PROCESSES="1", PYTHONPATH=".")
    said = f"{block.page.name}: {command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert done.returncode == 0, said


@pytest.mark.slow
def test_every_command_shown_runs(
    checkout: Path, scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkout)
    monkeypatch.setattr(cells, "_train", train_here)
    done: set[str] = set()
    for block in (each for page in PAGES if page != GSM8K for each in BLOCKS[page]):
        if block.kind == "file":
            assert block.said
            path = checkout / block.said
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        for command in block.commands if block.kind is None else ():
            if command not in done:
                run(block, command, scripts)
            if command == "bash scripts/quickstart.sh":
                solve_some(checkout / "runs" / "quickstart" / "trees" / "iteration-000002.jsonl")
            done.add(command)


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason=f"no data in {DATA}; LLAMAO1_DATA names them")
def test_every_command_of_the_gsm8k_page_runs(
    checkout: Path, scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkout)
    for block in BLOCKS[GSM8K]:
        for command in block.commands if block.kind is None else ():
            run(block, command, scripts)


NOT_RUN = [
    pytest.param(command, id=f"{page.stem}-{place}")
    for page in PAGES
    for place, block in enumerate(BLOCKS[page])
    for command in block.commands
    if block.kind == "no-run"
]
EXAMPLES = [
    pytest.param(line.replace("llamao1", LLAMAO1, 1), id=line.split(" --")[0])
    for block in BLOCKS[COMMANDS]
    for line in block.text.splitlines()
    if line.startswith("llamao1") and "[OPTION…]" not in line
]


@pytest.mark.parametrize("command", [*NOT_RUN, *EXAMPLES])
def test_a_command_that_is_not_run_has_options_that_exist(command: str) -> None:
    given = arguments(command)
    if given is not None:
        check_options(given)
    elif command.startswith("bash "):
        words = shlex.split(command)
        assert (ROOT / words[1]).is_file(), command
        settings = [word for option, word in pairwise(words) if option == "--set"]
        named = [word for word in words if word.startswith("configs/")]
        load_config(ROOT / (named or ["configs/gsm8k_smollm2.yaml"])[0], settings)


def test_commands_stand_in_blocks_that_are_tested() -> None:
    shown = [
        f"{page.name}: {line}"
        for page in PAGES
        if page.name != "commands.md"
        for block in BLOCKS[page]
        for line in block.text.splitlines()
        if block.language != "bash" and re.match(r"(\S*llamao1|bash|python|mkdocs) ", line)
    ]
    assert shown == []
    reasons = [b.said for page in PAGES for b in BLOCKS[page] if b.kind == "no-run"]
    assert reasons
    assert [why for why in reasons if not why or len(why) < 10] == []


def test_the_pages_show_every_command_and_the_set_up() -> None:
    shown = " ".join(command for page in PAGES for b in BLOCKS[page] for command in b.commands)
    commands = re.findall(r"## `llamao1 (.*)`", COMMANDS.read_text(encoding="utf-8"))
    assert len(commands) > 10
    for name in commands:
        assert f"{LLAMAO1} {name} " in shown
    for script in (ROOT / "scripts").glob("*.sh"):
        if script.name != "setup.sh":
            assert f"scripts/{script.name}" in shown
    set_up = [c for b in BLOCKS[ROOT / "README.md"][:2] for c in b.commands]
    assert set_up == ["bash scripts/quickstart.sh", "bash scripts/test.sh"]


def test_local_links_lead_somewhere() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        links = re.findall(r"\]\(([^)#:]+)[^)]*\)", text)
        assert [link for link in links if not (page.parent / link).exists()] == [], page


def test_pictures_stay_small() -> None:
    pictures = [path for path in (ROOT / "docs" / "images").iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in pictures) < 400_000
    shown = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    shown += (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [path.name for path in pictures if f"images/{path.name}" not in shown] == []


def test_the_configuration_reference_is_current() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == reference(), "run: llamao1 config --reference > docs/configuration.md"


def test_the_command_reference_is_current() -> None:
    script = ROOT / "scripts" / "command_reference.py"
    printed = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert page == printed, "run: python scripts/command_reference.py > docs/commands.md"


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.name)
def test_every_shipped_configuration_loads(path: Path) -> None:
    config = load_config(path)
    written = yaml.safe_load(dump_config(config))
    assert written["run"]["dir"].startswith("runs/")
