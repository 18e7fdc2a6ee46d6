"""The pairwise judge: its pairs, its log-odds against plain forwards, what it learns."""

import json
import math
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from command_line import InProcess
from fake_engine import random_tree, shaped_tree
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file
from toy_models import toy_model

from llamao1_cli.config import ArithmeticTask, Config, DataSource, ModelConfig, RewardConfig
from llamao1_cli.config.file import build_config
from llamao1_cli.errors import UserError
from llamao1_cli.evaluate.intervals import auc, mean_interval, wilson_interval
from llamao1_cli.evaluate.judge_folder import load_pairwise
from llamao1_cli.evaluate.pairwise import NO, PROMPT, YES, PairwiseJudge
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.model.load import LanguageModel, load_model, save_model
from llamao1_cli.reward import commands
from llamao1_cli.reward.pairs import Pair, held_out, labelled_pairs, mined_pairs, split
from llamao1_cli.reward.training import accuracy, pair_figures, preference_loss, train_judge
from llamao1_cli.search.rectify import rectify
from llamao1_cli.search.refine.preference import Comparison
from llamao1_cli.search.tree import Tree
from llamao1_cli.search.tree_files import write_trees
from llamao1_cli.tasks.arithmetic import Arithmetic
from llamao1_cli.value.head import HEAD_FILE
from llamao1_cli.value.make import make_value_function
from llamao1_cli.value.protocol import ValueFunction

Row = tuple[str, str, bool]


def written(path: Path, rows: Sequence[Row]) -> RewardConfig:
    lines = [json.dumps({"question": q, "solution": s, "is_correct": r}) for q, s, r in rows]
    path.write_text("".join(line + "\n" for line in lines))
    return RewardConfig(solutions=DataSource(path=str(path)))


@given(
    st.lists(
        st.tuples(st.sampled_from("pqr"), st.sampled_from("abcde"), st.booleans()), max_size=12
    )
)
def test_labelled_pairs_are_right_times_wrong(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row]
) -> None:
    expected = {
        (q, a, b)
        for (q, a, right), (p, b, other) in product(rows, rows)
        if q == p and right and not other
        if (q, a, False) not in rows and (q, b, True) not in rows
    }
    config = written(tmp_path_factory.getbasetemp() / "solutions.jsonl", rows)
    if not expected:
        with pytest.raises(UserError, match="no question has a right and a wrong solution"):
            labelled_pairs(config)
        return
    pairs = labelled_pairs(config)
    assert {(p.question, p.better, p.worse) for p in pairs} == expected
    assert len(pairs) == len(expected)
    for question in {pair.question for pair in pairs}:
        weights = [pair.weight for pair in pairs if pair.question == question]
        assert weights == pytest.approx([1 / len(weights)] * len(weights))


@pytest.mark.parametrize("label", ['"yes"', "null", "2", "0.5"])
def test_a_row_without_a_label_is_refused(tmp_path: Path, label: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"question": "q", "solution": "s", "is_correct": {label}}}\n')
    with pytest.raises(UserError, match=r"rows.jsonl line 1: field `is_correct` must be true"):
        labelled_pairs(RewardConfig(solutions=DataSource(path=str(path))))
    with pytest.raises(UserError, match=r"reward\.solutions is missing"):
        labelled_pairs(RewardConfig())


@given(seed=st.integers(0, 10**6), size=st.integers(1, 30))
def test_mined_pairs_by_brute_force(language: MarkedLanguage, seed: int, size: int) -> None:
    tree = random_tree(language, seed, size)
    worth: dict[bool, dict[str, float]] = {True: {}, False: {}}
    for node in tree.nodes:
        if node.outcome is not None and not node.children:
            way = tree.path(node)[1:]
            text = "\n".join(step.thought.text for step in way)
            worth[node.outcome].setdefault(text, float(np.mean([s.mean_value for s in way])))
    right = sorted(worth[True], key=lambda text: -worth[True][text])[:2]
    wrong = sorted(worth[False], key=lambda text: worth[False][text])[:2]
    assert [(p.better, p.worse) for p in mined_pairs([tree])] == list(product(right, wrong))


