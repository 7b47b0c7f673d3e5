"""The explorer's page in a real browser: a file that is opened with the network off.

Its models are written down by hand, so that NumPy knows what each place decodes to.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs_for_tests import small_run

from vaekit import explore
from vaekit.runs.run import Run
from vaekit.show.explorer.page import page_of
from vaekit.show.explorer.web import asset

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2] / "explorer"

HOSTILE = '</script><img src=x onerror="window.hacked=1">"\'&'
SIDE, D, N = 12, 3, 60
TIME = 1_700_000_001.0
"""2023-11-14 22:13:21 in seconds since 1970, a number that single precision lacks."""


def packed(array: np.ndarray) -> dict[str, Any]:
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": b64encode(array.tobytes()).decode()}


def program(
    inputs: str, outputs: list[str], constants: dict[str, np.ndarray], nodes: list[tuple[str, list, str]]
) -> dict:
    """A program of the page: names in arguments stand for tensors, "=text" for text."""
    known, written = {*inputs.split(), *constants}, []
    for op, given, out in nodes:
        written.append(
            {"op": op, "in": [{"id": v} if isinstance(v, str) and v in known else v for v in given], "out": out}
        )
        known.add(out)
    return {
        "inputs": inputs.split(),
        "outputs": outputs,
        "constants": constants,
        "nodes": written,
    }


def held(**programs: dict) -> dict[str, Any]:
    """Programs of a scene and the weights that they read."""
    weights = b""
    for each in programs.values():
        constants, each["constants"] = each["constants"], {}
        for name, value in constants.items():
            kind = "float64" if value.dtype == np.float64 else "float32"
            each["constants"][name] = {"shape": list(value.shape), "dtype": kind, "offset": len(weights)}
            weights += value.astype(kind).tobytes()
    return {"programs": programs, "weights": b64encode(weights).decode()}


class Images:
    """x = sigmoid(z W + b); codes are those of the logit of x, by least squares."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.W = rng.normal(size=(D, SIDE * SIDE)).astype(np.float32)
        self.b = rng.normal(size=SIDE * SIDE).astype(np.float32)
        self.z = (rng.normal(size=(N, D)) * [2.0, 1.0, 0.5]).astype(np.float32)
        self.classes = ["nought", "one", HOSTILE]

    def decode(self, z: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-(z @ self.W + self.b)))

    def scene(self) -> dict[str, Any]:
        x = np.rint(255 * self.decode(self.z)).astype(np.uint8)
        centred = self.z - self.z.mean(0)
        _, _, axes = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
        back = np.linalg.pinv(self.W.astype(np.float64)).astype(np.float32)
        y = (np.arange(N) % 3).astype(np.int32)
        decoding = [("mm", ["z", "W"], "h"), ("add", ["h", "b"], "l"), ("sigmoid", ["l"], "m")]
        encoding = [
            ("clamp", ["x", 0.01, 0.99], "c"),
            ("logit", ["c"], "o"),
            ("sub", ["o", "b"], "k"),
            ("mm", ["k", "V"], "z"),
        ]
        encode = program("x", ["z", "sd"], {"b": self.b, "V": back}, [*encoding, ("full_like", ["z", 0.2], "sd")])
        scoring = [
            *encoding,
            *decoding,
            ("sub", ["x", "m"], "d"),
            ("square", ["d"], "q"),
            ("sum", ["q", [1]], "s"),
            ("neg", ["s"], "e"),
        ]
        elbo = -np.sort(np.random.default_rng(1).gamma(2.0, 1.0, 1001))[::-1]
        return {
            "format": 1,
            "title": f"Digits {HOSTILE}",
            "about": ["data of a test", HOSTILE],
            "data": {
                "kind": "images",
                "shape": [1, SIDE, SIDE],
                "range": [0.0, 1.0],
                "columns": None,
                "classes": self.classes,
                "conditional": False,
                "covariates": 0,
            },
            "latents": [
                {
                    "name": "z",
                    "size": D,
                    "shape": [D],
                    "discrete": False,
                    "groups": None,
                    "step": 0,
                    "decoded": True,
                    "kl": [2.0, 1.0, 0.01],
                    "mean": self.z.mean(0).tolist(),
                    "sd": self.z.std(0).tolist(),
                    "active": [True, True, False],
                }
            ],
            "points": {
                "n": N,
                "names": [f"datum {i}" for i in range(N - 1)] + [HOSTILE],
                "x": packed(x),
                "mean": packed(self.z),
                "sd": None,
                "y": packed(y),
                "projections": [
                    {
                        "name": "PCA",
                        "axes": ["first component", "second component"],
                        "xy": packed((centred @ axes[:2].T).astype(np.float32)),
                    }
                ],
                "colours": [
                    {"name": "class", "kind": "category", "values": packed(y), "names": self.classes, "column": None},
                    {
                        "name": HOSTILE,
                        "kind": "number",
                        "values": packed(self.z[:, 0].copy()),
                        "names": None,
                        "column": None,
                    },
                ],
            },
            "reference": {"elbo": elbo.tolist()},
            "components": None,
            "can": ["encode", "decode", "score", "draw", "prior"],
            **held(
                encode=encode,
                decode=program("z", ["m"], {"W": self.W, "b": self.b}, decoding),
                score=program("x", ["e"], {"W": self.W, "b": self.b, "V": back}, scoring),
            ),
        }


