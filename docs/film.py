"""Writes docs/explorer.gif, a minute with the explorer's page in a few seconds: `python docs/film.py RUN`."""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

import vaekit

TO = Path(__file__).parent / "explorer.gif"
SIZE = {"width": 1120, "height": 760}
FRAME = 90
"""Milliseconds of a frame."""


def acted(page: Any) -> Iterator[int]:
    """What is done on the page, a yield for each frame: how many frames it stands."""
    yield 6
    where = page.locator(".map canvas").first.bounding_box()
    for step in range(14):  # over the map, from one datum to another
        page.mouse.click(where["x"] + where["width"] * (0.25 + 0.04 * step), where["y"] + where["height"] * 0.5)
        yield 2
    slider = page.locator(".slider input").first
    for step in [*range(-6, 7), *range(6, -1, -1)]:
        slider.evaluate(
            "(e, t) => { const low = +e.min, high = +e.max; e.value = low + (high - low) * (t + 6) / 12;"
            " e.dispatchEvent(new Event('input', {bubbles: true})); }",
            step,
        )
        yield 1
    page.get_by_role("tab", name="Your own").click()
    pad = page.locator("#pad")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    line = [(0.3, 0.2), (0.7, 0.2), (0.62, 0.42), (0.52, 0.62), (0.45, 0.85)]
    page.get_by_role("button", name="Clear").first.click()
    for i, (x, y) in enumerate(line):
        page.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * y, steps=6)
        if i == 0:
            page.mouse.down()
        yield 2
    page.mouse.up()
    yield 14


def main() -> None:
    """The film, of the run whose folder is given."""
    run, frames, lasting = vaekit.load_run(sys.argv[1]), [], []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "page.html"
        vaekit.explore(run, file)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(file.as_uri())
        page.wait_for_selector(".slider input")
        for stands in acted(page):
            page.wait_for_timeout(150)
            shot = Image.open(io.BytesIO(page.screenshot()))
            frames.append(shot.convert("RGB").resize((SIZE["width"] * 3 // 4, SIZE["height"] * 3 // 4), Image.LANCZOS))
            lasting.append(stands * FRAME)
        browser.close()
    both = Image.new("RGB", (frames[0].width * 2, frames[0].height))
    for i in (0, -1):
        both.paste(frames[i], (frames[0].width * (i + 1), 0))
    colours = both.quantize(256)
    first, *others = [each.quantize(palette=colours, dither=Image.Dither.NONE) for each in frames]
    first.save(TO, save_all=True, append_images=others, duration=lasting, loop=0, optimize=True)


if __name__ == "__main__":
    main()