def test_a_question_is_held_out_wherever_it_stands() -> None:
    pairs = [Pair(f"question {n % 500}", f"a{n}", f"b{n}", 1.0) for n in range(1000)]
    train, test = split(pairs, 3, 0.3)
    assert len(train) + len(test) == 1000
    assert not {pair.question for pair in train} & {pair.question for pair in test}
    assert len(test) / 1000 == pytest.approx(0.3, abs=0.08)
    assert split(pairs[::-1], 3, 0.3)[1] == test[::-1]
    assert split(pairs, 4, 0.3)[1] != test
    assert held_out(" question 1\n", 3, 0.3) is held_out("question 1", 3, 0.3)


@pytest.fixture(scope="module")
def judge(language: MarkedLanguage) -> PairwiseJudge:
    model = toy_model(language)
    return PairwiseJudge(LanguageModel(model, language.tokenizer, "toy"), 300, 1500)


COMPARISONS = [
    Comparison("How many?", "7", "8 or <start_of_thought> so"),
    Comparison("How many apples are left after June?", "3 + 4 = 7\nA: 7", "3 + 4 = 8\nA: 8"),
    Comparison("How many?", "one step " * 9, "7"),
    Comparison("How many?", "7", "a word " * 200),
    Comparison("2 + 2?", "4", "4"),
]


def plain_odds(judge: PairwiseJudge, language: MarkedLanguage, comparison: Comparison) -> float:
    """Yes over no behind the prompt, one sequence by itself, without padding or cut logits."""
    text = PROMPT.format(**vars(comparison))
    tokens = language.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
    blank, yes, no = (language.tokenizer.encode(part)[0] for part in (" ", "y", "n"))
    assert [language.tokenizer.encode(word)[:2] for word in (YES, NO)] == [
        [blank, yes],
        [blank, no],
    ]
    with torch.no_grad():
        logits = judge.model(input_ids=torch.tensor([[*tokens, blank]])).logits[0, -1]
    return float(logits[yes] - logits[no])


def test_log_odds_are_those_of_plain_forwards_in_both_orders(
    judge: PairwiseJudge, language: MarkedLanguage
) -> None:
    odds = judge.log_odds(COMPARISONS)
    assert judge.unread == 1
    for index, comparison in enumerate(COMPARISONS):
        there, back = (
            (plain_odds(judge, language, c) for c in (comparison, comparison.turned))
            if (index != 3)
            else (0.0, 0.0)
        )
        assert odds[index] == pytest.approx((there - back) / 2, abs=2e-4)
    assert abs(odds[:3]).min() > 1e-3
    assert odds[4] == pytest.approx(0, abs=1e-5)
    turned = judge.log_odds([c.turned for c in COMPARISONS])
    assert turned == pytest.approx(-odds, abs=1e-5)
    assert judge.log_odds([]).shape == (0,)


@given(st.lists(st.integers(0, 40), max_size=12))
def test_batches_hold_every_row_once_and_keep_to_their_size(
    judge: PairwiseJudge, lengths: list[int]
) -> None:
    lengths = [50 * length for length in lengths]
    batches = list(judge.batches(lengths))
    assert sorted(index for batch in batches for index in batch) == [
        index for index, length in enumerate(lengths) if length
    ]
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= 1500


def test_preference_loss_by_hand() -> None:
    loss = preference_loss(torch.tensor([2.0, -1.0, 0.5]), torch.tensor([0.5, 0.25, 0.25]))
    chances = [1 / (1 + math.exp(-2.0)), 1 / (1 + math.exp(1.0)), 1 / (1 + math.exp(-0.5))]
    expected = -sum(w * math.log(p) for w, p in zip((0.5, 0.25, 0.25), chances, strict=True))
    assert float(loss) == pytest.approx(expected)


def test_accuracy_counts_questions_once_and_equals_half() -> None:
    single = accuracy(["a", "b", "c", "d"], np.array([1.0, 0.2, -3.0, 0.0]))
    assert single == {"accuracy": 0.625, "ci95": list(wilson_interval(2.5, 4))}
    several = accuracy(["a", "a", "a", "b"], np.array([1.0, 2.0, -1.0, -1.0]))
    assert several["accuracy"] == pytest.approx((2 / 3 + 0) / 2)
    assert several["ci95"] == list(mean_interval([2 / 3, 0.0]))