def conditional() -> dict[str, Any]:
    """The images, whose bound is 100 nats lower for class one, 200 for the last."""
    scene = Images().scene()
    score, classes = scene["programs"]["score"], [("mul", ["y", 100], "g"), ("sub", ["e", "g"], "bound")]
    added = program("x y e", ["bound"], {}, classes)
    scene["programs"]["score"] = score | {
        "inputs": ["x", "y"],
        "outputs": ["bound"],
        "nodes": [*score["nodes"], *added["nodes"]],
    }
    scene["data"] |= {"conditional": True}
    return scene


def table(*, of_day: bool = False) -> dict[str, Any]:
    """Three columns of one latent: a number that z0 is, a category that it decides, and a time to the second; or a
    count, the category, and a time `of_day` in minutes.
    """
    rng = np.random.default_rng(0)
    z = rng.normal(size=(N, 2)).astype(np.float32)
    start, spread = (600.0, 60) if of_day else (TIME, 6000)
    x = np.stack([50 + 10 * z[:, 0], (z[:, 0] > 0) * 1.0, np.round(spread * z[:, 1]) + start], 1)
    x[3, 0] = np.nan
    columns = [
        {
            "name": HOSTILE,
            "kind": "count" if of_day else "real",
            "levels": None,
            "low": 20.0,
            "high": 80.0,
            "decimals": 0 if of_day else 1,
            "unit": "kg",
            "date": None,
        },
        {
            "name": "kind",
            "kind": "categorical",
            "levels": ["small", HOSTILE],
            "low": 0.0,
            "high": 1.0,
            "decimals": None,
            "unit": None,
            "date": None,
        },
        {
            "name": "when",
            "kind": "date",
            "levels": None,
            "low": start - 3.0 * spread,
            "high": start + 3.0 * spread,
            "decimals": 0,
            "unit": "min" if of_day else "s",
            "date": "%H:%M" if of_day else "date",
        },
    ]
    decoding = [
        ("slice", ["z", 1, 0, 1], "u"),
        ("slice", ["z", 1, 1, 2], "v"),
        ("mul", ["u", 10], "a"),
        ("add", ["a", 50], "c1"),
        ("gt", ["u", 0], "g"),
        ("_to_copy", ["g", "torch.float32"], "c2"),
        ("mul", ["v", spread], "w"),
        ("_to_copy", ["w", "torch.float64"], "d"),
        ("add", ["d", start], "c3"),
        ("cat", [[{"id": "c1"}, {"id": "c2"}, {"id": "c3"}], 1], "m"),
        ("mul", ["u", 3], "l"),
        ("neg", ["l"], "n"),
        ("cat", [[{"id": "n"}, {"id": "l"}], 1], "logits"),
        ("_softmax", ["logits", 1, False], "p"),
    ]
    encoding = [
        ("isnan", ["x"], "hole"),
        ("sub", ["x", "location"], "d"),
        ("div", ["d", "scale"], "q"),
        ("_to_copy", ["q", "torch.float32"], "r"),
        ("where", ["hole", 0.0, "r"], "h"),
        ("mm", ["h", "pick"], "z"),
    ]
    weights = {
        "location": np.array([50.0, 0.0, start]),
        "scale": np.array([10, 1, spread]),
        "pick": np.array([[1, 0], [0, 0], [0, 1]]),
    }
    scoring = [
        *encoding,
        ("square", ["h"], "u"),
        ("mul", ["u", 0.5], "nats"),
        ("sum", ["nats", [1]], "s"),
        ("neg", ["s"], "e"),
    ]
    empty = {"dtype": "float32", "names": None, "values": None}
    return {
        "format": 1,
        "title": "A table",
        "about": ["rows of a test"],
        "data": {
            "kind": "table",
            "shape": [3],
            "range": None,
            "columns": columns,
            "classes": None,
            "conditional": False,
            "covariates": 0,
        },
        "latents": [
            {
                "name": "z",
                "size": 2,
                "shape": [2],
                "discrete": False,
                "groups": None,
                "step": 0,
                "decoded": True,
                "kl": [1.0, 1.0],
                "mean": [0.0, 0.0],
                "sd": [1.0, 1.0],
                "active": [True, True],
            }
        ],
        "points": {
            "n": N,
            "names": None,
            "x": packed(x),
            "mean": packed(z),
            "sd": None,
            "y": None,
            "projections": [],
            "colours": [
                {**empty, "name": HOSTILE, "kind": "number", "column": 0},
                {**empty, "name": "kind", "kind": "category", "names": columns[1]["levels"], "column": 1},
            ],
        },
        "reference": {"elbo": np.linspace(-5, 0, 1001).tolist(), "columns": [0.5, 0.0, 0.5]},
        "components": None,
        "can": ["encode", "decode", "score", "impute"],
        **held(
            encode=program("x", ["z"], weights, encoding),
            decode=program("z", ["m", "p"], {}, decoding),
            score=program("x", ["e", "nats"], weights, scoring),
        ),
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("pages")
    scenes = {"images": Images().scene(), "table": table(), "times": table(of_day=True), "classes": conditional()}
    scenes["sphere"] = Images().scene()
    scenes["sphere"]["latents"][0]["space"] = "sphere"
    for name, scene in scenes.items():
        (folder / f"{name}.html").write_text(page_of(json.dumps(scene)), "utf-8")
    explore(with_gaps(folder), folder / "gaps.html")
    return {name: (folder / f"{name}.html").as_uri() for name in (*scenes, "gaps")}


def with_gaps(folder: Path) -> Run:
    """A run of images that lack their first pixel."""
    x = np.random.default_rng(0).integers(0, 17, (60, 1, 8, 8)).astype(np.float32)
    x[:, 0, 0, 0] = np.nan
    np.savez(folder / "gaps.npz", x=x)
    return small_run(folder / "gaps", f"data.name={folder / 'gaps.npz'}", "data.test=20", "training.batch_size=20")


@pytest.fixture
def visit(browser: Any, files: dict[str, str]) -> Iterator[Callable[..., Any]]:
    """Opens a page, offline; at the end nothing may have been fetched, and nothing gone wrong."""
    wrong: list[str] = []
    contexts = []

    def go(name: str = "images", link: str = "", width: int = 1280, height: int = 800, **options: Any) -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": height}, offline=True, accept_downloads=True, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on(
            "request",
            lambda request: (
                wrong.append(request.url) if not request.url.startswith(("file:", "blob:", "data:")) else None
            ),
        )
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.goto(files[name] + link)
        page.wait_for_selector(".stage[data-ready]")
        return page

    yield go
    for context in contexts:
        context.close()
    assert wrong == []


