"""What a run will see of its data: the facts, the remedies, and what is refused."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import InProcess
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.config import SearchConfig
from llamao1_cli.evaluate.playable import playable
from llamao1_cli.language.answer_forms import FORMS
from llamao1_cli.language.marked import METAS, MarkedNode, Meta
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.preview.demonstrations import demonstration_facts
from llamao1_cli.preview.problems import problem_facts
from llamao1_cli.preview.spread import Spread, percent, spread
from llamao1_cli.preview.tokens import tokenizer_facts
from llamao1_cli.tasks.grading import Grader
from llamao1_cli.tasks.problem import Problem

DATA = Path(os.environ.get("LLAMAO1_DATA") or Path(__file__).parents[3] / "shared" / "data")


def rows(path: Path, *problems: tuple[str, str]) -> str:
    lines = [json.dumps({"problem": text, "answer": answer}) for text, answer in problems]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


TRAIN = [
    (
        f"Ann has {n} pens and buys 1. How many has she?",
        "She waits.\n" * n + f"{n} + 1 = {n + 1}\n#### {n + 1}",
    )
    for n in range(8)
]


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """A small run on files: one training problem is also held out, one is written twice."""
    train = [*TRAIN, (TRAIN[1][0].upper() + " ", "#### 2")]
    test = [("ANN has 0 pens  and buys 1. How many has she?", "1"), ("What is 1 + 1?", "2")]
    return {
        "run": {"dir": str(tmp_path / "run"), "iterations": 1, "threads": 1},
        "model": {
            "build": {"hidden_size": 32, "layers": 1, "heads": 2, "feed_forward": 32},
            "max_length": 320,
            "device": "cpu",
        },
        "task": {
            "kind": "data",
            "train": {"path": rows(tmp_path / "train.jsonl", *train)},
            "test": {"path": rows(tmp_path / "test.jsonl", *test)},
            "solution_field": "answer",
        },
        "warmup": {"examples": 40, "batch_size": 8, "micro_batch_size": 8},
        "search": {"simulations": 2, "max_depth": 12, "max_thought_tokens": 24},
        "learn": {"problems": 2, "batch_size": 2},
        "eval": {"problems": 2},
    }


def write(path: Path, settings: dict[str, Any], **changes: Any) -> Path:
    path.write_text(yaml.safe_dump(settings | changes))
    return path


def shown(main: InProcess, config: Path, *more: str) -> tuple[dict[str, Any], str]:
    result = config.with_suffix(".json")
    done = main("data", "--config", config, "--json", result, *more)
    assert done.returncode == 0, done.stderr
    return json.loads(result.read_text()), done.stdout


def test_what_is_kept_dropped_written_twice_and_held_out(
    main: InProcess, tmp_path: Path, settings: dict[str, Any]
) -> None:
    result, out = shown(main, write(tmp_path / "run.yaml", settings))
    train, test = result["train"], result["test"]
    assert (train["rows"], train["dropped"], train["kept"]) == (9, {"held out": 1}, 8)
    assert result["overlap"] == 1
    assert (train["duplicates"], test["duplicates"]) == (1, 0)
    assert [each["answer"] for each in train["examples"]] == ["2", "3", "4"]
    assert train["examples"][0]["id"].endswith("train.jsonl line 2")
    assert train["not_right_against_themselves"] == train["too_long"] == 0
    assert result["generated"] is False
    assert result["refusals"] == []
    assert len(result["warnings"]) == 1
    assert "warning: 1 of 9 (11%) training rows are in task.test, too, and are left out" in out
    assert "Ann has 1" in out


def test_the_remedies_bring_everything_back(
    main: InProcess, tmp_path: Path, settings: dict[str, Any]
) -> None:
    config = write(tmp_path / "run.yaml", settings)
    tight = ("model.max_length=130", "search.max_depth=1", "search.max_thought_tokens=5")
    result, out = shown(main, config, *(f"--set={each}" for each in tight))
    found = result["demonstrations"]
    assert 0 < found["whole_dropped_share"] <= 1
    assert found["too_deep"] > 0
    assert found["too_long_steps"] > 0
    for key in ("model.max_length", "search.max_depth", "search.max_thought_tokens"):
        assert f"{key} (" in out
    loose = (
        f"model.max_length={found['tokens']['most']}",
        f"search.max_depth={found['thoughts']['most']}",
        f"search.max_thought_tokens={found['step_tokens']['most']}",
    )
    better, _ = shown(main, config, *(f"--set={each}" for each in loose))
    again = better["demonstrations"]
    assert again["dropped"] == again["too_deep"] == again["too_long_steps"] == 0


def test_a_run_where_no_problem_fits_is_refused_before_anything_is_written(
    main: InProcess, tmp_path: Path, settings: dict[str, Any]
) -> None:
    config = write(tmp_path / "run.yaml", settings, warmup=None)
    short = "--set=model.max_length=58"
    fault = r"task.train: no problem leaves room for a thought in model.max_length (58); raise"
    for trained in ("train", "data"):
        done = main(trained, "--config", config, short)
        assert done.returncode == 2, done.stdout
        assert fault in done.stderr
    for command in (["eval"], ["self-play", "--out", str(tmp_path / "trees")]):
        done = main(*command, "--config", config, short)
        assert done.returncode == 2, done.stdout
        assert "no problem leaves room for a thought" in done.stderr
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "trees").exists()


def test_runs_tell_in_three_lines_and_count_what_was_not_played_apart(
    main: InProcess, tmp_path: Path, settings: dict[str, Any]
) -> None:
    task = dict(settings["task"])
    long = ("What is 1 + 1? " * 60, "2")
    task["test"] = {"path": rows(tmp_path / "more.jsonl", long, ("What is 2 + 2?", "4"))}
    config = write(tmp_path / "run.yaml", settings, warmup=None, task=task)
    result = tmp_path / "result.json"
    done = main("eval", "--config", config, "--json", result)
    assert done.returncode == 0, done.stderr
    first = done.stdout.splitlines()[:4]
    for line, name in zip(first, ("problems", "prompts", "demonstrations"), strict=False):
        assert line.startswith(f"{name}: ")
    assert first[3].startswith("warning: 1 of 2 (50%) held-out problems leave no room")
    evaluation = json.loads(result.read_text())
    assert (evaluation["n"], evaluation["unplayed"]) == (1, 1)
    assert evaluation["strategies"]["greedy"]["n"] == 1
    assert "not played, and not counted: 1 too long for model.max_length" in done.stdout


def test_generated_problems_are_previewed_as_well(main: InProcess, tmp_path: Path) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(Path(__file__).parents[2].joinpath("configs/tiny.yaml").read_text())
    result, _ = shown(main, config)
    train, demonstrations = result["train"], result["demonstrations"]
    assert result["generated"] is True
    assert (train["kept"], demonstrations["looked_at"]) == (4, 64)


def test_an_answer_that_a_box_cannot_hold_is_not_right_against_itself(
    language: MarkedLanguage,
) -> None:
    problems = [Problem("1", "a", "5"), Problem("2", "b", "} 5"), Problem("3", "c", "x^2")]
    with Grader() as grader:
        facts = problem_facts(problems, {}, language, 10, grader.grade)
    assert facts.not_right_against_themselves == 1
    assert [each.id for each in facts.ungradable] == ["2"]


def test_answers_are_tried_in_the_form_that_states_them(language: MarkedLanguage) -> None:
    problems = [Problem("1", "a", "B"), Problem("2", "b", "(C) 12"), Problem("3", "c", "4 or 5")]
    letters = MarkedLanguage(language.tokenizer, METAS, FORMS["letter"])
    with Grader() as grader:
        facts = problem_facts(problems, {}, letters, 10, grader.grade)
    assert [each.id for each in facts.ungradable] == ["3"]
    assert tokenizer_facts(letters, []).texts == 1


def test_answers_that_the_task_cannot_state_are_refused_before_a_run(
    main: InProcess, tmp_path: Path, settings: dict[str, Any]
) -> None:
    config = write(tmp_path / "run.yaml", settings)
    done = main("data", "--config", config, "--set", "task.answers=letter")
    assert done.returncode == 2
    assert "no answer grades as right against itself" in done.stderr
    assert "task.answers" in done.stderr
    result, _ = shown(main, config, "--set", "task.answers=tags")
    assert result["train"]["not_right_against_themselves"] == 0
    assert result["tokenizer"]["changed"] == 0


def test_no_more_problems_are_looked_at_than_a_run_has_time_for(language: MarkedLanguage) -> None:
    problems = [Problem(str(n), f"Is it {n}?", str(n)) for n in range(40_001)]
    facts = problem_facts(problems, {}, language, 100, lambda pairs: [True] * len(pairs))
    assert (facts.kept, facts.looked_at, facts.rows) == (40_001, 13_334, 40_001)
    assert problem_facts([], {}, language, 9, lambda pairs: []).looked_at == 0


def test_depth_and_length_of_thoughts_are_those_of_play(language: MarkedLanguage) -> None:
    tree = [
        MarkedNode(-1, 0, "one two", Meta.PROBLEM),
        MarkedNode(0, 1, "3+4=7", Meta.EXPANSION),
        MarkedNode(0, 2, "3+4=7", Meta.EXPANSION),
        MarkedNode(2, 3, "7", None, imitate=False),
    ]
    size = len(language.encode("3+4=7")) + 2
    facts = demonstration_facts(
        [tree], language, SearchConfig(max_depth=1, max_thought_tokens=size - 1), 10_000
    )
    assert (facts.thoughts, facts.too_deep) == (Spread(2, 2, 2, 2), 1)
    assert (facts.steps, facts.too_long_steps) == (3, 2)
    assert facts.step_tokens == Spread(2, size, size, size)
    assert (facts.whole, facts.dropped) == (0, 0)
    matrix = SearchConfig(meta_actions="matrix", max_thought_tokens=size - 1)
    assert demonstration_facts([tree], language, matrix, 10_000).too_long_steps == 0


def test_texts_that_the_tokenizer_changes_are_found(
    language: MarkedLanguage, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tokenizer_facts(language, ["é 漢 <expansion>", "\\boxed{7}"]).changed == 0
    decode = language.decode
    monkeypatch.setattr(language, "decode", lambda ids: (None, decode(ids)[1].replace("{", "")))
    facts = tokenizer_facts(language, ["plain", "{x}"])
    assert (facts.texts, facts.changed, facts.letters) == (3, 2, ["{"])
    assert facts.examples[0].written == r"The answer is \boxed{54}."


def test_shares_are_never_rounded_to_all_or_nothing() -> None:
    shares = [percent(part) for part in (0.0, 0.001, 0.01, 0.58, 0.995, 1.0)]
    assert shares == ["0%", "<1%", "1%", "58%", ">99%", "100%"]


@given(st.lists(st.integers(0, 1000), min_size=1))
def test_a_spread_is_made_of_its_numbers(numbers: list[int]) -> None:
    found = spread(numbers)
    assert found is not None
    parts = [found.least, found.median, found.p95, found.most]
    assert (found.least, found.most) == (min(numbers), max(numbers))
    assert parts == sorted(parts)
    assert {*parts} <= {*numbers}


@given(st.lists(st.text(max_size=20) | st.just("<expansion>"), max_size=5))
def test_texts_in_one_call_have_the_tokens_of_each_alone(
    language: MarkedLanguage, texts: list[str]
) -> None:
    assert language.encode_all(texts) == [language.encode(text) for text in texts]


def test_grade_school_demonstrations_in_narrow_sizes_vanish(
    main: InProcess, tmp_path: Path, settings: dict[str, Any]
) -> None:
    """And the two settings that bring them back do so."""
    if not (DATA / "gsm8k" / "train.jsonl").is_file():
        pytest.skip(f"gsm8k not found under {DATA}; set LLAMAO1_DATA to the data folder")
    paths = {side: {"path": str(DATA / "gsm8k" / f"{side}.jsonl")} for side in ("train", "test")}
    fields = {"kind": "data", "problem_field": "question", "solution_field": "answer"}
    config = write(tmp_path / "run.yaml", settings, task=fields | paths, warmup={"examples": 2000})
    result, out = shown(main, config, "--set=model.max_length=256")
    demonstrations = result["demonstrations"]
    assert demonstrations["whole_dropped_share"] == pytest.approx(0.58, abs=0.02)
    assert "58% of those that hold a whole solution" in out
    assert "raise model.max_length, to" in out
    assert "or model.build.vocabulary" in out
    wide = ("--set=model.max_length=512", "--set=model.build.vocabulary=2000")
    again = shown(main, config, *wide)[0]["demonstrations"]
    assert again["whole_dropped_share"] < 0.01


def test_a_problem_is_playable_where_a_thought_fits(language: MarkedLanguage) -> None:
    search = SearchConfig(max_thought_tokens=10)
    problems = [Problem(str(n), "pens " * n, "1") for n in range(1, 30)]
    found = playable(problems, language, search, 60)
    assert 0 < len(found) < len(problems)
    lengths = [
        len(language.root(each.text)) + len(language.opening(1)) + 10 + language.room_to_close
        for each in problems
    ]
    assert found == [each for each, n in zip(problems, lengths, strict=True) if n <= 60]
