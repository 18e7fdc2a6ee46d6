"""The run report as a browser shows it: driven by hand and keyboard, with hostile text inside.

It needs Debian's chromium-driver and selenium; CI installs both, elsewhere it is skipped.
"""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from run_folders import distinct_ways, evaluation, played, two_ways, write_run, write_tree

from llamao1_cli.report import live
from llamao1_cli.report.commands import write_report
from llamao1_cli.report.frame import format_number
from llamao1_cli.search.tree_files import write_trees

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
Service = pytest.importorskip("selenium.webdriver.chrome.service").Service
By = pytest.importorskip("selenium.webdriver.common.by").By
Wait = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait
Keys = pytest.importorskip("selenium.webdriver.common.keys").Keys

DRIVER = shutil.which("chromedriver")
CI = os.environ.get("CI") == "true"
if DRIVER is None and not CI:
    pytest.skip("chromedriver is not installed", allow_module_level=True)

HOSTILE = '</script><script>window.hacked=1</script><img src=x onerror="window.hacked=1"> <critic>'
LONG = "<b>" * 350_000  # 1 MB
SUM = "What is 3+4?"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    assert DRIVER, "CI must have chromedriver; scripts/test.sh installs it"
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_window_size(1280, 900)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four iterations with a solved problem, a failed one and a hostile one."""
    failed = write_tree("What is 1+1?", [(0, "9", 0.2, None), (1, "so \\boxed{9}", 0.75, False)])
    hostile = write_tree(HOSTILE, [(0, HOSTILE, 0.5, None), (0, LONG, 0.5, None)], name="bad")
    return write_run(
        tmp_path_factory.mktemp("page") / "written",
        metrics=played(4),
        evaluations={0: evaluation(0.25), 4: evaluation(0.75)},
        trees={
            1: [two_ways(SUM, name="sum", value=0.6), hostile],
            4: [two_ways(SUM, name="sum"), failed],
        },
    )


@pytest.fixture
def page(browser: Any, run: Path) -> Iterator[Any]:
    """The open report; whatever a test does with it, the browser must find no fault."""
    browser.get(write_report([run], None).as_uri())
    yield browser
    assert browser.get_log("browser") == []
    assert browser.execute_script("return window.hacked") is None


def texts(page: Any, selector: str) -> list[str]:
    return [each.text for each in page.find_elements(By.CSS_SELECTOR, selector)]


def click(page: Any, selector: str, index: int = 0) -> None:
    element = page.find_elements(By.CSS_SELECTOR, selector)[index]
    page.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element
    )
    element.click()


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.switch_to.active_element.send_keys(key)


def width_of(page: Any, selector: str) -> float:
    script = "return document.querySelector(arguments[0]).getBoundingClientRect().width"
    width: float = page.execute_script(script, selector)
    return width


def problems(page: Any) -> list[str]:
    return texts(page, "#list .says")


def nodes(page: Any) -> list[str]:
    cards = page.find_elements(By.CSS_SELECTOR, ".node")
    return sorted(card.get_attribute("data-id") for card in cards)


def test_it_shows_the_numbers_of_the_files(page: Any, run: Path) -> None:
    after = json.loads((run / "eval" / "iteration-000004.json").read_text())["strategies"]
    assert texts(page, ".hero strong") == [f"{after['greedy']['accuracy']:.3f}"]
    assert texts(page, ".hero .old") == ["0.250"]
    assert texts(page, ".result .to") == [f"{each['accuracy']:.3f}" for each in after.values()]
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    figures = page.find_elements(By.CSS_SELECTOR, "[data-chart]")
    shown = {
        figure.find_element(By.CSS_SELECTOR, ".title").text: figure.find_element(
            By.CSS_SELECTOR, ".readout"
        ).text
        for figure in figures
    }
    for title, key in (("Right solutions", "solved_leaves"), ("Policy loss", "policy_loss")):
        assert shown[title] == format_number(last[key])


def test_a_chart_tells_every_point_to_the_keyboard(page: Any) -> None:
    (figure,) = (
        each
        for each in page.find_elements(By.CSS_SELECTOR, "[data-chart]")
        if "Policy loss" in each.text
    )
    page.execute_script("arguments[0].focus()", figure)
    press(page, Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert figure.find_element(By.CSS_SELECTOR, ".readout").text == "iteration 2\n-0.25"


def test_problems_are_searched_and_filtered(page: Any) -> None:
    assert len(problems(page)) == 4
    click(page, "[data-filter=failed]")
    assert problems(page) == ["What is 1+1?"]
    click(page, "[data-filter=solved]")
    assert problems(page) == [SUM, SUM]
    # Surprise: 0.75 for the failed answer, 1 - 0.6 for the early sum, 0.3 for the late one.
    click(page, "[data-filter=surprising]")
    assert problems(page) == ["What is 1+1?", SUM, SUM]
    assert texts(page, "#list .of")[1].startswith("✓ iteration 1 · surprise 0.40")
    click(page, "[data-filter=all]")
    page.find_element(By.ID, "search").send_keys("1+1 WHAT")
    assert problems(page) == ["What is 1+1?"]
    assert texts(page, "#count") == ["1 of 4 trees"]


def test_a_node_tells_its_figures(page: Any) -> None:
    click(page, ".node[data-id='2']")
    assert texts(page, ".detail .says") == ["The answer is 7."]
    assert texts(page, ".detail .boxed") == ["7"]
    names, values = texts(page, ".detail dt"), texts(page, ".detail dd")
    figures = dict(zip(names, values, strict=True))
    assert (figures["Rating"], figures["Target"], figures["Prior"]) == ("0.9", "1", "1")
    assert (figures["Visits"], figures["Entropy"], figures["Tokens"]) == ("0", "0.3", "2")
    click(page, ".check input")
    assert texts(page, ".detail .says") == ["The answer is \\boxed{7}."]
    best = page.find_elements(By.CSS_SELECTOR, ".node.best")
    assert [card.get_attribute("data-id") for card in best] == ["0", "1", "2"]


def test_a_tree_folds_zooms_and_steps_by_hand(page: Any) -> None:
    assert nodes(page) == ["0", "1", "2", "3", "4"]
    click(page, ".knob[aria-label='Fold thought 1']")
    assert nodes(page) == ["0", "1", "3", "4"]
    click(page, ".knob[aria-label='Unfold thought 1']")
    assert nodes(page) == ["0", "1", "2", "3", "4"]
    before = width_of(page, ".node")
    click(page, "[aria-label='Smaller']")
    assert width_of(page, ".node") == pytest.approx(before / 1.25)
    click(page, "[aria-label='One step of the search back']")
    assert nodes(page) == ["0", "1", "2"]
    assert texts(page, ".stepped") == ["step 1 of 2"]
    click(page, "[aria-label='One step of the search back']")
    assert nodes(page) == ["0"]


def test_a_tree_is_walked_by_keyboard(page: Any) -> None:
    def selected() -> str:
        return page.switch_to.active_element.get_attribute("data-id")

    page.execute_script("document.querySelector('.node[tabindex=\"0\"]').focus()")
    press(page, Keys.HOME)
    assert selected() == "0"
    press(page, Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    assert selected() == "2"
    press(page, Keys.ARROW_LEFT)
    assert selected() == "1"
    press(page, Keys.ARROW_LEFT)
    assert nodes(page) == ["0", "1", "3", "4"]
    press(page, Keys.SPACE, Keys.END)
    assert selected() == "4"
    press(page, Keys.HOME, "b", "b")
    assert selected() == "2"
    press(page, "[")
    assert nodes(page) == ["0", "1", "2"]
    press(page, "]")
    assert nodes(page) == ["0", "1", "2", "3", "4"]


def test_two_trees_of_a_problem_are_compared(page: Any) -> None:
    options = texts(page, ".compare option")
    assert options == ["Compare with…", "iteration 1"]
    click(page, ".compare option", 1)
    assert len(page.find_elements(By.CSS_SELECTOR, ".view")) == 2
    assert texts(page, ".view .of")[1].startswith("iteration 1 · solved")


def test_hostile_text_is_shown_as_text(page: Any) -> None:
    page.find_element(By.ID, "search").send_keys("hacked")
    click(page, "#list button")
    assert texts(page, ".view .problem") == [HOSTILE]
    click(page, ".node[data-id='1']")
    assert texts(page, ".detail .says") == [HOSTILE]
    click(page, ".node[data-id='2']")
    assert texts(page, ".detail .says")[0].endswith("[cut here: 1,050,000 characters in all]")
    assert page.find_elements(By.CSS_SELECTOR, "main img, main script, main b b") == []


def test_a_thought_shows_where_it_leaves_its_sibling(browser: Any, tmp_path: Path) -> None:
    """What both have in common is dim, as it is read and as it is written; a card shows its end."""
    begin = f"{HOSTILE} and \U0001f600 so "
    tree = distinct_ways(f"{begin}\\boxed{{8}}", f"{begin}\\boxed{{7}}")
    browser.get(write_report([write_run(tmp_path / "run", trees={1: [tree]})], None).as_uri())
    assert texts(browser, ".view .of")[0].endswith("3 tokens · covered 0.750")
    assert texts(browser, ".node .top span:nth-child(2)")[1:] == ["p 0.50", "p 0.25"]
    known = [each.get_attribute("textContent") for each in _find(browser, ".node .known")]
    assert known == [f"…{begin[-16:]}"]
    click(browser, ".node[data-id='2']")
    names, values = texts(browser, ".detail dt"), texts(browser, ".detail dd")
    figures = dict(zip(names, values, strict=True))
    assert (figures["Probability"], figures["Known tokens"]) == ("0.25", "1")
    assert float(figures["Mass"]) == pytest.approx(0.4, abs=1e-3)
    assert figures["Begins like"] == "thought 1"
    (dim,) = _find(browser, ".detail .known")
    assert dim.get_attribute("textContent") == begin
    assert texts(browser, ".detail .boxed") == ["7"]
    click(browser, ".check input")
    (dim,) = _find(browser, ".detail .known")
    assert dim.get_attribute("textContent") == f"{begin}\\boxed{{"
    click(browser, ".node[data-id='1']")
    assert _find(browser, ".detail .known") == []
    assert browser.get_log("browser") == []
    assert browser.execute_script("return window.hacked") is None


def _find(page: Any, selector: str) -> list[Any]:
    found: list[Any] = page.find_elements(By.CSS_SELECTOR, selector)
    return found


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(page: Any, width: int) -> None:
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        for spacing in ("0", "0.1em"):  # a machine's own font may be as much wider
            page.execute_script("document.body.style.letterSpacing = arguments[0]", spacing)
            assert page.execute_script("return document.documentElement.scrollWidth") == width
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


# The live page


def add_iteration(folder: Path, number: int) -> None:
    """An iteration with a tree of its own, and an evaluation after it."""
    trees = [two_ways(f"What is {number}+4?", name=f"new {number}"), two_ways(SUM, name="sum")]
    write_trees(folder / "trees" / f"iteration-{number:06d}.jsonl", trees)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(played(number)[-1]) + "\n")
    result = json.dumps(evaluation(0.75))
    (folder / "eval" / f"iteration-{number:06d}.json").write_text(result)


def height_of(page: Any, selector: str) -> float:
    script = "return document.querySelector(arguments[0]).getBoundingClientRect().top"
    top: float = page.execute_script(script, selector)
    return top


def test_a_live_page_takes_in_an_iteration_around_what_is_open(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "REST", 0)
    folder = write_run(
        tmp_path / "live",
        metrics=played(2),
        evaluations={0: evaluation(0.25)},
        trees={1: [two_ways(SUM, name="sum"), two_ways(HOSTILE)], 2: [two_ways("What is 2+4?")]},
        settings={"run": {"dir": "runs/live", "iterations": 3}},
    )
    with live.serving(folder, 0) as address:
        browser.get(address)
        click(browser, "[data-filter=solved]")
        browser.find_element(By.ID, "search").send_keys("what")
        click(browser, "#list button", 1)
        click(browser, ".knob[aria-label='Fold thought 1']")
        click(browser, "[aria-label='One step of the search back']")
        click(browser, "#configuration summary")
        click(browser, ".node[data-id='1']")
        browser.execute_script("document.querySelector('.node[data-id=\"1\"]').focus()")
        before = height_of(browser, ".canvas")
        assert texts(browser, ".hero .old") == []

        add_iteration(folder, 3)
        Wait(browser, 20).until(lambda page: texts(page, "#live") == ["the run is complete"])

        assert texts(browser, ".hero .old, .hero strong") == ["0.250", "0.750"]
        assert "3 of 3" in texts(browser, ".facts dd")
        title = "return [...document.querySelectorAll('figure')].find((each) =>"
        readout = " each.dataset.key === 'Policy loss').querySelector('.readout').textContent"
        assert browser.execute_script(title + readout) == "-0.375"
        assert problems(browser) == ["What is 3+4?", SUM, "What is 2+4?", SUM]
        # What was open is open as it was, and where it was.
        assert texts(browser, ".view .of")[0].startswith("iteration 1 · solved")
        assert nodes(browser) == ["0", "1"]
        assert texts(browser, ".stepped") == ["step 1 of 2"]
        assert browser.find_element(By.ID, "search").get_attribute("value") == "what"
        assert texts(browser, "[aria-pressed=true]") == ["Solved"]
        assert browser.find_element(By.CSS_SELECTOR, "#configuration pre").is_displayed()
        assert browser.switch_to.active_element.get_attribute("data-id") == "1"
        assert height_of(browser, ".canvas") == pytest.approx(before, abs=1)
        current = browser.find_elements(By.CSS_SELECTOR, "#list [aria-current=true] .of")
        assert ["iteration 1" in each.text for each in current] == [True]
        # What came can be compared with it.
        assert texts(browser, ".compare option") == ["Compare with…", "iteration 3"]
        click(browser, ".compare option", 1)
        assert texts(browser, ".view .of")[1].startswith("iteration 3 · solved")
        assert browser.get_log("browser") == []
        assert browser.execute_script("return window.hacked") is None
    Wait(browser, 20).until(lambda page: "no longer live" in texts(page, "#live")[0])


def test_a_live_page_opens_when_the_run_begins(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "REST", 0)
    with live.serving(tmp_path / "later", 0) as address:
        browser.get(address)
        assert texts(browser, "#live") == ["waiting"]
        browser.get_log("browser")  # of the test before, whose server had gone
        write_run(tmp_path / "begun").rename(tmp_path / "later")
        Wait(browser, 20).until(lambda page: texts(page, ".lead")[0] == "Not evaluated yet.")
        assert not browser.find_element(By.ID, "viewer").is_displayed()
        add_iteration(tmp_path / "later", 1)
        Wait(browser, 20).until(lambda page: problems(page) == ["What is 1+4?", SUM])
        assert nodes(browser) == ["0", "1", "2", "3", "4"]
        assert browser.get_log("browser") == []