def shown(page: Any) -> np.ndarray:
    """Grey levels of the decoded picture, 0 to 1."""
    read = (
        "c => Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).filter((_, i) => i % 4 === 0)"
    )
    return np.array(page.locator(".stage canvas").first.evaluate(read)) / 255


def place(page: Any) -> np.ndarray:
    return np.array(page.evaluate("Array.from(explorer.view().place.z)"))


def settled(page: Any, moved: Callable[[], bool]) -> None:
    for _ in range(100):
        if moved():
            return
        page.wait_for_timeout(20)
    raise AssertionError("nothing happened")


def decodes(page: Any) -> None:
    """What is shown is what NumPy makes of the place."""
    settled(page, lambda: bool(np.abs(shown(page) - Images().decode(place(page))).max() < 0.01))


@pytest.mark.skipif(not ROOT.is_dir(), reason="the page's sources are not here")
def test_what_is_built_is_that_of_the_sources() -> None:
    found = sha256()
    for path in sorted(each.relative_to(ROOT).as_posix() for each in (ROOT / "src").rglob("*") if each.is_file()):
        found.update(f"{path}\n".encode() + (ROOT / path).read_bytes())
    assert asset("sources.sha256").strip() == found.hexdigest(), "run npm run build in explorer/"


def test_places_stay_on_the_space_of_the_codes(visit: Callable[..., Any]) -> None:
    """Whatever a slider, a link or a walk along a line says: nothing is decoded that is no code of the model."""
    own = Images()
    page = visit("sphere", "#at=4;0:1.5")

    def looked_at() -> bool:
        z = place(page) / np.linalg.norm(place(page))
        return bool(np.allclose(shown(page), own.decode(z[None])[0], atol=1e-2))

    settled(page, looked_at)
    page.get_by_label("z0", exact=True).press("ArrowRight")
    assert np.linalg.norm(place(page)) == pytest.approx(1, abs=1e-5)
    settled(page, looked_at)
    page.get_by_role("tab", name="Journeys").click()
    page.get_by_label("How far along").press("ArrowRight")
    assert np.linalg.norm(place(page)) == pytest.approx(1, abs=1e-5)


