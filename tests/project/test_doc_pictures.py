"""The pictures of the documentation, made by its scripts from a small run written by hand."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from run_folders import Step, evaluation, played, write_run, write_tree

from llamao1_cli.report.commands import write_report

SCRIPTS = Path(__file__).parents[2] / "scripts"
# Four chains and a fork of the first into right and wrong: Q of the first thought is 1/2.
STEPS: list[Step] = [
    (0, "January: all tripled, 7*3=21", 0.5, None),
    (1, "The answer is \\boxed{7}.", 0.9, True),
    (1, "The answer is \\boxed{8}.", 0.4, False),
    *((0, f"The answer is \\boxed{{{n}}}.", 0.2, False) for n in range(1, 5)),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bins = [{"low": 0.9, "high": 1.0, "value": 0.95, "right": 0.9, "n": 40}]
    quality = {"auc": 0.9, "auc_within": 0.8, "brier": 0.1, "n": 40, "ece": 0.05, "bins": bins}
    steps = {"value": quality, "rating": quality}
    return write_run(
        tmp_path_factory.mktemp("pictures") / "small",
        metrics=[row | {"mixed_trees": 0.5} for row in played(3)],
        evaluations={0: evaluation(0.25), 3: evaluation(0.75, steps=steps)},
        trees={3: [write_tree("How many?", STEPS)]},
    )


def script(name: str, *arguments: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS.parent)}
    done = subprocess.run(
        [sys.executable, SCRIPTS / name, *arguments],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr


def test_figures_stand_alone_and_show_the_credit(run: Path, tmp_path: Path) -> None:
    script("doc_figures.py", run, tmp_path)
    pictures = {path.stem: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert sorted(pictures) == ["clip", "credit", "learning", "reliability"]
    for text in pictures.values():
        assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    # Q is (1/2 + 0 + 0 + 0 + 0) / 5 at the root; one leaf of six is right, so their deviation is
    # sqrt(5) / 6. Of the first thought (1/2 - 1/10) / 0.3728, of its answers 0.9 and -0.1 over it.
    assert "Q 0.1<" in pictures["credit"]
    assert re.findall(r"[+-]\d\.\d\d(?=<)", pictures["credit"])[:3] == ["+1.07", "+2.41", "-0.27"]
    assert ">7*3=21<" in pictures["credit"]


@pytest.mark.skipif(shutil.which("chromedriver") is None, reason="chromedriver is not installed")
def test_screenshots_show_a_report_and_a_tree(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("selenium", reason="selenium is not installed")
    image = pytest.importorskip("PIL.Image")
    script("screenshots.py", write_report([run], tmp_path / "report.html"), tmp_path)
    for name in ("report.webp", "tree.webp"):
        picture = image.open(tmp_path / name)
        assert picture.width == 1800
        assert picture.height > 600
        assert len(picture.getcolors(maxcolors=2**24)) > 50  # not an empty page