WORDS = ("plus", "minus", "left", "found", "gave", "lost")


def telling_pairs(count: int, seed: int) -> list[Pair]:
    """The right solution ends in 7, the wrong one in 8; the words before tell nothing."""
    rng = np.random.default_rng(seed)
    words = [" ".join(rng.choice(WORDS, 3)) for _ in range(2 * count)]
    return [
        Pair(f"q{seed} {n}", f"{words[2 * n]} 7", f"{words[2 * n + 1]} 8", 1.0)
        for n in range(count)
    ]


def fresh_judge(arithmetic: Arithmetic, batch_tokens: int = 8192) -> PairwiseJudge:
    build = {"hidden_size": 32, "layers": 2, "heads": 2, "feed_forward": 64}
    config = ModelConfig.model_validate({"build": build, "device": "cpu", "max_length": 256})
    return PairwiseJudge(load_model(config, arithmetic.corpus(), 0), 256, batch_tokens)


def test_a_judge_learns_what_tells_solutions_apart(arithmetic: Arithmetic) -> None:
    judge, unseen = fresh_judge(arithmetic), telling_pairs(40, 1)
    before = pair_figures(judge, unseen)
    config = RewardConfig(epochs=3, batch_size=8, learning_rate=3e-3)
    losses = train_judge(judge, telling_pairs(80, 0), config, Accelerator(cpu=True), 0, len_of)
    assert len(losses) == 30
    assert losses[-1] < 0.3 < losses[0]
    after = pair_figures(judge, unseen)
    assert before["accuracy"] < 0.8
    assert after["accuracy"] > 0.95
    assert after["ci95"] == list(wilson_interval(after["accuracy"] * 40, 40))
    assert (after["pairs"], after["questions"], after["unread"]) == (40, 40, 0)
    shorter = [np.sign(len(pair.worse) - len(pair.better)) for pair in unseen]
    assert after["shorter"]["accuracy"] == pytest.approx(np.mean(shorter) / 2 + 0.5)


def len_of(loss: float) -> None:
    assert math.isfinite(loss)


