"""Judges of strategies: made where one is needed, asked by eval and solve, counted and charged."""

import json
import sys
from pathlib import Path

import pytest
from accelerate import Accelerator
from fake_engine import VERIFIER, FakeEngine
from judge_server import Server, completion

from llamao1_cli.config import Config, EvalConfig, JudgeConfig, SearchConfig
from llamao1_cli.config.file import build_config, dump_config, load_config
from llamao1_cli.errors import RunFailedError, UserError
from llamao1_cli.evaluate.endpoint import Endpoint
from llamao1_cli.evaluate.evaluator import Evaluator
from llamao1_cli.evaluate.judges import NOBODY, Judges, make_judges
from llamao1_cli.evaluate.strategies import STRATEGIES
from llamao1_cli.files.run_folder import RunFolder
from llamao1_cli.files.whole import write_whole
from llamao1_cli.language.marked_language import MarkedLanguage
from llamao1_cli.reward import commands as reward
from llamao1_cli.run import commands
from llamao1_cli.run.begin import check_folder
from llamao1_cli.search.tree import Tree
from llamao1_cli.selfplay.local import SelfPlay
from llamao1_cli.tasks.problem import Problem

TINY = Path(__file__).parents[2] / "configs" / "tiny.yaml"
JUDGE = {"base_url": "http://127.0.0.1:1/v1", "model": "judge", "retries": 0}


def judges_of(names: list[str], config: Config) -> Judges:
    """The judges that strategies need under a configuration."""
    return make_judges(names, config.judge, config.eval.pairwise, config.search.allowed_metas)


def tiny(*overrides: str, judge: dict[str, object] | None = None) -> Config:
    section = [f"judge={json.dumps(judge)}"] if judge else []
    return load_config(TINY, ["eval.problems=2", *section, *overrides])


# Making them


def test_no_judge_is_made_where_no_strategy_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    config = tiny("eval.pairwise=nowhere", judge=JUDGE)
    needs = {name for name, strategy in STRATEGIES.items() if strategy.growth.external}
    assert needs == {name for name in STRATEGIES if "_judge" in name}
    assert judges_of(["pass", *{*STRATEGIES} - needs - {"self_refine"}], config) == NOBODY
    for name in needs:
        with pytest.raises(UserError, match="needs the extra"):
            judges_of([name], config)
    with pytest.raises(UserError, match="nowhere: not a judge's folder"):
        judges_of(["self_refine"], config)


def test_a_strategy_without_what_it_needs_is_refused() -> None:
    with pytest.raises(UserError, match="judge: mcts_judge needs the section `judge`"):
        judges_of(["greedy", "mcts_judge"], tiny())
    few = tiny("search.allowed_metas=[<expansion>, <critic>]")
    with pytest.raises(UserError, match=r"search\.allowed_metas: self_refine needs <critic> and"):
        judges_of(["self_refine"], few)


def test_a_run_goes_on_whatever_became_of_what_is_no_part_of_it(tmp_path: Path) -> None:
    def check(*overrides: str) -> None:
        config = tiny(f"run.dir={tmp_path}", *overrides)
        check_folder(RunFolder(tmp_path), config, resume=True, overwrite=False)

    write_whole(RunFolder(tmp_path).config, dump_config(tiny(f"run.dir={tmp_path}")))
    check("reward.omega={}", "eval.samples=3", f"judge={json.dumps(JUDGE)}")
    with pytest.raises(UserError, match=r"differs from that of .* in learn\.clip;"):
        check("reward.omega={}", "learn.clip=0.3")


# Asking them


def test_an_external_judge_takes_the_place_of_the_values(
    server: Server, language: MarkedLanguage
) -> None:
    """Its values are right where the ratings mislead; majority pays nothing for it."""

    def think(request, depth, meta, rng):
        right = request.seed % 3 == 0
        return f"\\boxed{{{7 if right else 8}}}", 0.1 if right else 0.9

    server.answer = lambda text: (200, completion("0.9" if "{7}" in text else "0.1"))
    problems = [Problem(str(i), f"How many are {i}?", "7") for i in range(12)]
    selfplay = SelfPlay(FakeEngine(language, think), language, Accelerator(cpu=True), seed=0)
    endpoint = Endpoint(JudgeConfig.model_validate({**JUDGE, "base_url": server.url}))
    config = EvalConfig(samples=4)
    evaluator = Evaluator(problems, selfplay, VERIFIER, SearchConfig(), config, Judges(endpoint))
    forests: dict[str, list[Tree]] = {}
    names = ["pass", "majority", "best_of", "best_of_judge", "weighted_vote_judge"]
    result = evaluator.run(names, forests.__setitem__)
    figures = result["strategies"]
    texts = [
        [[node.thought.text for node in tree.nodes] for tree in forests[name]]
        for name in ("samples", "samples_judge")
    ]
    assert texts[0] == texts[1]
    assert figures["best_of_judge_4"]["right"] == figures["pass@4"]["right"]
    assert figures["best_of_4"]["correct"] < figures["best_of_judge_4"]["correct"]
    spent = (
        figures["best_of_judge_4"]["generated_tokens"] - figures["majority@4"]["generated_tokens"]
    )
    nodes = sum(len(tree.nodes) for tree in forests["samples_judge"])
    assert spent == 3 * nodes
    assert endpoint.drain() == {
        "asked": nodes,
        "fallbacks": 0,
        "prompt_tokens": 11 * nodes,
        "completion_tokens": spent,
    }
    assert result["differences"].keys() == {
        "weighted_vote_judge@4 - majority@4",
        "pass@4 - best_of_4",
        "pass@4 - best_of_judge_4",
    }
    row = evaluator.at_budget(["weighted_vote_judge", "mcts_judge", "beam_judge"], 120)
    for name in ("weighted_vote_judge", "mcts_judge", "beam_judge"):
        assert row["strategies"][name]["generated_tokens"] <= 120 * 12
    assert endpoint.drain()["asked"] > 0


