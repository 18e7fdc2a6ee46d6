"""The command line as people meet it: the installed script, its help, and its one-line errors."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import INSTALLED, InProcess, contents

from llamao1_cli.config.file import load_config

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "train", "sft", "self-play", "eval", "solve", "compare", "export", "report", "watch", "config",
)  # fmt: skip
SMALL: dict[str, Any] = {
    "run": {"iterations": 1},
    "model": {
        "build": {"hidden_size": 16, "layers": 1, "heads": 1, "feed_forward": 16},
        "device": "cpu",
        "max_length": 256,
    },
    "search": {"simulations": 1, "max_depth": 2, "max_thought_tokens": 4},
    "learn": {"problems": 2},
    "eval": {"problems": 2},
}


def llamao1(*arguments: str | Path, columns: int = 200) -> subprocess.CompletedProcess[str]:
    """Run the installed script."""
    environment = os.environ | {"COLUMNS": str(columns), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    return subprocess.run(
        [INSTALLED, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A small run whose folder, tmp_path/run, does not exist yet."""
    path = tmp_path / "small.yaml"
    run = {**SMALL["run"], "dir": str(tmp_path / "run")}
    path.write_text(yaml.safe_dump({**SMALL, "run": run}))
    return path


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def data_task(train: Path, test: Path) -> str:
    task = {"kind": "data", "train": {"path": str(train)}, "test": {"path": str(test)}}
    return f"task={json.dumps(task)}"


# Help


def test_help_answers_at_once_and_names_every_command() -> None:
    before = os.times()
    shown = llamao1("--help")
    after = os.times()
    # Its processor time: the clock would tell of what else the machine does.
    spent = sum(after[2:4]) - sum(before[2:4])  # of child processes, as user and as system
    assert spent < 1
    assert shown.returncode == 0
    for command in COMMANDS:
        assert re.search(rf"^\W*{command}\s+[A-Z]", shown.stdout, re.MULTILINE), command


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_shows_an_example(command: str) -> None:
    shown = llamao1(command, "-h")
    assert shown.returncode == 0
    assert f"Example: llamao1 {command} " in shown.stdout


