"""The section of reasoning-gym's data sets; it needs no extra."""

from pathlib import Path
from typing import Any

import pytest

from llamao1_cli.config import ReasoningGymTask
from llamao1_cli.config.file import dump_config, load_config
from llamao1_cli.errors import UserError


def read(tmp_path: Path, task: str, *overrides: str) -> Any:
    path = tmp_path / "gym.yaml"
    path.write_text(f"task: {{kind: reasoning_gym, {task}}}\n")
    config = load_config(path, list(overrides))
    path.write_text(dump_config(config))
    assert load_config(path) == config  # what a run folder keeps is read back unchanged
    assert isinstance(config.task, ReasoningGymTask)
    return config.task


def test_a_data_set_is_a_name_or_a_list_of_names_and_sections(tmp_path: Path) -> None:
    one = read(tmp_path, "dataset: chain_sum, config: {max_terms: 3}")
    assert [(each.name, each.weight, each.config) for each in one.dataset] == [("chain_sum", 1, {})]
    assert one.config == {"max_terms": 3}
    two = read(tmp_path, "dataset: [products, {name: gcd, weight: 2.5, config: {max_value: 9}}]")
    assert [(each.name, each.weight) for each in two.dataset] == [("products", 1), ("gcd", 2.5)]


def test_answers_stand_in_the_tags_that_the_package_asks_for(tmp_path: Path) -> None:
    task = read(tmp_path, "dataset: gcd")
    assert task.answers == "tags"
    assert task.asked == (
        "State the final answer, and nothing else, between <answer> and </answer>."
    )
    assert read(tmp_path, "dataset: gcd, answers: boxed").asked.endswith(" in \\boxed{}.")
    assert read(tmp_path, "dataset: gcd, instruction: ''").asked == ""


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("dataset: [gcd, gcd]", "names gcd twice"),
        ("dataset: []", "`task.dataset`"),
        ("dataset: [{name: gcd, weight: 0}]", "`task.dataset.0.weight` is 0"),
        ("config: {}", "`task.dataset` is missing"),
        ("dataset: gcd, levels: 0", "`task.levels` is 0"),
        ("dataset: gcd, levls: 2", "did you mean `levels`?"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, task: str, words: str) -> None:
    with pytest.raises(UserError) as refused:
        read(tmp_path, task)
    assert words in str(refused.value)


def test_a_curriculum_needs_levels(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"set task\.levels of reasoning-gym"):
        read(tmp_path, "dataset: gcd", "learn.curriculum=0.7")
    assert read(tmp_path, "dataset: gcd, levels: 4", "learn.curriculum=0.7").levels == 4
