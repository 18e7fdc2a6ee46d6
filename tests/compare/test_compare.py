"""The comparison of algorithms: paired figures, cells, and a whole small one."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from command_line import InProcess, train_here

from llamao1_cli.compare import cells
from llamao1_cli.compare.cells import Cell, run_cells
from llamao1_cli.compare.commands import compare
from llamao1_cli.compare.curves import Curve
from llamao1_cli.compare.figures import (
    at_chosen_rates,
    compared,
    costs_to_heights,
    curve,
    rate_figures,
)
from llamao1_cli.compare.picture import comparison_picture
from llamao1_cli.compare.tables import cost_table, rate_table, ratio_table, result_table
from llamao1_cli.compare.variants import (
    Budget,
    Variant,
    at_rates,
    cell_config,
    named_algorithms,
    parse_variant,
)
from llamao1_cli.config import Config
from llamao1_cli.config.file import load_config
from llamao1_cli.config.registry import ALGORITHMS
from llamao1_cli.errors import InterruptedRunError, RunFailedError, UserError
from llamao1_cli.files.run_folder import RunFolder

TINY = Path(__file__).parents[2] / "configs" / "tiny.yaml"


def cell(algorithm: str, seed: int, right: list[int]) -> dict:
    accuracy = sum(right) / len(right)
    points = [
        {"iteration": 0, "seconds": 0.0, "tokens": 0.0, "accuracy": 0.25},
        {"iteration": 7, "seconds": 30.0, "tokens": 4000.0, "accuracy": accuracy},
    ]
    return {
        "name": algorithm,
        "rate": 3e-4,
        "seed": seed,
        "before": 0.25,
        "accuracy": {"greedy": accuracy},
        "right": {"greedy": right},
        "end": accuracy,
        "area": (0.25 + accuracy) / 2,
        "iterations": 7,
        "seconds": 30.0,
        "tokens": 4000.0,
        "leaves_a_kilotoken": 25.0,
        "mixed_trees": None if algorithm == "continued_warmup" else 0.5,
        "curve": points,
    }


SHORT = ["eval.every=1", "eval.strategies=[greedy]", "eval.problems=4"]
CELLS = [
    cell("rlsp", 0, [1, 1, 1, 0]),
    cell("rlsp", 1, [1, 0, 1, 0]),
    cell("continued_warmup", 0, [1, 0, 0, 0]),
    cell("continued_warmup", 1, [0, 0, 0, 0]),
]


def test_the_table_by_hand() -> None:
    comparison = compared(CELLS, "rlsp")
    result = comparison["variants"]["continued_warmup"]
    assert result["mean"] == {"greedy": 0.125}
    assert result["difference"]["seeds"] == [-0.5, -0.5]
    # By problem -1/2, -1/2, -1, 0, and two more: a mean of -2/6, a mean square of (1.5 + 1) / 6.
    half = 1.959963984540054 * math.sqrt((2.5 / 6 - 1 / 9) / 6)
    assert result["difference"]["difference"] == -0.5
    assert result["difference"]["ci95"] == pytest.approx([-1 / 3 - half, -1 / 3 + half])
    lines = result_table(CELLS, comparison).splitlines()
    assert lines[2] == "| start | 0.250 | 0.250 | 0.250 | | | | | |"
    assert lines[3] == "| rlsp | 0.750 | 0.500 | 0.625 |  | 30 | 4,000 | 25.0 | 0.50 |"
    assert lines[4].startswith("| continued_warmup | 0.250 | 0.000 | 0.125 | -0.500 (-0.776 to ")
    assert len({line.count("|") for line in lines}) == 1


def seeds_of_curves() -> dict[int, dict[str, Curve]]:
    """Four problems, four points; the second variant is half as fast, and too low on seed 1."""
    costs = np.array([0.0, 10.0, 20.0, 30.0])
    right = np.array([[0, 0, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1]], float)
    fast = Curve({"tokens": 100 * costs, "seconds": costs}, right)
    slow = Curve({"tokens": 200 * costs, "seconds": 2 * costs}, right)
    low = Curve({"tokens": 200 * costs, "seconds": 2 * costs}, right * [1, 0, 0, 0])
    return {
        0: {"rlsp": fast, "continued_warmup": slow},
        1: {"rlsp": fast, "continued_warmup": low},
    }


def test_costs_and_ratios_by_hand() -> None:
    costs = costs_to_heights(seeds_of_curves(), "rlsp")
    end = (0.75 + 1 + 1) / 3
    assert costs["heights"][0] == pytest.approx({"1/2": end / 2, "3/4": end * 3 / 4, "9/10": 0.825})
    slow = costs["variants"]["continued_warmup"]
    assert slow["tokens"][0]["1/2"] == pytest.approx(2000 * (end / 2) / 0.75)
    assert slow["tokens"][1] == {"1/2": None, "3/4": None, "9/10": None}
    assert slow["seconds"][0]["9/10"] == pytest.approx(20 + 20 * 0.3)
    row = slow["ratios"]["tokens"]["1/2"]
    assert row["ratio"] == pytest.approx(math.sqrt(2 * 6000 / (2000 * end / 3)))
    assert (row["never"], row["baseline_never"]) == (1, 0)
    lines = cost_table(CELLS, costs).splitlines()
    assert lines[0].startswith("| variant | rate | area | end | tokens to 1/2 | tokens to 3/4 |")
    assert lines[2].startswith("| rlsp | 3e-4 | 0.438 | 0.625 | 611 (611, 611) | 917 (917, 917) |")
    # Never counts as the cell's whole run: 4,000 tokens.
    assert "| > 2,611 (1,222, –) |" in lines[3]
    shown = ratio_table(costs, "rlsp").splitlines()
    assert [line.split(" | ")[0] for line in shown[2:]] == ["| continued_warmup"]
    assert shown[2].split(" | ")[1].startswith(f"> {row['ratio']:.2f} (2.00 to ")
    assert len({line.count("|") for line in lines}) == len({line.count("|") for line in shown}) == 1


def test_variants_are_compared_at_their_best_rates() -> None:
    faster = [one | {"rate": 6e-4, "area": 0.9, "end": 0.61} for one in CELLS[:2]]
    rates = rate_figures([*faster, *CELLS])
    assert [(row["rate"], row["chosen"]) for row in rates["rlsp"]] == [(6e-4, True), (3e-4, False)]
    assert rates["rlsp"][1] | {"chosen": None} == {
        "rate": 3e-4,
        "area": pytest.approx(0.4375),
        "end": pytest.approx(0.625),
        "chosen": None,
    }
    assert at_chosen_rates([*faster, *CELLS], rates) == [*faster, *CELLS[2:]]
    lines = rate_table(rates).splitlines()
    assert lines[2] == "| rlsp | 6e-4 | 0.900 | 0.610 | chosen |"
    assert lines[3] == "| rlsp | 3e-4 | 0.438 | 0.625 |  |"


def test_the_picture_shows_means_ranges_and_heights() -> None:
    heights = {0: {"1/2": 0.4, "9/10": 0.6}, 1: {"1/2": 0.5, "9/10": 0.7}, 2: {"1/2": None}}
    picture = ElementTree.fromstring(comparison_picture(CELLS, heights))
    svg = "{http://www.w3.org/2000/svg}"
    assert picture.tag == f"{svg}svg"
    panels = picture.findall(f"{svg}svg")
    assert [panel.get("aria-label") for panel in panels] == [
        "greedy accuracy over seconds of self-play and update",
        "greedy accuracy over generated tokens",
    ]
    for panel in panels:
        for kind in ("line", "band"):
            assert len(panel.findall(f".//{svg}path[@class='{kind}']")) == 2
        assert len(panel.findall(f".//{svg}line[@class='ideal']")) == 2
        names = [text.text for text in panel.findall(f".//{svg}text[@class='height']")]
        assert names == ["1/2", "9/10"]
    assert [text.text for text in picture.findall(f"{svg}text")][1:] == ["rlsp", "continued_warmup"]


def test_cells_differ_from_the_configuration_where_they_say() -> None:
    overrides = ["search.algorithm=forks", "search.chains=6", "search.forks=1.6"]
    config = load_config(TINY, [*overrides, "replay.alpha=0.6"])
    made = {
        name: cell_config(config, Variant(name, name), 3, Budget(5.0, 700), Path("x/y"))
        for name in ALGORITHMS
    }
    for name, one in made.items():
        assert (one.run.seed, one.run.dir, one.learn.algorithm) == (3, "x/y", name)
        assert (one.run.budget_seconds, one.run.budget_tokens) == (5.0, 700)
        flat = name in ("grpo", "k15", "expert_iteration")
        assert (one.search.chains, one.search.forks) == ((8, 0.0) if flat else (6, 1.6))
        assert one.learn.value_weight == (0.0 if flat else config.learn.value_weight)
        assert one.replay.alpha == (0.0 if flat else 0.6)
        sections = {name: getattr(one, name) for name in ("run", "learn", "search", "replay")}
        assert config.model_copy(update=sections) == one


@pytest.mark.parametrize(
    "search", [["algorithm=forks", "forks=3", "chains=5"], ["algorithm=distinct"]]
)
def test_flat_algorithms_sample_as_many_independent_chains_as_trees_have_solutions(
    search: list[str],
) -> None:
    settings = [f"search.{setting}" for setting in [*search, "solutions=8", "replacement=false"]]
    config = load_config(TINY, settings)
    for text in ("plain: grpo", "wide: grpo learn.problems=8 search.chains=32"):
        variant = parse_variant(text)
        one = cell_config(config, variant, 0, Budget(1.0), Path("x"))
        assert (one.search.algorithm, one.search.forks, one.search.replacement) == (
            "forks",
            0,
            True,
        )
        wide = (one.learn.problems, one.search.chains)
        assert wide == ((8, 32) if variant.overrides else (config.learn.problems, 8))


@pytest.mark.slow
def test_a_small_comparison_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(TINY, SHORT)
    arguments = (
        config,
        named_algorithms(["rlsp", "continued_warmup"]),
        [1],
        Budget(tokens=1200),
        tmp_path,
    )
    monkeypatch.setattr(cells, "_train", train_here)
    compare(*arguments)
    result = json.loads((tmp_path / "comparison.json").read_text())
    assert [cell["name"] for cell in result["cells"]] == ["rlsp", "continued_warmup"]
    folders = [RunFolder(tmp_path / f"{cell['name']}-seed1") for cell in result["cells"]]
    starts = [folder.evaluation(0).read_text() for folder in folders]
    assert starts[0] == starts[1] == RunFolder(tmp_path / "start-seed1").evaluation(0).read_text()
    for one, folder in zip(result["cells"], folders, strict=True):
        points = curve(Cell(one["name"], one["rate"], 1, folder))
        assert [point.iteration for point in points] == list(range(one["iterations"] + 1))
        assert points[-1].tokens >= 1200 > points[-2].tokens
        assert len(one["right"]["greedy"]) == 4
    assert (tmp_path / "curves.svg").exists()
    before = (tmp_path / "comparison.json").read_bytes()
    monkeypatch.setattr(cells, "_train", lambda config: pytest.fail("everything is done"))
    compare(*arguments)
    assert (tmp_path / "comparison.json").read_bytes() == before
    with pytest.raises(UserError, match=r"rlsp-seed1 was begun with another run\.budget_tokens;"):
        compare(*arguments[:3], Budget(tokens=1300), tmp_path)
    other = load_config(TINY, [*SHORT, "warmup.examples=32"])
    with pytest.raises(UserError, match=r"start-seed1 was begun with another warmup\.examples;"):
        compare(other, *arguments[1:])


def test_a_cell_that_fails_names_its_log_and_its_last_line(tmp_path: Path) -> None:
    config = load_config(TINY, ["eval.strategies=[greedy]", "warmup.data={path: nowhere.jsonl}"])
    with pytest.raises(
        RunFailedError, match=r"start-seed0 failed, see .*log: llamao1: nowhere.jsonl"
    ):
        run_cells(config, named_algorithms(["rlsp"]), [0], Budget(1.0), tmp_path)


def test_a_signal_reaches_the_run_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = []

    class Child:
        def wait(self) -> None:
            if not ended:
                raise InterruptedRunError(15)

        def terminate(self) -> None:
            ended.append(True)

    with pytest.raises(InterruptedRunError):
        cells._wait(Child())
    assert ended == [True]


@pytest.mark.slow
def test_an_interrupted_comparison_leaves_a_checkpoint_and_goes_on(
    tmp_path: Path, main: InProcess
) -> None:
    """Ctrl-C, as a terminal sends it: to the whole process group."""
    program = [sys.executable, "-m", "llamao1_cli"]
    options = ["--algorithms", "rlsp", "--seeds", "0", "--budget-tokens", "3000"]
    options += ["--rates", "1e-4"]
    sets = ["--set", "eval.strategies=[greedy]", "--set", "run.checkpoint_every=1000"]
    words = ["compare", "--config", str(TINY), *options, *sets, "--out", str(tmp_path)]
    line = [*program, *words]
    parent = subprocess.Popen(line, start_new_session=True, stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "rlsp@1e-4-seed0" / "metrics.jsonl"
    while not (metrics.exists() and "self-play" in metrics.read_text()):
        assert parent.poll() is None
        time.sleep(0.05)
    os.killpg(parent.pid, signal.SIGINT)
    _, said = parent.communicate(timeout=60)
    assert parent.returncode == 130
    assert "the same command goes on from there" in said
    (checkpoint,) = (tmp_path / "rlsp@1e-4-seed0" / "checkpoints").glob("iteration-*[1-9]")
    assert int(checkpoint.name.removeprefix("iteration-")) >= 1
    assert main(*words).returncode == 0
    result = json.loads((tmp_path / "comparison.json").read_text())
    assert [(row["rate"], row["chosen"]) for row in result["rates"]["rlsp"]] == [(1e-4, True)]
    (one,) = result["cells"]
    assert 2 < len(one["curve"]) <= 14
    assert set(result["costs"]["variants"]["rlsp"]["tokens"]["0"]) == {"1/2", "3/4", "9/10"}


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"variants": named_algorithms(["rlsp", "rlsp"])}, "name each once"),
        ({"variants": at_rates(named_algorithms(["rlsp"]), ["1e-4", "0.0001"])}, "once"),
        ({"variants": []}, "--algorithms: nothing"),
        ({"variants": [parse_variant("old: rlsp replay.age=2")]}, "did you mean `max_age`"),
        ({"seeds": []}, "--seeds: give numbers"),
        ({"budget": Budget()}, "give --budget-seconds or --budget-tokens"),
        ({"budget": Budget(math.inf)}, "give --budget-seconds or --budget-tokens"),
        ({"variants": named_algorithms(["rlsp", "grpo"])}, "set search.algorithm: forks"),
        ({"config": load_config(TINY, ["warmup=null"])}, "continued_warmup needs"),
        ({"config": load_config(TINY, ["eval.strategies=[mcts]"])}, "add greedy"),
    ],
)
def test_comparisons_that_make_no_sense_are_refused(
    tmp_path: Path, changes: dict, part: str
) -> None:
    sound = {
        "config": load_config(TINY),
        "variants": named_algorithms(["rlsp", "continued_warmup"]),
        "seeds": [0],
        "budget": Budget(1.0),
        "out": tmp_path / "out",
    }
    with pytest.raises(UserError, match=part):
        compare(**(sound | changes))
    assert not (tmp_path / "out").exists()


def test_flat_algorithms_are_compared_with_distinct_solutions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begun(*arguments: object) -> None:
        raise RunFailedError("sound")

    monkeypatch.setattr("llamao1_cli.compare.commands.run_cells", begun)
    config = load_config(TINY, ["search.algorithm=distinct"])
    with pytest.raises(RunFailedError, match="sound"):
        compare(config, named_algorithms(["rlsp", "grpo"]), [0], Budget(1.0), tmp_path)


def test_an_unknown_algorithm_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="--algorithms: ppo: give some of rlsp"):
        named_algorithms(["rlsp", "ppo"])


def test_a_variant_is_an_algorithm_with_settings_of_its_own() -> None:
    variant = parse_variant("slow: rlsp  learn.learning_rate=1e-5 replay.max_age=2")
    config = load_config(TINY)
    changed = cell_config(config, variant, 0, Budget(1.0), Path("x"))
    plain = cell_config(config, Variant("rlsp", "rlsp"), 0, Budget(1.0), Path("x"))
    assert (variant.name, variant.algorithm) == ("slow", "rlsp")
    assert (changed.learn.learning_rate, changed.replay.max_age) == (1e-5, 2)
    sections = {"learn": plain.learn, "replay": plain.replay}
    assert changed.model_copy(update=sections) == plain


def test_each_variant_runs_at_each_rate() -> None:
    variants = [Variant("rlsp", "rlsp"), parse_variant("old: rlsp replay.max_age=2")]
    each = at_rates(variants, ["7.5e-5", "0.003"])
    assert [variant.label for variant in each] == [
        "rlsp@7.5e-5",
        "rlsp@0.003",
        "old@7.5e-5",
        "old@0.003",
    ]
    made = cell_config(load_config(TINY), each[2], 0, Budget(1.0), Path("x"))
    assert (made.learn.learning_rate, made.replay.max_age) == (7.5e-5, 2)
    assert at_rates(variants, []) == variants
    assert variants[0].label == "rlsp"


@pytest.mark.parametrize("text", ["fast", "0", "-1e-4", "nan", "inf"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=rf"--rates: {text}: give learning rates above 0"):
        at_rates(named_algorithms(["rlsp"]), ["1e-4", text])


def test_a_variant_with_a_rate_of_its_own_is_not_run_at_others() -> None:
    own = parse_variant("slow: rlsp learn.learning_rate=1e-5")
    with pytest.raises(UserError, match=r"--variant slow: sets learn\.learning_rate"):
        at_rates([own], ["1e-4"])
    assert at_rates([own], []) == [own]


@pytest.mark.parametrize("text", ["", "slow", "slow:", "slow: ppo", "a/b: rlsp", ": rlsp"])
def test_what_is_no_variant_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"--variant .*expected 'NAME: ALGORITHM"):
        parse_variant(text)


def test_a_file_is_no_folder_for_a_comparison(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    config: Config = load_config(TINY)
    with pytest.raises(UserError, match="is a file"):
        compare(config, named_algorithms(["rlsp"]), [0], Budget(1.0), tmp_path / "out")
