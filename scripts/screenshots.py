"""Takes the screenshots of README and documentation from a run report, as WebP:
.venv/bin/python scripts/screenshots.py REPORT.html FOLDER
"""

import base64
import shutil
import sys
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

WIDTH, SHARPNESS, QUALITY = 1200, 1.5, 82  # CSS pixels, pixels each, and WebP's quality
HEAD = """
const results = document.querySelector('#results').getBoundingClientRect();
return {x: 0, y: 0, width: innerWidth, height: results.bottom + scrollY + 24};
"""
# Of the solved trees that fit into their frame the one of the largest surprise, with the end of its
# best path chosen.
CHOOSE = """
document.querySelector('[data-filter=surprising]').click();
for (const button of document.querySelectorAll('#list button')) {
  if (!button.querySelector('.mark.right')) continue;
  button.click();
  if (document.querySelectorAll('.node').length <= 24) break;
}
[...document.querySelectorAll('.tools button')].find(each => each.textContent === 'Fit').click();
[...document.querySelectorAll('.node.best')].at(-1).click();
document.activeElement.blur();
"""
TREES = """
const head = document.querySelector('#trees h2').getBoundingClientRect();
const views = document.querySelector('#views').getBoundingClientRect();
return {x: 0, y: head.top + scrollY - 24, width: innerWidth, height: views.bottom - head.top + 32};
"""


def main(report: Path, out: Path) -> None:
    """Write report.webp, the head of a report, and tree.webp, one of its trees."""
    browser = _browser()
    try:
        browser.get(report.resolve().as_uri())
        _shoot(browser, HEAD, out / "report.webp")
        browser.execute_script(CHOOSE)
        _shoot(browser, TREES, out / "tree.webp")
    finally:
        browser.quit()


def _browser() -> Any:
    """Chromium without a window, of a desk's width."""
    driver = shutil.which("chromedriver")
    if driver is None:
        raise SystemExit("chromedriver is missing: apt-get install chromium-driver")
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=Service(driver))
    metrics = {"width": WIDTH, "height": 900, "deviceScaleFactor": SHARPNESS, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    return browser


def _shoot(browser: Any, clip: str, path: Path) -> None:
    """A picture of the part of the page that a script measures."""
    area = browser.execute_script(clip) | {"scale": 1}
    settings = {"format": "webp", "quality": QUALITY, "clip": area, "captureBeyondViewport": True}
    taken = browser.execute_cdp_cmd("Page.captureScreenshot", settings)
    path.write_bytes(base64.b64decode(taken["data"]))
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: .venv/bin/python scripts/screenshots.py REPORT.html FOLDER")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
