"""How fast the explorer's page is in Chromium without a graphics card: its start, the map's frames, a slider's answer.

    python benchmarks/explorer.py --report benchmarks/explorer.md

A page in one file, of 10,000 data of 28 x 28 pixels and a decoder of 20, 400 and 784 units, whose weights are random.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from machine import heading
from playwright.sync_api import sync_playwright

from vaekit.show.explorer.page import page_of
from vaekit.show.explorer.values import as_json, packed

SIDE, LATENT, HIDDEN = 28, 20, 400
PAN = """frames => new Promise(done => {
    const start = performance.now(); let n = 0, work = 0;
    const step = () => {
        const before = performance.now(); explorer.frame(n % 2 ? 3 : -3); work += performance.now() - before;
        if (++n < frames) requestAnimationFrame(step); else done([1000 * n / (performance.now() - start), work / n]);
    };
    requestAnimationFrame(step);
})"""
SLIDE = """async times => {
    const slider = document.querySelector('.slider input');
    const canvas = document.querySelector('.stage canvas'), found = [];
    const pixels = () =>
        canvas.getContext('2d').getImageData(0, 0, 28, 28).data.join();
    for (let i = 0; i < times; i++) {
        const before = pixels(), start = performance.now();
        slider.value = -2 + 4 * ((i * 7) % times) / times;
        slider.dispatchEvent(new Event('input'));
        while (pixels() === before && performance.now() - start < 2000) await new Promise(f => setTimeout(f));
        found.push(performance.now() - start);
        await new Promise(f => setTimeout(f, 60));
    }
    return found;
}"""


def scene(points: int) -> dict[str, Any]:
    """A scene of random data, codes and weights."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(points, LATENT)).astype(np.float32)
    y = rng.integers(0, 10, points).astype(np.int32)
    constants = {
        "W": rng.normal(size=(HIDDEN, LATENT)),
        "b": rng.normal(size=HIDDEN),
        "V": rng.normal(size=(SIDE**2, HIDDEN)) / 20,
        "c": rng.normal(size=SIDE**2),
    }
    weights, where = b"", {}
    for name, value in constants.items():
        where[name] = {"shape": list(value.shape), "dtype": "float32", "offset": len(weights)}
        weights += value.astype(np.float32).tobytes()
    steps = [
        ("t", "W"),
        ("addmm", "b", "z", "t0"),
        ("relu", "t1"),
        ("t", "V"),
        ("addmm", "c", "t2", "t3"),
        ("sigmoid", "t4"),
    ]
    nodes = [{"op": op, "in": [{"id": each} for each in given], "out": f"t{i}"} for i, (op, *given) in enumerate(steps)]
    data = {"kind": "images", "shape": [1, SIDE, SIDE], "range": [0, 1], "columns": None, "covariates": 0}
    latent = {
        "name": "z",
        "size": LATENT,
        "shape": [LATENT],
        "discrete": False,
        "groups": None,
        "step": 0,
        "decoded": True,
    }
    spread = {"kl": [1.0] * LATENT, "mean": [0.0] * LATENT, "sd": [1.0] * LATENT, "active": [True] * LATENT}
    classes = [str(k) for k in range(10)]
    return {
        "format": 1,
        "title": "Speed",
        "about": ["random weights"],
        "data": data | {"classes": classes, "conditional": False},
        "latents": [latent | spread],
        "points": {
            "n": points,
            "names": None,
            "x": rng.integers(0, 256, (points, SIDE**2)).astype(np.uint8),
            "mean": z,
            "sd": None,
            "y": y,
            "projections": [{"name": "t-SNE", "axes": ["", ""], "xy": rng.normal(size=(points, 2)).astype(np.float32)}],
            "colours": [{"name": "class", "kind": "category", "values": y, "names": classes, "column": None}],
        },
        "reference": {"elbo": []},
        "components": None,
        "can": ["decode"],
        "programs": {
            "decode": {
                "inputs": ["z"],
                "outputs": ["t5"],
                "constants": where,
                "nodes": nodes,
            }
        },
        "weights": packed(np.frombuffer(weights, np.uint8))["data"],
    }


def measured(path: Path, frames: int) -> list[tuple[str, str]]:
    """Each number with its name."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        starts = []
        for _ in range(3):
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(path.as_uri())
            page.wait_for_selector(".stage[data-ready]")
            starts.append(
                page.evaluate("[performance.now(), performance.getEntriesByName('first decode')[0].duration]")
            )
        page.wait_for_timeout(1500)
        rate, work = page.evaluate(PAN, frames)
        slides = page.evaluate(SLIDE, 30)
        version = browser.version
        start, decode = map(median, zip(*starts, strict=True))
        browser.close()
    return [
        ("Chromium, software rendering", version),
        ("file", f"{path.stat().st_size / 2**20:.1f} MB"),
        ("from opening to the first decoded picture", f"{start:.0f} ms"),
        ("of these the first decode", f"{decode:.0f} ms"),
        ("the map of 10,000 points while it is dragged", f"{rate:.0f} frames/s, {work:.1f} ms a frame"),
        ("from a slider's move to the picture", f"{median(slides):.1f} ms, at most {max(slides):.1f} ms"),
    ]


def main() -> None:
    """Measure, print, and write a report where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--report", type=Path)
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--frames", type=int, default=200)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(page_of(as_json(scene(asked.points))), encoding="utf-8")
        rows = measured(path, asked.frames)
    lines = [heading("The explorer's page"), "| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    print(json.dumps(dict(rows), indent=1))
    if asked.report:
        asked.report.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
