"""The page as one file: all that it needs is in it, and no name in it is taken for a part of the page."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from explorer_for_tests import HOSTILE, run_of

from vaekit import explore
from vaekit.runs.run import Run
from vaekit.show.explorer import page, place, scene
from vaekit.show.explorer.web import SCRIPT, operators

pytestmark = pytest.mark.filterwarnings("ignore:`isinstance:FutureWarning")  # of torch.export


class Seen(HTMLParser):
    """What a browser would see: elements with their attributes, and what scripts and styles hold."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.held: list[tuple[str, dict[str, str | None], str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and data.strip():
            self.held.append((*self.tags[-1], data))


def scene_in(text: str) -> dict[str, Any]:
    """The scene that a page has in it."""
    (found,) = (json.loads(data) for _, attributes, data in Seen(text).held if attributes.get("id") == "scene")
    return found


def hostile(run: Run) -> Run:
    """A run whose title and classes are named to be taken for a part of the page."""
    classes = (HOSTILE, *run.schema.classes[1:])
    spec, schema = run.spec.model_copy(update={"title": HOSTILE}), run.schema.model_copy(update={"classes": classes})
    return replace(run, spec=spec, schema=schema)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file of a run whose names are hostile."""
    path = tmp_path_factory.mktemp("file") / "page.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scene, "REFERENCE", 60)
        assert explore(hostile(run_of("mlp")), path).notes == ()
    return path.read_text(encoding="utf-8")


def test_nothing_is_fetched(written: str) -> None:
    seen = Seen(written)
    for tag, attributes in seen.tags:
        for name in ("src", "href", "srcset", "action", "data"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, attributes)
    policy = next(each["content"] for tag, each in seen.tags if "http-equiv" in each)
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "connect-src" not in policy


def test_the_policy_lets_the_pages_own_script_run_and_no_other(written: str) -> None:
    seen = Seen(written)
    scripts = [text for tag, attributes, text in seen.held if tag == "script" and "type" not in attributes]
    (policy,) = (str(each["content"]) for _, each in seen.tags if "http-equiv" in each)
    assert len(scripts) == 1
    digest = b64encode(sha256(scripts[0].encode()).digest()).decode()
    assert re.findall(r"'sha256-([^']+)'", policy) == [digest]


def test_hostile_names_stand_in_the_scene_alone(written: str) -> None:
    seen, told = Seen(written), scene_in(written)
    assert told["title"] == told["data"]["classes"][0] == HOSTILE
    assert not any(tag == "img" for tag, _ in seen.tags)
    assert {"encode", "decode", "score", "draw", "impute", "prior"} == set(told["can"])
    assert set(told["programs"]) == {"encode", "decode", "score"}
    assert {node["op"] for each in told["programs"].values() for node in each["nodes"]} <= operators()


def test_the_file_says_nothing_of_the_users_folders() -> None:
    run = run_of("mlp")
    data = run.spec.data.model_copy(update={"name": "/home/somebody/secret/digits"})
    away = replace(run, spec=run.spec.model_copy(update={"data": data, "title": ""}), path=Path("/home/secret/mine"))
    told = scene.scene_of(away, points=5)
    assert "secret" not in "".join([told.title, *told.about])
    assert told.title == "mine"


def test_a_file_that_can_not_be_written_or_decoded_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of("mlp")
    with pytest.raises(ValueError, match=r"page\.htm: unknown ending '\.htm'"):
        explore(run, tmp_path / "page.htm")
    with pytest.raises(ValueError, match="there is no folder"):
        explore(run, tmp_path / "none" / "page.html")
    (mine := tmp_path / "mine.html").write_text("mine")
    with pytest.raises(
        ValueError, match=r"mine\.html is there already; name another, or add overwrite=True to replace"
    ):
        explore(run, mine)
    assert mine.read_text() == "mine"
    mine.unlink()
    with pytest.raises(ValueError, match="overwrite=True is for a file"):
        place.check_place(None, overwrite=True)
    monkeypatch.setattr(page, "operators", lambda: operators() - {"addmm"})
    with pytest.raises(ValueError, match=r"its decoder can't be put into a file: .*addmm$") as caught:
        explore(run, tmp_path / "page.html")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_what_a_file_can_not_do_is_said_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, path = run_of("mlp"), tmp_path / "page.html"
    graph_of = page.graph_of

    def failing(program: page.Program, *given: object) -> page.Graph:
        if program.name != "decode":
            raise RuntimeError("not this one\nat all")
        return graph_of(program, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(page, "graph_of", failing)
    monkeypatch.setattr(page, "LARGEST", 1)
    notes = explore(run, path, points=7).notes
    assert notes == tuple(
        f"this file can't {each} (not this one); a page that is served can" for each in ("encode", "score")
    )
    (told,) = (
        json.loads(text) for _, attributes, text in Seen(path.read_text()).held if attributes.get("id") == "scene"
    )
    assert (told["can"], told["points"]["n"]) == (["decode", "prior"], 7)
    assert set(notes) <= set(told["about"])


def test_the_script_does_not_end_its_element_and_fetches_from_its_own_place_alone() -> None:
    script = page.asset(SCRIPT)
    assert "</script" not in script.lower()
    assert page.LINK in page.asset(page.PAGE)
    assert page.SOURCE in page.asset(page.PAGE)
    assert set(re.findall(r"https?://[^\s\"'`)]+", script)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xhtml",
    }