def test_a_step_does_not_depend_on_how_its_batch_is_split(arithmetic: Arithmetic) -> None:
    pairs = [
        Pair("q", "7", "8", 0.5),
        Pair("q", "seven times 7", "eight and so on", 0.5),
        Pair("how many?", "one after the other makes 7", "8", 1.0),
    ]
    config = RewardConfig(epochs=1, batch_size=3)
    ends = []
    for batch_tokens in (1, 8192):
        judge = fresh_judge(arithmetic, batch_tokens)
        (loss,) = train_judge(judge, pairs, config, Accelerator(cpu=True), 0, len_of)
        ends.append((loss, [p.detach().clone() for p in judge.model.parameters()]))
    assert ends[0][0] == pytest.approx(ends[1][0], rel=1e-4)
    for one, other in zip(ends[0][1], ends[1][1], strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_the_loss_is_that_of_the_log_odds_that_the_judge_gives(arithmetic: Arithmetic) -> None:
    judge = fresh_judge(arithmetic)
    pairs = [replace(pair, weight=0.5 + n) for n, pair in enumerate(telling_pairs(5, 3))]
    odds = judge.log_odds([Comparison(p.question, p.better, p.worse) for p in pairs])
    expected = sum(p.weight * math.log(1 + math.exp(-o)) for p, o in zip(pairs, odds, strict=True))
    config = RewardConfig(epochs=1, batch_size=5)
    (loss,) = train_judge(judge, pairs, config, Accelerator(cpu=True), 1, len_of)
    assert loss == pytest.approx(expected / sum(pair.weight for pair in pairs), rel=1e-4)


def test_every_epoch_asks_every_pair_in_both_orders(arithmetic: Arithmetic, monkeypatch) -> None:
    judge, asked = fresh_judge(arithmetic), []
    monkeypatch.setattr(judge, "ids", lambda c: asked.append(c) or [5, 6])
    pairs = telling_pairs(6, 2)
    config = RewardConfig(epochs=2, batch_size=4)
    train_judge(judge, pairs, config, Accelerator(cpu=True), 1, len_of)
    straight = [Comparison(p.question, p.better, p.worse) for p in pairs]
    for epoch in (asked[:12], asked[12:]):
        assert Counter(epoch) == Counter([*straight, *(c.turned for c in straight)])
    assert asked[:12] != asked[12:]


# The commands


def small(tmp_path: Path, **sections: object):
    build = {"hidden_size": 16, "layers": 1, "heads": 2, "feed_forward": 16}
    settings = {"model": {"build": build, "device": "cpu", "max_length": 256}, **sections}
    return build_config(settings, "here")


def value_function(config: Config, model: LanguageModel, language: MarkedLanguage) -> ValueFunction:
    """The value function of a run that starts from this model."""
    made = make_value_function(
        config.value_head,
        model.model,
        language,
        seed=config.run.seed,
        micro_batch_tokens=8192,
        weights=None,
    )
    assert made is not None
    return made


def graded_trees(language: MarkedLanguage, count: int) -> list[Tree]:
    trees = [random_tree(language, seed, 14) for seed in range(count)]
    for tree in trees:
        rectify(tree, 1.0, "failure")
    return trees


def test_a_pairwise_judge_is_written_and_read_back(tmp_path: Path) -> None:
    rows = [
        (f"how many {n}?", text, right)
        for n in range(20)
        for text, right in (("so 7", True), ("so 8", False))
    ]
    solutions = written(tmp_path / "s.jsonl", rows).model_dump()
    config = small(tmp_path, reward={**solutions, "epochs": 1})
    out = tmp_path / "judge"
    commands.train(config, None, "pairwise", None, out)
    commands.evaluate(out, None, tmp_path / "figures.json")
    figures = json.loads((tmp_path / "figures.json").read_text())
    expected = [n for n in range(20) if held_out(f"how many {n}?", 0, 0.3)]
    assert figures["kind"] == "pairwise"
    assert figures["pairs"] == figures["questions"] == len(expected)
    assert figures["shorter"]["accuracy"] == 0.5
    judge = load_pairwise(out)
    odds = judge.log_odds([Comparison(f"how many {n}?", "so 7", "so 8") for n in expected])
    assert figures["accuracy"] == pytest.approx(np.mean(odds > 0))
    with pytest.raises(UserError, match="is occupied"):
        commands.train(config, None, "pairwise", None, out)


def test_pairs_are_mined_from_tree_files(tmp_path: Path, language: MarkedLanguage) -> None:
    trees = graded_trees(language, 30)
    write_trees(tmp_path / "trees" / "iteration-000001.jsonl", trees)
    out = tmp_path / "judge"
    commands.train(small(tmp_path, reward={"epochs": 1}), None, "pairwise", tmp_path / "trees", out)
    commands.evaluate(out, tmp_path / "trees", tmp_path / "figures.json")
    figures = json.loads((tmp_path / "figures.json").read_text())
    test = split(mined_pairs(trees), 0, 0.3)[1]
    assert figures["pairs"] == len(test) > 0
    assert figures["questions"] == len({pair.question for pair in test})


def test_values_are_learned_and_judged_on_other_trees(
    tmp_path: Path, language: MarkedLanguage
) -> None:
    trees = graded_trees(language, 30)
    for number in (1, 2):
        half = trees[15 * (number - 1) : 15 * number]
        write_trees(tmp_path / "trees" / f"iteration-00000{number}.jsonl", half)
    config = small(tmp_path, reward={"held_out": 0.4})
    out = tmp_path / "judge"
    commands.train(config, None, "values", tmp_path / "trees", out)
    commands.evaluate(out, tmp_path / "trees", tmp_path / "figures.json")
    figures = json.loads((tmp_path / "figures.json").read_text())
    test = [tree for tree in trees if held_out(tree.problem.text, 0, 0.4)]
    leaves = [leaf for tree in test for leaf in tree.leaf_nodes()]
    truth = np.array([float(leaf.outcome is True) for leaf in leaves])
    ratings = np.array([leaf.thought.rating for leaf in leaves])
    assert figures["trees"] == len(test) < len(trees)
    assert figures["rating"]["auc"] == pytest.approx(auc(ratings, truth))
    assert figures["rating"]["brier"] == pytest.approx(np.mean((ratings - truth) ** 2))
    assert figures["value"]["n"] == len(leaves)
    assert figures["value"]["auc"] != figures["rating"]["auc"]
    again, run = tmp_path / "again", tmp_path / "run"
    save_model(load_model(config.model, Arithmetic(ArithmeticTask()).corpus(), 0), run)
    # A head that knows the trees.
    shutil.copytree(out / "model" / HEAD_FILE.parent, run / HEAD_FILE.parent)
    commands.train(config, run, "values", tmp_path / "trees", again)
    heads = [load_file(folder / "model" / HEAD_FILE) for folder in (out, again)]
    assert all((heads[0][name] == heads[1][name]).all() for name in heads[0])
    started = small(tmp_path, value_head={"path": str(out)})
    model = load_model(started.model, Arithmetic(ArithmeticTask()).corpus(), 0)
    taken = value_function(started, model, language)
    assert all((taken.tensors()[name].numpy() == heads[0][name]).all() for name in heads[0])
    assert value_function(config, model, language).untrained
    elsewhere = small(tmp_path, value_head={"path": str(tmp_path)})
    with pytest.raises(UserError, match=r"value_head\.path: .* holds no value head"):
        value_function(elsewhere, model, language)
    with pytest.raises(UserError, match="a judge of the kind values"):
        load_pairwise(out)
    with pytest.raises(UserError, match="--trees is missing"):
        commands.evaluate(out, None, None)
    (out / "model" / HEAD_FILE).unlink()
    with pytest.raises(UserError, match="judge: holds no trained value head"):
        commands.evaluate(out, tmp_path / "trees", None)


def test_what_teaches_nothing_is_refused(tmp_path: Path, language: MarkedLanguage) -> None:
    out = tmp_path / "judge"
    with pytest.raises(UserError, match="--trees is missing"):
        commands.train(small(tmp_path), None, "values", None, out)
    with pytest.raises(UserError, match="not a judge's folder"):
        commands.evaluate(tmp_path, None, None)
    rows = [("q " * 200, "7", True), ("q " * 200, "8", False)]
    config = small(tmp_path, reward=written(tmp_path / "s.jsonl", rows).model_dump())
    with pytest.raises(UserError, match=r"fits model\.max_length \(256\)"):
        commands.train(config, None, "pairwise", None, out)
    wrong = shaped_tree([0, 0], {1: False, 2: False})
    assert mined_pairs([wrong]) == []
    assert not out.exists()


def test_the_command_line_trains_and_refuses_in_one_line(tmp_path: Path, main: InProcess) -> None:
    rows = [(f"how many {n}?", text, text == "7") for n in range(20) for text in ("7", "8")]
    written(tmp_path / "s.jsonl", rows)
    model = "model.build={hidden_size: 16, layers: 1, heads: 2, feed_forward: 16}"
    solutions = f"reward.solutions.path={tmp_path / 's.jsonl'}"
    (tmp_path / "empty.yaml").write_text("model: {device: cpu, max_length: 256}")
    config = ["--config", tmp_path / "empty.yaml", "--set", model]
    out = tmp_path / "judge"
    done = main("reward", "train", *config, "--set", solutions, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    done = main("reward", "eval", "--reward", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert "held-out questions" in done.stdout
    assert "judge: accuracy " in done.stdout
    for arguments, part in (
        (["train", *config, "--out", tmp_path / "other"], "reward.solutions is missing"),
        (["train", *config, "--out", tmp_path / "other", "--kind", "values"], "--trees is missing"),
        (["eval", "--reward", tmp_path], "not a judge's folder"),
    ):
        failed = main("reward", *arguments)
        assert failed.returncode == 2
        assert failed.stderr.startswith("llamao1: ")
        assert part in failed.stderr
        assert failed.stderr.count("\n") == 1