def test_the_decoded_picture_follows_the_slider_and_the_address(visit: Callable[..., Any]) -> None:
    page = visit()
    decodes(page)
    slider = page.get_by_label("z0", exact=True)  # as files of codes and pictures count them
    box = slider.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    assert place(page)[0] == pytest.approx(float(slider.input_value()), abs=1e-5)
    decodes(page)
    # Those that tell most come first, what tells nothing is folded away, and a strip walks along each.
    assert page.locator(".slider label").all_inner_texts()[:2] == ["z0", "z1"]
    assert not page.get_by_label("z2", exact=True).is_visible()
    page.wait_for_selector(".slider .strip")
    settled(page, lambda: ";0:3" in page.evaluate("location.hash"))
    again = visit(link=page.evaluate("location.hash"))
    np.testing.assert_allclose(place(again), place(page), atol=1e-3)


def test_a_link_restores_a_view_also_on_a_page_that_is_open(visit: Callable[..., Any]) -> None:
    page = visit(link="#at=5;1:2.5&map=z:2,0&colour=class&panel=journeys&journey=line&a=7&b=8&t=0.25&spherical=1")
    np.testing.assert_allclose(place(page), [*Images().z[5][:1], 2.5, Images().z[5][2]], atol=1e-5)
    assert page.get_by_role("tab", name="Journeys").get_attribute("aria-selected") == "true"
    assert page.get_by_label("across").input_value() == "2"
    page.evaluate("location.hash = '#at=9&panel=sliders'")
    settled(page, lambda: bool(np.allclose(place(page), Images().z[9])))
    # What a link names wrongly is left out.
    page.evaluate("location.hash = '#at=999&map=nonsense&a=1;99:3&panel=<b>&t=x'")
    page.wait_for_timeout(100)
    np.testing.assert_allclose(place(page), Images().z[9])


def test_a_link_keeps_the_class_of_a_place_that_is_kept(visit: Callable[..., Any]) -> None:
    page = visit("classes", link="#at=4&panel=journeys")  # of class 1
    page.get_by_role("group", name="Condition: class").get_by_role("button").nth(2).click()
    page.get_by_role("button", name="Keep this place as A").click()
    settled(page, lambda: "ya=2" in page.evaluate("location.hash"))
    again = visit("classes", link=page.evaluate("location.hash"))
    assert again.evaluate("['a', 'b'].map(s => explorer.view().slots[s].y)") == [2, 1]


