"""Runs on the hub: pushed to a stub of its API on this machine, and read back from it."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard, constants
from models_for_tests import refuses
from runs_for_tests import small_run

from vaekit import from_pretrained, push
from vaekit.cli import main
from vaekit.interop.hub import FILES, Licences
from vaekit.runs.run import Run
from vaekit.spec.parsing import changed

REPO, COMMIT = "someone/digits", "0123456789abcdef0123456789abcdef01234567"
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")


@dataclass
class Stub:
    """A hub with the files of one repository."""

    address: str = ""
    made: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


def handler_of(stub: Stub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *given: Any) -> None:
            pass

        def give(self, content: bytes | dict[str, Any], status: int = 200, **headers: str) -> None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), "X-Repo-Commit": COMMIT, **headers}.items():
                self.send_header(key.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            stub.asked.append(f"POST {self.path}")
            if self.path == "/api/repos/create":
                stub.made.append(json.loads(text))
                self.give({"url": f"{stub.address}/{REPO}", "id": REPO})
            elif self.path == "/api/validate-yaml":
                self.give({"errors": [], "warnings": []})
            elif "/preupload/" in self.path:
                names = [each["path"] for each in json.loads(text)["files"]]
                modes = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]
                self.give({"files": modes})
            elif "/commit/" in self.path:
                for line in map(json.loads, text.splitlines()):
                    if line["key"] == "deletedFile":
                        del stub.files[line["value"]["path"]]
                    elif line["key"] == "file":
                        stub.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                self.give({"commitUrl": f"{stub.address}/{REPO}/commit/{COMMIT}", "commitOid": COMMIT})
            else:
                self.give({"error": "no such call"}, 404)

        def do_GET(self) -> None:
            stub.asked.append(f"{self.command} {self.path}")
            if found := re.fullmatch(f"/{REPO}/resolve/[^/]+/(.+)", self.path):
                content = stub.files[found[1]]
                self.give(content, ETag=f'"{abs(hash(content)):x}"')
            elif self.path.startswith(f"/api/models/{REPO}/tree/"):
                rows = [
                    {"type": "file", "path": name, "size": len(content), "oid": f"{abs(hash(content)):x}"}
                    for name, content in stub.files.items()
                ]
                self.give(json.dumps(rows).encode())
            elif self.path.startswith(f"/api/models/{REPO}"):
                self.give({"id": REPO, "sha": COMMIT, "siblings": [{"rfilename": name} for name in stub.files]})
            else:
                self.give({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")

        do_HEAD = do_GET  # noqa: N815

    return Handler


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    stub = Stub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(stub))
    stub.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", stub.address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", stub.address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    yield stub
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = small_run(tmp_path_factory.mktemp("hub") / "run")
    (made.path / "pictures").mkdir(exist_ok=True)
    (made.path / "pictures" / "samples.png").write_bytes(PNG)
    (made.path / "pictures" / "notes.txt").write_text("mine")
    return made


def test_a_run_comes_back_as_it_was_pushed(run: Run, stub: Stub, tmp_path: Path) -> None:
    scores = run.evaluate("test", 5)
    address = push(run, REPO, scores, licences=Licences("apache-2.0"), private=True)
    assert address == f"{stub.address}/{REPO}"
    assert (stub.made[0]["name"], stub.made[0]["visibility"]) == ("digits", "private")
    assert set(stub.files) == {*FILES, "pictures/samples.png"}
    stub.files["pictures/../../evil.py"] = b"raise SystemExit"
    stub.files["modeling.py"] = b"raise SystemExit"
    there = from_pretrained(REPO, folder=tmp_path / "there")
    codes = torch.zeros(2, 3)
    assert torch.equal(there.model.decode(codes), run.model.decode(codes))
    assert not list(tmp_path.rglob("*.py"))
    assert there.evaluate("test", 5).elbo == scores.elbo
    cached = from_pretrained(REPO)
    assert torch.equal(cached.model.decode(codes), run.model.decode(codes))


def test_pictures_that_a_run_no_longer_has_are_there_no_longer(run: Run, stub: Stub) -> None:
    stub.files |= {"pictures/old.png": PNG, "pictures/of-mine.txt": b"mine", "LICENSE": b"mine"}
    push(run, REPO, None)
    assert set(stub.files) == {*FILES, "pictures/samples.png", "pictures/of-mine.txt", "LICENSE"}


def test_the_card_says_what_the_model_is_worth(run: Run, stub: Stub) -> None:
    scores = run.evaluate("test", 5)
    push(run, REPO, scores, licences=Licences("apache-2.0"))
    card = ModelCard(stub.files["README.md"].decode())
    said, text = card.data, card.text
    assert (said.license, said.library_name) == ("apache-2.0", "vaekit")
    values = {each.metric_type: each.metric_value for each in said.eval_results}
    assert values["nll"] == round(scores.nll, 4)
    assert f"| NLL, nats | {scores.nll:.2f} ± {scores.nll_stderr:.2f} |" in text
    assert "CC BY 4.0" in text
    assert "(pictures/samples.png)" in text
    assert f"from_pretrained('{REPO}')" in text
    assert "The data are not here, but for those that the pictures show;" in text


def test_of_the_owners_machine_nothing_is_pushed_but_names_of_files(stub: Stub, tmp_path: Path) -> None:
    from vaekit import train

    secret = tmp_path / "home of alice" / "ages.csv"
    secret.parent.mkdir()
    secret.write_text("age,city\n" + "".join(f"{20 + i % 30}.5,{'AB'[i % 2]}\n" for i in range(60)))
    run = train("table", tmp_path / "run", data=secret, sets=["training.steps=5"])
    term = f"objective.terms.perceptual={{weights='{secret.parent}/vgg.safetensors'}}"
    push(replace(run, spec=changed(run.spec, [term])), REPO)
    for name, content in stub.files.items():
        assert b"alice" not in content, name
    assert json.loads(stub.files["spec.json"])["spec"]["data"]["name"] == "ages.csv"
    assert "Not scored" in stub.files["README.md"].decode()
    assert from_pretrained(REPO, folder=tmp_path / "there").schema == run.schema


def test_what_the_card_says_of_its_use_can_be_done(stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vaekit import train

    (kept := tmp_path / "kept").mkdir()
    (kept / "ages.csv").write_text("age,city\n" + "".join(f"{20 + i % 30}.5,{'AB'[i % 2]}\n" for i in range(60)))
    sets = ["training.steps=5", "model.condition=true", "data.covariates.city=categorical"]
    push(train("table", tmp_path / "run", data=kept / "ages.csv", sets=sets), REPO)
    (program,) = re.findall(r"```python\n(.*?)```", stub.files["README.md"].decode(), re.S)
    monkeypatch.chdir(tmp_path)
    known: dict[str, Any] = {}
    exec(program.replace("PATH", "kept/ages.csv"), known)
    assert known["samples"].shape == (16, 1)


def test_refusals_are_a_line(run: Run, stub: Stub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with refuses("the hub has no nobody/nothing that you may see"):
        from_pretrained("nobody/nothing")
    with refuses("is no folder and no repository"):
        from_pretrained("https://example.org/x y")
    assert main(["push", str(run.path), "a//b", "--samples", "0"]) == 2
    assert capsys.readouterr().err.startswith("vaekit: a//b: ")


def test_the_command_says_where_it_is(run: Run, stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", str(run.path), REPO, "--samples", "2", "--license", "mit"]) == 0
    assert capsys.readouterr().out.split()[-1] == f"{stub.address}/{REPO}"
    assert "license: mit" in stub.files["README.md"].decode()


def test_without_a_way_it_says_so(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with refuses("there is no way to someone/digits from here"):
        from_pretrained(REPO)

    def scored(*given: object, **named: object) -> None:
        raise AssertionError("it was scored for a hub that can't be reached")

    monkeypatch.setattr(Run, "evaluate", scored)
    assert main(["push", str(run.path), REPO]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("vaekit: there is no way to the hub from here: ")