def test_importing_the_command_line_imports_nothing_heavy() -> None:
    script = (
        "import sys, llamao1_cli.cli.main\n"
        "heavy = {'torch', 'transformers', 'numpy', 'yaml', 'pydantic'} & set(sys.modules)\n"
        "print(*sorted(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_version_and_no_arguments() -> None:
    assert re.fullmatch(r"llamao1 \d+\.\d+\.\d+\n", llamao1("--version").stdout)
    bare = llamao1()
    assert bare.returncode == 2
    assert "Usage: llamao1" in bare.stdout + bare.stderr


@pytest.mark.parametrize(
    "arguments",
    [["--nope"], ["train", "--nope"], ["train"], ["nope"], ["solve"], ["self-play"]],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    wrong = llamao1(*arguments)
    assert wrong.returncode == 2
    assert "Usage: llamao1" in wrong.stderr
    assert "Traceback" not in wrong.stderr


# Configuration


def test_the_reference_and_the_check_print_what_they_should(config: Path) -> None:
    assert llamao1("config", "--reference").stdout.startswith("# Configuration reference\n")
    checked = llamao1("config", "--check", config, "--set", "run.seed=7")
    assert checked.returncode == 0
    assert yaml.safe_load(checked.stdout)["run"]["seed"] == 7


def test_a_dry_run_prints_a_configuration_that_loads_back(config: Path, tmp_path: Path) -> None:
    before = contents(tmp_path)
    overrides = ["run.seed=7", "warmup.learning_rate=1e-6"]
    done = llamao1("train", "-c", config, "-s", overrides[0], "-s", overrides[1], "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert contents(tmp_path) == before
    (tmp_path / "resolved.yaml").write_text(done.stdout)
    assert load_config(tmp_path / "resolved.yaml") == load_config(config, overrides)


# One line instead of a traceback: the thing, the remedy, and nothing half-written


def assert_refused(
    done: subprocess.CompletedProcess[str], folder: Path, before: dict[str, bytes], *parts: str
) -> None:
    (line,) = done.stderr.splitlines()
    assert line.startswith("llamao1: ")
    for part in parts:
        assert part in line
    assert (done.returncode, done.stdout) == (2, "")
    assert contents(folder) == before


def test_an_unknown_key_is_refused(config: Path, tmp_path: Path) -> None:
    before = contents(tmp_path)
    done = llamao1("train", "-c", config, "-s", "search.simulation=4")
    parts = ["small.yaml: unknown key `search.simulation`; did you mean `simulations`?"]
    assert_refused(done, tmp_path, before, *parts)


def test_a_missing_field_is_refused_by_line(config: Path, tmp_path: Path) -> None:
    good = [{"problem": f"{n} + 0?", "answer": n} for n in range(16)]
    train = jsonl(tmp_path / "train.jsonl", [*good, {"problem": "1 + 1?", "anwser": "2"}])
    before = contents(tmp_path)
    done = llamao1("train", "-c", config, "-s", data_task(train, train))
    parts = [f"{train} line 17: field `answer` is missing; it has problem, anwser"]
    assert_refused(done, tmp_path, before, *parts)


# `main` runs the same without the seconds that a process of its own takes to load torch


def test_a_model_folder_without_weights_is_refused(
    main: InProcess, config: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "llama"}')
    before = contents(tmp_path)
    done = main("train", "-c", config, "-s", f"model.path={model}")
    parts = [f"model.path: {model} holds no weights", "save the model as safetensors"]
    assert_refused(done, tmp_path, before, *parts)


def test_an_occupied_run_folder_is_refused(main: InProcess, config: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("run: {seed: 1}\n")
    before = contents(tmp_path)
    done = main("train", "-c", config)
    parts = [f"run.dir: {tmp_path}/run is occupied", "--resume", "--overwrite", "--set run.dir="]
    assert_refused(done, tmp_path, before, *parts)


ASCII = [
    {"PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
]


@pytest.mark.parametrize("environment", ASCII, ids=["PYTHONIOENCODING", "LANG"])
def test_a_terminal_without_the_letters_shows_others(
    config: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = llamao1("solve", "-c", config, "Mia has 3 žetony. Wie viele …?")
    assert done.returncode == 0, done.stderr
    assert "Mia has 3 ?etony. Wie viele ??" in done.stdout
    assert done.stdout.isascii()
    refused = llamao1("solve", "-c", "größe.yaml", "Why?")
    assert refused.returncode == 2
    assert "no such configuration file" in refused.stderr
    assert refused.stderr.count("\n") == 1
    for words in (["--help"], ["config", "--reference"], ["config", "--check", config]):
        assert llamao1(*words).returncode == 0


TEXTS = {
    "empty.jsonl": "",
    "ok.jsonl": '{"problem": "1 + 1?", "answer": "2"}\n',
    "other.jsonl": '{"problem": "1 + 2?", "answer": "3"}\n',
    "half.jsonl": '{"problem": "1 + \\ud800?", "answer": "2"}\n',
    "words.jsonl": '{"text": "hello"}\n',
    "list.yaml": "- run\n",
}
TRAIN = "train -c small.yaml "
REFUSED = [
    (TRAIN + "-s run.seed=many", ["`run.seed` is 'many'", "should be a valid integer"]),
    (TRAIN + "-s run.seed", ["--set run.seed: expected section.key=value, such as"]),
    (TRAIN + "-s run.seed=2024-13-45", ["--set run.seed=2024-13-45", "quote it"]),
    (TRAIN + "--resume --overwrite", ["either --resume or --overwrite"]),
    ("train -c no.yaml", ["no.yaml: no such configuration file; check the path"]),
    ("train -c list.yaml", ["list.yaml: expected sections such as `run:`"]),
    ("sft -c small.yaml", ["warmup: the configuration has no such section; add one"]),
    ("compare -c small.yaml --out x --seeds 0,x", ["--seeds: 0,x: give whole numbers, such as"]),
    ("eval -c small.yaml -r run", ["give either --config FILE or --run FOLDER"]),
    ("eval --run nowhere", ["nowhere: not a run folder (no config.yaml); check the path"]),
    ("eval -c small.yaml --budget 100,x", ["--budget: 100,x: give whole numbers, such as"]),
    ("eval -c small.yaml --budget 0,9", ["--budget: give numbers of tokens above 0, each once"]),
    ("eval -c small.yaml --budget 9,9", ["--budget: give numbers of tokens above 0, each once"]),
    ("eval -c small.yaml --budget ''", ["--budget: give numbers of tokens above 0, each once"]),
    (
        "solve -c small.yaml --strategy pass Why?",
        ["--strategy: pass: give one of greedy, majority"],
    ),
    (
        "eval -c small.yaml -s eval.strategies=[mcts_judge]",
        ["judge: mcts_judge needs the section `judge`, with its base_url and model"],
    ),
    (
        "solve -c small.yaml --strategy self_refine -s eval.pairwise=nowhere Why?",
        ["nowhere: not a judge's folder"],
    ),
    (
        "eval -c small.yaml -s value_head.path=nowhere",
        ["value_head.path: nowhere holds no value head; name a folder that `llamao1 reward"],
    ),
    (
        f"solve -c small.yaml '{'Why? ' * 900}'",
        ["the problem has ", " tokens, and model.max_length (", "; shorten it, or add --set"],
    ),
    ("solve -c small.yaml ''", ["the problem is empty; write its text between quotes"]),
    ("config", ["give either --reference or --check FILE"]),
    ("config --check list.yaml", ["list.yaml: expected sections"]),
    (TRAIN + "-s model.path=./nowhere", ["model.path: nowhere: no such folder"]),
    (TRAIN + "-s model.path=.", ["model.path: . holds no config.json; give a model folder"]),
    (TRAIN + "DATA empty.jsonl ok.jsonl", ["empty.jsonl: no problems in it; give a file"]),
    (TRAIN + "DATA ok.jsonl empty.jsonl", ["empty.jsonl: no problems in it; give a file"]),
    (TRAIN + "DATA half.jsonl ok.jsonl", ["half.jsonl line 1: field `problem` holds half"]),
    (TRAIN + "DATA ok.jsonl ok.jsonl", ["task.train: every problem is also in task.test"]),
    (TRAIN + "DATA ok.jsonl other.jsonl -s warmup={}", ["warmup.data is missing"]),
    (TRAIN + "-s warmup.data.path=no.jsonl", ["no.jsonl: no such data file"]),
    (TRAIN + "-s warmup.data.path=words.jsonl", ["words.jsonl line 1", "not marked text"]),
    (TRAIN + "--trees nowhere", ["nowhere: holds no tree files"]),
    (TRAIN + "-s run.dir=ok.jsonl", ["run.dir: ok.jsonl", "folder"]),
    (TRAIN + "-s run.dir=ok.jsonl/run", ["run.dir: ok.jsonl/run"]),
    (TRAIN + "-s model.lora.targets=[nope]", ["model.lora.targets", "nope"]),
    ("self-play -c small.yaml --out ok.jsonl", ["ok.jsonl", "folder"]),
    ("self-play -c small.yaml --out x -s run.budget_tokens=9", ["run.budget_tokens: self-play"]),
    ("eval -c small.yaml --json .", ["--json", "."]),
    ("solve -c small.yaml \udcff", ["the problem"]),
    ("export nowhere --to sft --out x", ["nowhere: holds no tree files (*.jsonl); give a folder"]),
    ("export nowhere --to hf --out x", ["nowhere: not a run folder (no config.yaml)"]),
    ("export . --to prm --out ok.jsonl", ["--out: ok.jsonl exists; add --overwrite, or"]),
    ("export . --to dpo --out .", ["--out: . is a folder; name a file"]),
    ("export . --to openlongcot --out x", ["empty.jsonl: no trees in it"]),
    ("export . --to sft --out x", [".: holds no tokenizer.json; name", "--tokenizer"]),
    ("export . --to hf --out x --last 2", ["--last: --to hf reads no trees; leave it out"]),
    ("export . --to sft --out x --min-margin 1", ["--min-margin: only --to dpo has pairs"]),
    ("export . --to hf --out x --tokenizer .", ["--tokenizer: --to hf needs none; leave it out"]),
]


@pytest.mark.parametrize(
    ("line", "parts"),
    REFUSED,
)
def test_bad_input_is_one_line_and_nothing_half_written(
    main: InProcess,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    parts: list[str],
) -> None:
    for name, text in TEXTS.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    line = re.sub(
        r"DATA (\S+) (\S+)",
        lambda names: f"-s '{data_task(Path(names[1]), Path(names[2]))}'",
        line,
    )
    before = contents(tmp_path)
    assert_refused(main(*shlex.split(line)), tmp_path, before, *parts)
