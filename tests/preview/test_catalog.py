"""`llamao1 tasks`: every kind of task, every data set, and the page that lists them."""

import json
from pathlib import Path

import pytest
from command_line import InProcess

from llamao1_cli.preview import catalog

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "howto" / "reasoning_gym.md"


def needs_the_extra() -> None:
    pytest.importorskip("reasoning_gym", reason="the extra `reasoning-gym` is not installed")


def test_every_kind_of_task_is_told_with_what_it_is() -> None:
    kinds = {each["kind"]: each for each in catalog.task_kinds()}
    assert {"arithmetic", "data", "reasoning_gym"} <= kinds.keys()
    assert all(each["meaning"] for each in kinds.values())
    assert " -> " in kinds["arithmetic"]["example"]


def test_all_data_sets_are_listed_with_an_example(
    main: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_the_extra()
    monkeypatch.setenv("COLUMNS", "100")
    file = tmp_path / "tasks.json"
    done = main("tasks", "--json", file)
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())
    assert len(found["data_sets"]) == 105
    assert all(each["examples"][0]["problem"] for each in found["data_sets"])
    lines = done.stdout.splitlines()
    assert all(len(line) <= 100 for line in lines)
    for each in found["data_sets"]:
        assert sum(f"│ {each['name']} " in line for line in lines) == 1


def test_one_data_set_is_shown_with_its_options_and_three_problems(main: InProcess) -> None:
    needs_the_extra()
    done = main("tasks", "chain_sum")
    assert done.returncode == 0, done.stderr
    assert "max_terms: 6" in done.stdout
    assert done.stdout.count("State the final answer") == done.stdout.count("answer:\n") == 3
    assert "any that fits" in main("tasks", "rush_hour").stdout


def test_an_unknown_name_is_refused_with_the_nearest(main: InProcess) -> None:
    needs_the_extra()
    done = main("tasks", "chian_sum")
    assert done.returncode == 2
    assert "did you mean `chain_sum`?" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_extra_the_kinds_are_listed_and_the_remedy_is_named(
    main: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llamao1_cli.tasks.gym.process.find_spec", lambda name: None)
    done = main("tasks")
    assert done.returncode == 0, done.stderr
    assert "arithmetic" in done.stdout
    assert "pip install 'llamao1-cli[reasoning-gym]'" in done.stdout
    named = main("tasks", "chain_sum")
    assert named.returncode == 2
    assert "pip install 'llamao1-cli[reasoning-gym]'" in named.stderr


def test_the_page_has_the_table_of_today(main: InProcess) -> None:
    needs_the_extra()
    table = main("tasks", "--markdown").stdout
    assert len(table.splitlines()) == 107
    assert PAGE.read_text(encoding="utf-8").endswith(f"\n\n{table}"), (
        f"replace the table at the end of {PAGE.name} by what `llamao1 tasks --markdown` prints"
    )


def test_what_an_example_holds_breaks_no_table_and_steers_no_terminal() -> None:
    made = {"name": "x", "area": "games", "levels": 1, "options": {}}
    made["examples"] = [{"problem": "a | b\n`c` \x1b[2J", "answer": None}]
    row = catalog.markdown_table([made]).splitlines()[-1]
    assert row.count("|") == 6
    assert row.count("`") == 4
    assert "\x1b" not in row
    assert "\x1b" not in catalog.one_data_set(made)
