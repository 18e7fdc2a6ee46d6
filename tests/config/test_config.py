"""Configuration files: what is read, what is refused and how, what is written back."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from llamao1_cli.config import (
    ArithmeticTask,
    Config,
    DataTask,
    LoraConfig,
    ValueAdapterConfig,
    ValueHeadConfig,
)
from llamao1_cli.config.file import build_config, dump_config, load_config
from llamao1_cli.errors import UserError

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
DATA_TASK = {"kind": "data", "train": {"path": "a.jsonl"}, "test": {"path": "b.jsonl"}}
# One of everything: every optional section is there.
FULL = {"model": {"lora": {}}, "task": DATA_TASK, "warmup": {"data": {"path": "c.jsonl"}}}


def read(tmp_path: Path, text: str, *overrides: str) -> Config:
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, list(overrides))


def refusal(tmp_path: Path, text: str, *overrides: str) -> str:
    with pytest.raises(UserError) as error:
        read(tmp_path, text, *overrides)
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 1000
    return message


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_configuration_loads(path: Path) -> None:
    config = load_config(path)
    assert config.run.dir.startswith("runs/")
    assert load_config(path, ["run.seed=5"]).run.seed == 5


def test_there_is_something_to_ship() -> None:
    assert "quickstart" in [path.stem for path in CONFIGS]


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("serach", "search"),
        ("run.sed", "seed"),
        ("search.simulation", "simulations"),
        ("model.build.layer", "layers"),
        ("model.lora.ranks", "rank"),
        ("task.problem_feild", "problem_field"),
        ("task.train.pth", "path"),
        ("task.test.limits", "limit"),
        ("warmup.data.limits", "limit"),
        ("warmup.epoch", "epochs"),
        ("eval.strategy", "strategies"),
        ("value_head.hidden_sze", "hidden_size"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_name(
    tmp_path: Path, key: str, nearest: str
) -> None:
    message = refusal(tmp_path, yaml.safe_dump(FULL), f"{key}=1")
    assert message == f"{tmp_path}/run.yaml: unknown key `{key}`; did you mean `{nearest}`?"


def test_a_value_head_is_of_one_kind_and_has_its_keys_alone(tmp_path: Path) -> None:
    assert read(tmp_path, "value_head: {steps: 3}").value_head == ValueHeadConfig(steps=3)
    adapter = read(tmp_path, "{}", "value_head.kind=adapter").value_head
    assert adapter == ValueAdapterConfig()
    assert read(tmp_path, "value_head: {kind: adapter}", "value_head=null").value_head is None
    message = refusal(tmp_path, "value_head: {kind: adapter, steps: 3, rnk: 4}")
    assert "unknown key `value_head.steps`" in message
    assert "unknown key `value_head.rnk`; did you mean `rank`?" in message
    assert "`value_head.rank` is 0" in refusal(tmp_path, "value_head: {kind: adapter, rank: 0}")
    message = refusal(tmp_path, "value_head: {kind: oracle}")
    assert "'oracle'" in message
    assert "'features', 'adapter'" in message


def test_an_unknown_key_like_no_other_is_refused_with_all_names(tmp_path: Path) -> None:
    message = refusal(tmp_path, "replay: {zzz: 1}")
    assert "unknown key `replay.zzz`; known keys: capacity, alpha, beta, max_age" in message
    assert "`task.oprations`" in refusal(tmp_path, "task: {kind: arithmetic, oprations: 2}")


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("run.seed=many", ["`run.seed` is 'many'", "integer"]),
        ("run.seed=-1", ["`run.seed` is -1", "greater than or equal to 0"]),
        ("run.seed=1.5", ["`run.seed` is 1.5"]),
        ("run.dir=[a]", ["`run.dir` is ['a']", "string"]),
        ("run=5", ["`run` is 5"]),
        ("learn.clip=wide", ["`learn.clip` is 'wide'", "number"]),
        ("learn.credit=grpo", ["`learn.credit` is 'grpo'", "'gae'", "'treerl'"]),
        ("search.allowed_metas=[]", ["`search.allowed_metas`", "at least 1"]),
        ("search.allowed_metas=[dance]", ["`search.allowed_metas.0` is 'dance'"]),
        ("learn.betas=[0.9]", ["`learn.betas"]),
        ("warmup.data.limit=-1", ["`warmup.data.limit` is -1"]),
        ("task.train.limit=-1", ["`task.train.limit` is -1"]),
        ("task.kind=poetry", ["`task`", "poetry", "arithmetic"]),
        ("task.answers=boxd", ["`task.answers` is 'boxd'", "'boxed', 'tags', 'hashes', 'letter'"]),
        ("task.answers=[boxed]", ["`task.answers` is ['boxed']"]),
        ("task.answers.patern=1", ["unknown key `task.answers.patern`; did you mean `pattern`?"]),
        ("task.answers={pattern: 'x(.)'}", ["`task.answers.template` is missing"]),
        (
            "task.answers={pattern: 'x(.)', template: 'x{anser}'}",
            ["`task.answers.template` is 'x{anser}': must name {answer} once"],
        ),
        ("task.train={}", ["`task.train`", "give either `path` or `hub`"]),
        ("model.build.heads=3", ["`model.build`", "hidden_size must be a multiple"]),
        ("search.hints=meta", ["`search`", "meta_actions: matrix"]),
        ("run.trackers=[mlflow]", ["`run.trackers.0` is 'mlflow'", "tensorboard"]),
    ],
)
def test_a_wrong_value_is_refused_by_key_and_value(
    tmp_path: Path, override: str, parts: list[str]
) -> None:
    message = refusal(tmp_path, yaml.safe_dump(FULL), override)
    assert message.startswith(f"{tmp_path}/run.yaml: ")
    for part in parts:
        assert part in message


def test_a_pattern_for_answers_is_checked_with_its_template(tmp_path: Path) -> None:
    pytest.importorskip("re2")
    good = "{pattern: 'Final: (.+)', template: 'Final: {answer}'}"
    config = read(tmp_path, yaml.safe_dump(FULL), f"task.answers={good}")
    assert config.task.answer_form.stated(config.task.answer_form.statement("5")) == "5"
    assert build_config(yaml.safe_load(dump_config(config)), "dumped") == config
    for bad, message in {
        "{pattern: 'Final: (.+', template: 'Final: {answer}'}": "no regular expression of RE2",
        "{pattern: 'Final: (.+)', template: 'End: {answer}'}": "does not find the answer",
    }.items():
        found = refusal(tmp_path, yaml.safe_dump(FULL), f"task.answers={bad}")
        assert found.startswith(f"{tmp_path}/run.yaml: `task.answers`: ")
        assert message in found


@pytest.mark.parametrize("answers", ["letter", "number"])
def test_answers_of_conclusions_need_conclusions(tmp_path: Path, answers: str) -> None:
    play = f"task.answers={answers}", "search.allowed_metas=['<expansion>']"
    message = refusal(tmp_path, yaml.safe_dump(FULL), *play)
    assert f"task.answers: {answers} is read in conclusions alone; add '<conclusion>'" in message
    read(tmp_path, yaml.safe_dump(FULL), play[0])
    read(tmp_path, yaml.safe_dump(FULL), play[1])


def test_a_missing_key_is_named_and_all_mistakes_come_at_once(tmp_path: Path) -> None:
    message = refusal(tmp_path, "{task: {kind: data, test: {path: x}}, run: {seed: x, sed: 1}}")
    assert "`task.train` is missing; add it" in message
    assert "`run.seed` is 'x'" in message
    assert "unknown key `run.sed`" in message


def test_a_long_value_is_not_shown_whole(tmp_path: Path) -> None:
    refusal(tmp_path, yaml.safe_dump({"run": {"seed": "x" * 10_000}}))
    refusal(tmp_path, yaml.safe_dump({"run": {"seed": list(range(10_000))}}))


def test_numbers_without_a_point_are_numbers(tmp_path: Path) -> None:
    config = read(tmp_path, "learn: {learning_rate: 1e-6}", "warmup.learning_rate=3E-5")
    assert config.learn.learning_rate == 1e-6
    assert config.warmup is not None
    assert config.warmup.learning_rate == 3e-5


def test_overrides_win_in_order_and_reach_every_depth(tmp_path: Path) -> None:
    text = "{run: {seed: 1, dir: a}, model: {lora: null}}"
    config = read(
        tmp_path,
        text,
        *("run.seed=2", "run.seed=3", "run.dir=runs/a=b=c", "model.lora.rank=4"),
        *("eval.strategies=[greedy, mcts]", "task={kind: arithmetic, test_problems: 7}"),
        "warmup=null",
    )
    assert (config.run.seed, config.run.dir) == (3, "runs/a=b=c")
    assert config.model.lora == LoraConfig(rank=4)
    assert config.eval.strategies == ["greedy", "mcts"]
    assert config.task == ArithmeticTask(test_problems=7)
    assert config.warmup is None
    assert config.search == Config().search


def test_an_override_changes_one_place_also_where_the_file_shares_one(tmp_path: Path) -> None:
    text = "task: {kind: data, train: &all {path: a}, test: *all}"
    task = read(tmp_path, text, "task.train.limit=5").task
    assert isinstance(task, DataTask)
    assert (task.train.limit, task.test.limit) == (5, 0)


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("run.seed", "expected section.key=value"),
        ("=1", "expected section.key=value"),
        ("", "expected section.key=value"),
        ("run.seed=[1", "--set run.seed=[1: '[1' is not a YAML value"),
        ("run.seed=2024-13-45", "--set run.seed=2024-13-45: '2024-13-45' is not a YAML value"),
        ("run.seed=@1", "is not a YAML value"),
        ("run.seed=" + "[" * 4000, "is not a YAML value"),
        ("run..seed=1", "unknown key `run.`"),
        (".run=1", "unknown key ``"),
        ("run.seed.x=1", "`run.seed`"),
    ],
)
def test_a_broken_override_is_refused(tmp_path: Path, override: str, part: str) -> None:
    assert part in refusal(tmp_path, "{}", override)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("run: {seed: 1", "not valid YAML"),
        ("run:\n\tseed: 1", "not valid YAML"),
        ("run: {seed: 2024-13-45}", "not valid YAML"),
        ("run: !!python/object:os.system {}", "not valid YAML"),
        ("run: *nothing", "not valid YAML"),
        ("- run", "expected sections"),
        ("just words", "expected sections"),
        ("[" * 5000, "nested too deeply"),
        ("{run: " * 5000, "nested too deeply"),
        ("{1: 2}", "1"),
        ("&a {run: *a}", "unknown key `run.run`"),
    ],
)
def test_what_is_no_configuration_is_refused_in_one_line(
    tmp_path: Path, text: str, part: str
) -> None:
    message = refusal(tmp_path, text)
    assert message.startswith(f"{tmp_path}/run.yaml: ")
    assert part in message


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("run: {dir: é}".encode("latin-1"))
    for name, part in [
        ("no.yaml", "no such configuration file"),
        (".", "cannot be read"),
        ("latin.yaml", "cannot be read"),
    ]:
        with pytest.raises(UserError, match=part) as error:
            load_config(tmp_path / name)
        assert str(error.value).startswith(f"{tmp_path / name}: ")


def test_an_empty_file_is_refused_and_no_settings_are_the_defaults(tmp_path: Path) -> None:
    for text in ("", "# nothing", "---\n", "null", "~"):
        assert "is empty; write sections such as `run:`" in refusal(tmp_path, text)
    assert read(tmp_path, "{}") == Config()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run:\n  seed: 1\n  dir: a\n  seed: 2\n", "`seed` stands in line 2 and in line 4"),
        ("run: {}\nmodel: {}\nrun: {seed: 1}\n", "`run` stands in line 1 and in line 3"),
        ("run: {seed: 1, seed: 1}", "`seed` stands in line 1 and in line 1"),
        ("run:\n  dir: [{a: 1,\n  a: 2}]", "`a` stands in line 2 and in line 3"),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_both_lines(
    tmp_path: Path, text: str, message: str
) -> None:
    assert refusal(tmp_path, text) == f"{tmp_path}/run.yaml: {message}; keep one of them"


def test_a_merged_key_may_be_overridden(tmp_path: Path) -> None:
    text = "task: {kind: data, train: &all {path: a, limit: 3}, test: {<<: *all, limit: 5}}"
    task = read(tmp_path, text).task
    assert isinstance(task, DataTask)
    assert (task.train.limit, task.test.path, task.test.limit) == (3, "a", 5)


def test_an_override_with_a_key_twice_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, "{}", "run={seed: 1, seed: 2}")
    assert "`seed` stands in line 1 and in line 1" in message


def test_numbers_are_decimal(tmp_path: Path) -> None:
    for text in ("run: {seed: 1:30}", "run: {seed: 1_0:30}", "learn: {clip: 1:30.5}"):
        assert "is '1" in refusal(tmp_path, text)
    assert "`run.seed` is '1:30'" in refusal(tmp_path, "{}", "run.seed=1:30")
    assert read(tmp_path, "run: {dir: 1:30}").run.dir == "1:30"
    assert read(tmp_path, "run: {seed: 010}").run.seed == 10
    assert read(tmp_path, "run: {seed: 1_000}").run.seed == 1000
    assert read(tmp_path, "run: {seed: 0x10}").run.seed == 16


def test_paths_are_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("WORK", "/scratch")
    monkeypatch.delenv("NOWHERE", raising=False)
    config = read(
        tmp_path,
        yaml.safe_dump(FULL),
        *("run.dir=~/runs/a", "model.path=$WORK/model", "warmup.data.path=${WORK}/c.jsonl"),
        *("task.train.path=$WORK/a.jsonl", "task.test.path=~/b.jsonl"),
        *("value_head.path=$WORK/head", "reward.solutions.path=$WORK/s.jsonl"),
    )
    assert isinstance(config.task, DataTask)
    assert config.warmup is not None
    assert config.warmup.data is not None
    assert config.reward is not None
    assert config.reward.solutions is not None
    assert config.value_head is not None
    assert (config.run.dir, config.model.path) == ("/home/ann/runs/a", "/scratch/model")
    assert (config.task.train.path, config.task.test.path) == (
        "/scratch/a.jsonl",
        "/home/ann/b.jsonl",
    )
    assert config.warmup.data.path == "/scratch/c.jsonl"
    assert (config.value_head.path, config.reward.solutions.path) == (
        "/scratch/head",
        "/scratch/s.jsonl",
    )
    message = refusal(tmp_path, "{}", "run.dir=$NOWHERE/a")
    assert "`run.dir` is '$NOWHERE/a': the environment variable NOWHERE is not set" in message
    assert "no such home folder" in refusal(tmp_path, "{}", "run.dir=~no_such_person/a")


# PyYAML loses the exotic line ends; variables and home folders have a test of their own.
words = st.text(st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029$~"), max_size=20)
small = st.floats(1e-9, 1, exclude_min=True)
settings = st.fixed_dictionaries(
    {
        "run": st.fixed_dictionaries(
            {"dir": words, "seed": st.integers(0), "trackers": st.just(["wandb"])}
        ),
        "model": st.fixed_dictionaries(
            {
                "path": st.one_of(st.none(), words, st.sampled_from(["1e-6", "null", "yes"])),
                "lora": st.one_of(st.none(), st.just({"targets": ["q_proj", "~"]})),
            }
        ),
        "task": st.sampled_from([{"kind": "arithmetic", "max_operations": 3}, DATA_TASK]),
        "warmup": st.one_of(st.none(), st.fixed_dictionaries({"learning_rate": small})),
        "search": st.fixed_dictionaries(
            {
                "temperature": st.floats(0, 1e300),
                "allowed_metas": st.lists(
                    st.sampled_from(["<critic>", "<refine>"]), min_size=1, unique=True
                ),
            }
        ),
        "learn": st.fixed_dictionaries({"betas": st.tuples(small, small), "clip": small}),
    }
)


@given(settings)
def test_what_is_dumped_loads_back_equal(
    tmp_path_factory: pytest.TempPathFactory, chosen: dict[str, Any]
) -> None:
    config = build_config(chosen, "here")
    path = tmp_path_factory.getbasetemp() / "dumped.yaml"
    path.write_text(dump_config(config), encoding="utf-8")
    assert load_config(path) == config
    assert dump_config(load_config(path)) == dump_config(config)