def test_the_map_is_clicked_dragged_and_zoomed(visit: Callable[..., Any]) -> None:
    page = visit(link="#map=z:0,1&at=0")
    box = page.locator("#map").bounding_box()
    before = place(page)
    page.mouse.click(box["x"] + 5, box["y"] + box["height"] - 5)  # a corner, where no datum is
    settled(page, lambda: not np.allclose(place(page), before))
    assert page.locator(".place").inner_text().startswith("No datum")
    assert place(page)[2] == before[2]
    decodes(page)
    corner = place(page)
    page.mouse.move(box["x"] + 5, box["y"] + box["height"] - 5)  # the place is a handle
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    assert (place(page)[:2] > corner[:2]).all()
    page.mouse.wheel(0, -400)
    page.keyboard.press("Tab")
    decodes(page)
    page.get_by_role("button", name="Decoded ground").click()
    page.wait_for_timeout(300)


def test_everything_can_be_done_by_keys(visit: Callable[..., Any]) -> None:
    page = visit(link="#at=0")
    page.locator("#map").focus()
    for key in ("ArrowRight", "ArrowRight", "b", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    kept = page.evaluate("[explorer.view().slots.b.datum, explorer.view().place.datum]")
    assert kept[0] not in (0, None)
    assert kept[1] not in (kept[0], None)
    settled(page, lambda: page.locator("#said").inner_text().startswith("datum"))
    page.keyboard.press("Shift+ArrowUp")
    assert page.evaluate("explorer.view().place.datum") is None
    page.locator("#tab-sliders").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#panel-journeys").is_visible()
    page.get_by_label("How far along").focus()
    page.keyboard.press("End")
    assert page.evaluate("explorer.view().place.datum") == kept[0]
    page.locator("#tab-journeys").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="Clear", exact=True).focus()
    page.keyboard.press("Enter")
    page.locator("#pad").focus()
    empty = place(page)
    for key in ("ArrowDown", "Space", "Shift+ArrowDown", "Shift+ArrowDown"):
        page.keyboard.press(key)
    settled(page, lambda: not np.allclose(place(page), empty))
    # All that can be pressed or moved has a name, and where one is can be seen.
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, input, select, [tabindex]')]"
        ".filter(e => e.offsetParent && !e.getAttribute('aria-label')"
        " && !e.textContent.trim() && !(e.labels && e.labels.length)).map(e => e.outerHTML)"
    )
    assert unnamed == []
    assert page.locator("#pad").evaluate("e => getComputedStyle(e).outlineStyle") == "solid"


def test_a_digit_is_drawn_with_the_mouse(visit: Callable[..., Any]) -> None:
    page = visit(link="#panel=own")
    page.wait_for_selector("[data-ready] .verdict")
    page.get_by_role("button", name="Clear", exact=True).click()
    before = place(page)
    box = page.locator("#pad").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 10, steps=4)
    page.mouse.up()
    settled(page, lambda: not np.allclose(place(page), before))
    assert "strange" in page.locator(".verdict").inner_text().lower()
    decodes(page)


def test_pixels_that_are_missing_are_seen_through_until_they_are_painted(visit: Callable[..., Any]) -> None:
    page = visit("gaps", link="#panel=own&at=4")
    page.wait_for_selector("[data-ready] .verdict")
    page.get_by_role("button", name="Take the datum on the map").click()
    opacities = """() => [...document.querySelectorAll('.trio canvas')].map(
        c => [0, 1].map(x => c.getContext('2d').getImageData(x, 0, 1, 1).data[3]))"""
    settled(page, lambda: page.evaluate(opacities) == [[0, 255], [255, 255], [0, 255]])
    box = page.locator("#pad").bounding_box()
    page.mouse.click(box["x"] + 2, box["y"] + 2)
    settled(page, lambda: page.evaluate(opacities) == [[255, 255]] * 3)


