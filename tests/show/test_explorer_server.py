"""The page that is served: for who has its address alone, and nothing but the page."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands_for_tests import AT_A_TERMINAL, SECONDS, environment
from explorer_for_tests import run_of
from runs_for_tests import small_run

from vaekit import explore
from vaekit.show.explorer import server
from vaekit.show.explorer.answers import Answers
from vaekit.show.explorer.place import bound
from vaekit.show.explorer.server import LARGEST, Service, serve
from vaekit.show.explorer.values import packed

TOKEN, HOST = "a token", "127.0.0.1:1"
HEADERS = {"host": HOST, "x-token": TOKEN}


def asked(
    path: str,
    body: bytes | object = b"",
    headers: dict[str, str] | None = None,
    method: str = "POST",
    stopped: list[str] | None = None,
    kind: str = "mlp",
) -> tuple[int, dict[str, str], bytes]:
    """What the service answers to one request: status, headers, body."""
    path, _, query = path.partition("?")
    stop = (lambda: stopped.append("yes")) if stopped is not None else (lambda: None)
    app = Service(Answers(run_of(kind)), '{"the":"scene"}', TOKEN, (HOST,), stop).app()
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = [(k.encode(), v.encode()) for k, v in (HEADERS if headers is None else headers).items()]
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": given,
        "http_version": "1.1",
        "scheme": "http",
        "root_path": "",
    }
    sent: list[dict[str, Any]] = []
    parts = [content[i : i + 2**20] for i in range(0, len(content), 2**20)] or [b""]

    async def receive() -> dict[str, Any]:
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    named = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
    return sent[0]["status"], named, b"".join(each.get("body", b"") for each in sent[1:])


def refusal(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, str]:
    """The status and the line of a refusal."""
    text = json.loads(answer[2])["error"]
    assert "\n" not in text
    return answer[0], text


def test_the_page_and_the_scene_are_for_who_has_the_token() -> None:
    status, headers, page = asked(f"/?token={TOKEN.replace(' ', '%20')}", headers={"host": HOST}, method="GET")
    assert (status, b"<!doctype html>" in page.lower()) == (200, True)
    assert "default-src 'none'" in headers["content-security-policy"]
    assert asked("/api/scene", method="GET")[2] == b'{"the":"scene"}'
    for asset in ("/explorer.js", "/explorer.css"):
        assert asked(asset, headers={"host": HOST}, method="GET")[0] == 200


@pytest.mark.parametrize("token", [None, "", "a toke", "a token ", "é"])
def test_without_the_token_nothing_of_the_run_is_said(token: str | None) -> None:
    headers = {"host": HOST} | ({} if token is None else {"x-token": token})
    for path in ("/api/scene", "/api/decode", "/api/stop", "/api/nothing"):
        stopped: list[str] = []
        method = "GET" if path == "/api/scene" else "POST"
        status, said = refusal(asked(path, {}, headers, method, stopped))
        assert (status, stopped) == (403, [])
        assert "open the address that vaekit explore has printed" in said
    assert refusal(asked("/?token=another", headers={"host": HOST}, method="GET"))[0] == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:1", "127.0.0.1", "127.0.0.1:2", "127.0.0.1:1.evil.example"]
)
def test_another_name_of_this_machine_is_refused(host: str) -> None:
    status, said = refusal(asked("/api/scene", headers=HEADERS | {"host": host}, method="GET"))
    assert (status, said) == (403, f"this page is at {HOST} alone; {server.OPEN}")
    assert asked("/api/scene", headers={"x-token": TOKEN}, method="GET")[0] == 403


@pytest.mark.parametrize(
    "path",
    ["/../server.py", "/..%2fserver.py", "/web/page.html", "/page.html", "/operators.json", "/etc/passwd", "//x"],
)
def test_no_file_is_served_by_its_path(path: str) -> None:
    assert refusal(asked(path, method="GET"))[0] == 404
    assert refusal(asked(f"/api{path}", {}))[0] == 404


def test_a_question_is_answered_as_the_functions_answer() -> None:
    answers = Answers(run_of("mlp"))
    z = answers.encode([[1.0] * 64]).mean
    assert json.loads(asked("/api/encode", {"x": [[1.0] * 64]})[2])["mean"] == z
    assert json.loads(asked("/api/decode", {"z": z})[2])["x"] == packed(answers.decode(z).x)
    assert json.loads(asked("/api/score", {"x": [[1.0] * 64]})[2])["elbo"] == answers.score([[1.0] * 64]).elbo
    assert json.loads(asked("/api/draw", {"n": 2, "seed": 5})[2])["z"] == answers.draw(2, 5).z
    x = [1.0] * 63 + [None]
    assert json.loads(asked("/api/impute", {"x": x})[2])["x"] == answers.impute(x).x


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the question is no JSON"),
        (b"{", "the question is no JSON"),
        (b"\xff", "the question is no JSON"),
        (b"[" * 100_000, "the question is no JSON"),
        (b'{"z": [[NaN, 0, 0]]}', "NaN is no number of JSON"),
        (b"[]", "a JSON list; accepted: an object"),
        (b"{}", "decode lacks z; accepted: z, y, levels"),
        (b'{"z": [[0, 0, 0]], "self": 1}', "unknown argument of decode 'self'"),
        (b'{"z": [[0, 0, 0]], "run": 1}', "unknown argument of decode 'run'"),
        (b'{"z": [[1e999, 0, 0]]}', "no finite numbers"),
        (b'{"z": {"a": 1}}', "z is no list of data"),
        (b'{"z": [[0, 0, 0]], "levels": "1"}', "levels is '1'"),
        (b'{"z": [[0, 0, 0]], "y": {}}', "y has something that is no number"),
        (b'{"z": [[0, [1], 0]]}', "something that is no number"),
    ],
)
def test_a_bad_question_is_refused_in_a_line(body: bytes, said: str) -> None:
    status, text = refusal(asked("/api/decode", body))
    assert status == 400
    assert said in text


def test_too_large_a_question_is_refused_before_it_is_read_to_its_end() -> None:
    assert refusal(asked("/api/decode", b" " * (LARGEST + 1)))[0] == 413


def test_a_fault_of_ours_is_a_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*given: object, **named: object) -> None:
        raise RuntimeError("a\nb")

    monkeypatch.setitem(server.QUESTIONS, "decode", failing)
    assert refusal(asked("/api/decode", {"z": 1, "given": 2, "named": 3}))[1]


def test_the_wrong_method_and_an_unknown_question_are_refused() -> None:
    assert refusal(asked("/api/decode", method="GET"))[0] == 405
    status, said = refusal(asked("/api/encoed", {}))
    assert (status, "encode" in said) == (404, True)


async def _in_a_loop(function: Callable[..., None], *given: Any) -> None:
    function(*given)


@pytest.mark.parametrize("notebook", [False, True], ids=["a program", "a notebook, which runs a loop"])
def test_a_served_page_ends_when_it_says_so_and_its_port_is_its_own(notebook: bool) -> None:
    found: list[str] = []
    there = threading.Event()

    def say(address: str) -> None:
        found.append(address)
        there.set()

    given = Answers(run_of("mlp")), '{"a":1}', bound(), say
    serving = threading.Thread(target=lambda: asyncio.run(_in_a_loop(serve, *given)) if notebook else serve(*given))
    serving.start()
    assert there.wait(SECONDS)
    base, _, token = found[0].partition("/?token=")
    with pytest.raises(ValueError, match=r"port \d+: .*; port=0 takes a free one"):
        bound(int(base.rpartition(":")[2]))
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{base}/api/scene")
    ask = urllib.request.Request(f"{base}/api/scene", headers={"X-Token": token})
    with urllib.request.urlopen(ask) as answer:
        assert answer.read() == b'{"a":1}'
    with urllib.request.urlopen(urllib.request.Request(f"{base}/api/stop", b"{}", {"X-Token": token})) as answer:
        assert answer.status == 200
    serving.join(SECONDS)
    assert not serving.is_alive()


def test_ctrl_c_ends_a_served_page_cleanly(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", "training.epochs=1")
    command = [*AT_A_TERMINAL, "explore", str(run.path), "--no-open", "--points", "20"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert process.stdout.readline() == "Ctrl-C ends it\n"
            with urllib.request.urlopen(address) as answer:
                assert answer.status == 200
            process.send_signal(signal.SIGINT)
            out, said = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    assert (process.returncode, out, said) == (0, "", "")
    assert address.startswith("http://127.0.0.1:")


def test_without_its_libraries_the_way_to_them_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ValueError, match=r"pip install 'vaekit\[explore\]'; or have it written as one file"):
        explore(run_of("mlp"))