def test_eval_and_solve_tell_of_thoughts_that_kept_their_rating(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(text: str) -> tuple[int, str]:
        return 200, completion("what?" if len(server.asked) % 2 else "0.5")

    server.answer = answer
    judge = {**JUDGE, "base_url": server.url, "on_failure": "rating", "concurrency": 1}
    config = tiny("eval.strategies=[greedy,weighted_vote_judge,mcts_judge]", judge=judge)
    report = tmp_path / "result.json"
    commands.evaluate(config, None, report)
    asked = len(server.asked)
    failed = asked - asked // 2
    counted = json.loads(report.read_text())["judge"]
    assert counted["asked"] == asked > 6
    assert counted["fallbacks"] == failed
    line = f"judge: {asked} thoughts asked for, {failed} kept their rating"
    assert line in " ".join(capsys.readouterr().out.split())
    commands.evaluate_at(config, None, report, [40])
    result = json.loads(report.read_text())
    assert result["judge"]["asked"] == len(server.asked) - asked > 0
    assert all(row["generated_tokens"] <= 80 for row in result["budgets"][0]["strategies"].values())
    assert "kept their rating" in capsys.readouterr().out
    before = len(server.asked)
    commands.solve(config, None, "Mia has 3 pens. How many pens does Mia have?", "beam_judge", None)
    shown = " ".join(capsys.readouterr().out.split())
    assert f"judge: {len(server.asked) - before} thoughts asked for" in shown


def test_nobody_else_asks_the_judge(server: Server, tmp_path: Path) -> None:
    judge = {**JUDGE, "base_url": server.url}
    run = f"run.dir={tmp_path / 'run'}"
    config = tiny(run, "run.iterations=1", "eval.strategies=[greedy, mcts]", judge=judge)
    commands.train(config, trees=None, resume=False, overwrite=False)
    commands.self_play(
        tiny("run.iterations=1", "eval.strategies=[mcts_judge]", judge=judge),
        None,
        tmp_path / "trees",
        resume=False,
    )
    assert server.asked == []


def test_an_endpoint_that_is_down_ends_eval_with_a_clear_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("openai", reason="the extra `openai` is not installed")
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    config = tiny("eval.strategies=[mcts_judge]", judge=JUDGE)
    with pytest.raises(RunFailedError, match=r"judge\.base_url: http://127\.0\.0\.1:1/v1: no conn"):
        commands.evaluate(config, None, None)


def test_self_refine_asks_the_judge_of_pairs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"question": f"how many {n}?", "solution": text, "is_correct": right}
        for n in range(8)
        for text, right in (("so 7", True), ("so 8", False))
    ]
    data = tmp_path / "solutions.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    build = {"hidden_size": 16, "layers": 1, "heads": 2, "feed_forward": 16}
    settings = {
        "model": {"build": build, "device": "cpu", "max_length": 256},
        "reward": {"solutions": {"path": str(data)}, "epochs": 1},
    }
    reward.train(build_config(settings, "here"), None, "pairwise", None, tmp_path / "judge")
    capsys.readouterr()
    report, results = tmp_path / "result.json", []
    for folder in ("null", str(tmp_path / "judge")):
        config = tiny("eval.strategies=[self_refine]", f"eval.pairwise={folder}")
        commands.evaluate(config, None, report)
        results.append(json.loads(report.read_text()))
    by_values, by_pairs = results
    assert by_values.keys() == by_pairs.keys() - {"pairwise"}
    assert by_pairs["strategies"].keys() == {"self_refine"}
    # Of 1 solution and 2 rewritings each is compared with those before it, in both problems.
    compared = by_pairs["pairwise"]["compared"]
    assert compared == 2 * 3
    assert f"pairwise judge: {compared} solutions compared" in capsys.readouterr().out
    commands.solve(
        config, None, "Mia has 3 pens. How many pens does Mia have?", "self_refine", None
    )
    assert "pairwise judge: " in capsys.readouterr().out