def test_a_class_that_is_pressed_is_that_of_ones_own_input(visit: Callable[..., Any]) -> None:
    page = visit("classes", link="#panel=own&at=4")  # of class 1

    def pressed(number: int) -> bool:
        """Whether the place is of that class, and the bound, some nats without it, that of it."""
        text = page.locator(".oddness .mark").text_content().split()[0].replace("−", "-")
        return page.evaluate("explorer.view().place.y") == number and abs(float(text) + 100 * number) < 50

    page.wait_for_selector("[data-ready] .verdict")
    settled(page, lambda: pressed(1))
    buttons = page.get_by_role("group", name="Condition: class").get_by_role("button")
    buttons.nth(2).click()
    settled(page, lambda: pressed(2))
    page.get_by_role("button", name="Take the datum on the map").click()
    settled(page, lambda: pressed(1))
    buttons.nth(0).click()
    settled(page, lambda: pressed(0))
    before = place(page)
    page.get_by_role("button", name="Clear", exact=True).click()
    settled(page, lambda: pressed(0) and not np.allclose(place(page), before))


def test_an_image_is_dropped(visit: Callable[..., Any]) -> None:
    page = visit(link="#panel=own")
    # White on transparent, in the middle: the pad shows it on black.
    page.evaluate(
        """async () => {
            const c = document.createElement('canvas'); c.width = c.height = 96;
            const g = c.getContext('2d'); g.fillStyle = 'white'; g.fillRect(32, 16, 32, 64);
            const file = new File([await new Promise(r => c.toBlob(r))], 'digit.png', {type: 'image/png'});
            const data = new DataTransfer(); data.items.add(file);
            for (const type of ['dragover', 'drop'])
                document.querySelector('.dropzone').dispatchEvent(
                    new DragEvent(type, {dataTransfer: data, bubbles: true, cancelable: true}));
        }"""
    )
    read = (
        "c => Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).filter((_, i) => i % 4 === 0)"
    )
    wanted = np.zeros((SIDE, SIDE))
    wanted[2:10, 4:8] = 255
    settled(page, lambda: bool(np.abs(np.array(page.locator("#pad").evaluate(read)) - wanted.ravel()).max() < 40))
    page.evaluate(
        """() => {
            const data = new DataTransfer(); data.items.add(new File(['no image'], 'x.png', {type: 'image/png'}));
            document.querySelector('.dropzone').dispatchEvent(
                new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}));
        }"""
    )
    page.wait_for_selector(".problem")
    assert "no image" in page.locator(".problem").inner_text()
    page.locator(".problem span").click()
    assert page.locator(".problem").is_visible()
    page.get_by_role("tab", name="Journeys").click()
    assert page.locator(".problem").is_hidden()


def test_journeys_play_and_are_saved(visit: Callable[..., Any]) -> None:
    page = visit(link="#panel=journeys&journey=line&a=1&b=2", reduced_motion="reduce")
    page.wait_for_selector(".film")
    page.get_by_role("button", name="Play").click()
    settled(page, lambda: page.evaluate("explorer.view().t") > 0)
    page.get_by_role("button", name="Pause").click()
    decodes(page)
    for name in ("A − B + C", "Posterior", "Prior"):
        page.get_by_role("radio", name=name).click()
        page.wait_for_timeout(150)
        page.wait_for_selector(".film .frame")
    with page.expect_download() as download:
        page.locator(".film .quiet").first.click()
    assert download.value.suggested_filename.endswith(".png")
    assert Path(download.value.path()).read_bytes()[:4] == b"\x89PNG"
    # A waiting slot is filled by the datum that is chosen next.
    page.get_by_role("radio", name="From A to B").click()
    page.locator(".chip").first.click()
    page.locator("#map").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.evaluate("explorer.view().slots.a.datum === explorer.view().place.datum")


def test_names_are_text_whatever_they_are(visit: Callable[..., Any]) -> None:
    for name in ("images", "table"):
        page = visit(name, link="#panel=journeys")
        page.get_by_label("Colour by").select_option(HOSTILE)
        page.get_by_role("tab", name="Your own").click()
        page.wait_for_selector("[data-ready] .verdict")
        page.locator("#map").focus()
        page.keyboard.press("ArrowRight")
        assert page.evaluate("window.hacked") is None
        assert page.locator("main img, main script").count() == 0
        assert page.evaluate("document.body.innerText.includes('onerror')")


