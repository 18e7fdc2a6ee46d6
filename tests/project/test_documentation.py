"""The documentation as a site: it builds strictly, asks no other machine, and is found through."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shown_commands import ROOT, pages

if importlib.util.find_spec("material") is None:
    pytest.skip("the extra `docs` is not installed", allow_module_level=True)

DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, built as scripts/docs.sh builds them."""
    folder = tmp_path_factory.mktemp("documentation") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_no_page_asks_another_machine(site: Path) -> None:
    for page in pages()[1:]:
        built = site / page.relative_to(ROOT / "docs").with_suffix(".html")
        html = built.read_text(encoding="utf-8")
        assert re.findall(r"""(?:src|href)=["']?(?:https?:)?//[^\s"'>]*""", html) == [], built
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"url\(\s*[\"']?(?:https?:)?//", styles) == []


def test_the_figures_of_the_readme_are_those_of_the_results() -> None:
    results = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    cells = [cell.strip() for row in re.findall(r"^\| (.*) \|$", readme, re.M)
             for cell in row.split("|") if re.search(r"\d\.\d", cell)]  # fmt: skip
    assert len(cells) >= 8
    assert [cell for cell in cells if f"| {cell} |" not in results] == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    if DRIVER is None:
        pytest.skip("chromedriver is not installed")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.chrome.service.Service(DRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_window_size(1280, 900)
    yield driver
    driver.quit()


def test_pages_opened_as_files_are_searched(browser: Any, site: Path) -> None:
    browser.get((site / "howto" / "judge.html").as_uri())
    field = browser.find_element("css selector", ".md-search__input")
    browser.execute_script("arguments[0].focus()", field)
    field.send_keys("preempt")
    found = ".md-search-result__item a"
    for _ in range(100):
        if browser.find_elements("css selector", found):
            break
        time.sleep(0.1)
    links = [each.get_attribute("href") for each in browser.find_elements("css selector", found)]
    assert any("howto/resume.html" in link for link in links)
    assert browser.get_log("browser") == []


# A machine has fonts of its own: the pages must fit with letters that stand wider apart, too.
WIDER = "document.body.style.letterSpacing = arguments[0]"


def test_pages_fit_a_phone_in_any_font(browser: Any, site: Path) -> None:
    metrics = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    for page in sorted({*site.rglob("*.html")} - {site / "404.html"}):  # which only a server shows
        browser.get(page.as_uri())
        for spacing in ("0", "0.05em", "0.1em"):
            browser.execute_script(WIDER, spacing)
            width = browser.execute_script("return document.documentElement.scrollWidth")
            assert width == 390, (page, spacing)
    assert browser.get_log("browser") == []
