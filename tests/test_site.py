"""The site is built without a warning, all of its links lead somewhere, it fetches nothing, and it fits a phone."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sphinx")
pytest.importorskip("furo")
pytest.importorskip("myst_parser")

ROOT = Path(__file__).parent.parent
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
faults = runpy.run_path(str(ROOT / "docs" / "check.py"))["faults"]
NARROW = ["index", "choosing", "gallery", "capabilities", "reference", "examples/first_vae"]


def built(folder: Path, *options: str) -> Path:
    command = [sys.executable, "-m", "sphinx", "-q", *options, "-d", f"{folder}/trees", "-c", "docs"]
    done = subprocess.run([*command, ".", f"{folder}/site"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of a few of its pages, which is built in a fifth of the time; links to others lead nowhere."""
    pages = ",".join(f"docs/{name}.md" for name in (*NARROW, "posterior-collapse"))
    return built(tmp_path_factory.mktemp("few"), "-D", f"include_patterns={pages}")


@pytest.mark.slow  # of links and headings, see test_pages.py
def test_every_link_leads_somewhere_and_nothing_is_fetched(tmp_path: Path) -> None:
    wrong, external = faults(built(tmp_path, "-W", "--keep-going"))
    assert wrong == []
    assert all(link.startswith("https://") for link in external)


def test_nothing_is_fetched(few: Path) -> None:
    wrong, _ = faults(few)
    assert not [each for each in wrong if "fetched" in each]
    assert (few / "index.html").exists()
    assert (few / "searchindex.js").exists()


def test_a_fault_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<a href="b.html">b</a><a href="#x">x</a><script src="https://cdn.example/x.js"></script><p id="y">'
    )
    wrong, external = faults(tmp_path)
    assert len(wrong) == 3
    assert external == ["https://cdn.example/x.js"]


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_pages_fit_a_phone_and_the_search_works_from_a_folder(few: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 360, "height": 740})
        page.context.set_offline(True)
        for name in NARROW:
            page.goto((few / "docs" / f"{name}.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, name
        page.goto((few / "search.html").as_uri() + "?q=collapse")
        page.wait_for_selector("#search-results a[href*='posterior-collapse']")
        browser.close()