def test_a_row_is_edited_and_a_cell_cleared(visit: Callable[..., Any]) -> None:
    page = visit("table", link="#panel=own&at=0")
    page.wait_for_selector(".contributions")
    number = page.locator("#cell-0")
    number.fill("75")
    settled(page, lambda: bool(abs(place(page)[0] - 2.5) < 1e-4))
    assert "Stranger than" in page.locator(".verdict").inner_text()
    assert page.locator(".contributions .name").first.text_content() == HOSTILE  # not laid out where out of sight
    time = page.locator("#cell-2")
    own = np.datetime64(round(page.evaluate("explorer.scene.datum(0)[2]")), "s")
    assert time.input_value() == str(own)
    box, field = time.bounding_box(), page.locator(".field.time").bounding_box()
    assert box["x"] + box["width"] <= field["x"] + field["width"]
    time.fill("2023-11-14T22:13:21")
    settled(page, lambda: place(page)[1] == 0)
    time.fill("2023-11-14T22:13:24")
    settled(page, lambda: bool(abs(place(page)[1] - 3 / 6000) < 1e-9))
    page.get_by_label(f"Clear {HOSTILE}").click()
    settled(page, lambda: page.locator(".hint").first.inner_text() == "likely 50.0 kg")
    # A bound of fewer cells than others have is not held against theirs, and what is not there is not odd.
    assert page.locator(".verdict").inner_text().startswith("Bound of 2 of 3 cells: ")
    assert HOSTILE not in page.locator(".contributions .name").all_text_contents()
    with page.expect_download() as download:
        page.locator(".answer").get_by_role("button", name="Save PNG").click()
    assert Path(download.value.path()).read_bytes()[:4] == b"\x89PNG"
    page.locator("#cell-1").select_option("")
    settled(page, lambda: "likely" in page.locator(".hint").nth(1).inner_text())


def test_a_time_of_day_has_no_date(visit: Callable[..., Any]) -> None:
    page = visit("times", link="#panel=own&at=0")
    page.wait_for_selector(".answer[data-ready]")
    time, own = page.locator("#cell-2"), round(page.evaluate("explorer.scene.datum(0)[2]"))
    assert time.get_attribute("type") == "time"
    assert time.input_value()[:5] == f"{own // 60:02d}:{own % 60:02d}"
    time.fill("11:30")
    settled(page, lambda: bool(abs(place(page)[1] - 90 / 60) < 1e-6))
    page.get_by_label("Clear when").click()
    settled(page, lambda: page.locator(".hint").nth(2).inner_text() == "likely 10:00")


def test_a_cell_that_its_column_cannot_have_is_said(visit: Callable[..., Any]) -> None:
    page = visit("times", link="#panel=own&at=0")
    page.wait_for_selector(".answer[data-ready]")
    for wrong in ("-3", "2.5"):
        page.locator("#cell-0").fill(wrong)
        said = f"The model holds this for impossible: {HOSTILE} has whole numbers from 0 on"
        settled(page, lambda said=said: page.locator(".verdict").inner_text() == said)
        assert page.locator(".contributions").count() == 0
        page.locator("#cell-0").fill("60")
        settled(page, lambda: "of the training data" in page.locator(".verdict").inner_text())


@pytest.mark.parametrize("name", ["images", "table"])
def test_a_narrow_window_never_scrolls_sideways(visit: Callable[..., Any], name: str) -> None:
    page = visit(name, width=360, height=740, has_touch=True)
    for tab in ("Sliders", "Journeys", "Your own"):
        page.get_by_role("tab", name=tab).tap()
        page.wait_for_timeout(150)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.locator("#map").tap()


def test_light_and_dark(visit: Callable[..., Any]) -> None:
    def ground() -> str:
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    page = visit(color_scheme="dark")
    assert ground() == "rgb(20, 23, 27)"
    page.emulate_media(color_scheme="light")
    assert ground() == "rgb(255, 255, 255)"
    page.get_by_role("button", name="Dark", exact=True).click()
    assert ground() == "rgb(20, 23, 27)"
    page.reload()
    assert ground() == "rgb(20, 23, 27)"
