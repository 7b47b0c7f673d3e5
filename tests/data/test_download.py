from __future__ import annotations

import hashlib
import io
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import gettempdir

import numpy as np
import pytest
from commands_for_tests import SECONDS, started

from vaekit.data import download
from vaekit.data.download import File, cache_folder, fetch, find
from vaekit.data.named import DATASETS
from vaekit.engine import inductor

BODY = np.random.default_rng(0).bytes(3 * download.CHUNK + 17)
SHA256 = hashlib.sha256(BODY).hexdigest()


@dataclass
class Server:
    """A server on this machine; `plan` says what the next requests get, and the last entry goes on for ever."""

    url: str
    plan: list[str] = field(default_factory=lambda: ["ranges"])
    requests: list[tuple[str, str | None]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            plan = served.plan.pop(0) if len(served.plan) > 1 else served.plan[0]
            served.requests.append((self.path, asked))
            if plan == "slow":
                time.sleep(1.0)
            if plan.isdigit():
                self.send_error(int(plan))
                return
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and plan != "ignores ranges" else 0
            if start >= len(BODY):
                self.send_error(416)
                return
            rest = (b"?" * len(BODY) if plan == "wrong" else BODY)[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
            if plan != "endless":
                self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            self.wfile.write(rest[: len(rest) // 2] if plan == "breaks" else rest)

        def log_message(self, *arguments: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Server(f"http://127.0.0.1:{http.server_port}/")
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    yield served
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of a dataset called mine, and no waiting."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("VAEKIT_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "PAUSE", 0.0)
    return tmp_path / "cache" / "vaekit" / "mine"


def file(*mirrors: str) -> File:
    return File("data.bin", SHA256, mirrors)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


def closed_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/"


def test_a_file_is_downloaded_once(server: Server, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = fetch("mine", file(server.url))
    assert path == cache / "data.bin"
    assert path.read_bytes() == BODY
    assert fetch("mine", file(server.url)) == path
    assert server.requests == [("/data.bin", None)]
    assert names(cache) == {"data.bin"}
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert server.url in captured.err


def test_a_break_is_resumed_where_it_broke(server: Server) -> None:
    server.plan = ["breaks", "breaks", "ranges"]
    assert fetch("mine", file(server.url)).read_bytes() == BODY
    half = len(BODY) // 2
    assert [asked for _, asked in server.requests] == [
        None,
        f"bytes={half}-",
        f"bytes={half + (len(BODY) - half) // 2}-",
    ]


def test_a_server_without_ranges_starts_again(server: Server) -> None:
    server.plan = ["breaks", "ignores ranges"]
    assert fetch("mine", file(server.url)).read_bytes() == BODY
    assert len(server.requests) == 2


def test_a_later_call_goes_on_from_what_an_earlier_one_left(server: Server, cache: Path) -> None:
    server.plan = ["breaks", "503", "503", "ranges"]
    with pytest.raises(FileNotFoundError, match="503"):
        fetch("mine", file(server.url))
    assert names(cache) == {"data.bin.part"}
    assert fetch("mine", file(server.url)).read_bytes() == BODY
    assert server.requests[-1] == ("/data.bin", f"bytes={len(BODY) // 2}-")


@pytest.mark.parametrize("left", [b"??????", BODY + b"too long", BODY])
def test_whatever_an_earlier_call_left_the_result_is_right(server: Server, cache: Path, left: bytes) -> None:
    cache.mkdir(parents=True)
    (cache / "data.bin.part").write_bytes(left)
    assert fetch("mine", file(server.url)).read_bytes() == BODY
    assert names(cache) == {"data.bin"}


@pytest.mark.parametrize("plan", ["404", "wrong", "500"])
def test_the_next_mirror_is_tried(server: Server, plan: str) -> None:
    server.plan = [plan] * (3 if plan == "500" else 1) + ["ranges"]
    assert fetch("mine", file(f"{server.url}first/", f"{server.url}second/")).read_bytes() == BODY
    assert [path for path, _ in server.requests[-2:]] == ["/first/data.bin", "/second/data.bin"]


@pytest.mark.parametrize(
    ("plan", "reason", "requests"),
    [("404", "404 Not Found", 2), ("wrong", "another checksum", 2), ("500", "500", 2 * download.ATTEMPTS)],
)
def test_no_mirror_helps(server: Server, cache: Path, plan: str, reason: str, requests: int) -> None:
    server.plan = [plan]
    with pytest.raises(FileNotFoundError, match=reason) as caught:
        fetch("mine", file(f"{server.url}first/", f"{server.url}second/"))
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in ("mine", "data.bin", SHA256, str(cache), "$VAEKIT_DATA/mine"))
    assert len(server.requests) == requests
    assert names(cache) == set()


def test_no_network() -> None:
    with pytest.raises(FileNotFoundError, match=r"refused.*; put it into") as caught:
        fetch("mine", file(closed_port()))
    assert "\n" not in str(caught.value)


def test_a_cache_that_is_no_folder(cache: Path) -> None:
    cache.parent.parent.mkdir()
    cache.parent.write_text("a file in its place")
    with pytest.raises(FileNotFoundError, match=r"data\.bin .* could not be downloaded"):
        fetch("mine", file(closed_port()))


def test_two_processes_at_once_download_once(server: Server, cache: Path) -> None:
    server.plan = ["slow"]  # all of them look for the file before the first has it
    code = f"from vaekit.data.download import *; print(fetch('mine', {file(server.url)!r}))"
    with ExitStack() as running:
        processes = [running.enter_context(started(sys.executable, "-c", code)) for _ in range(2)]
        found = [process.communicate(timeout=SECONDS)[0].strip() for process in processes]
    assert found == [str(cache / "data.bin")] * 2
    assert (cache / "data.bin").read_bytes() == BODY
    assert len(server.requests) == 1


def test_data_folder_comes_before_the_cache_gzipped_or_not(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own" / "mine"
    own.mkdir(parents=True)
    cache.mkdir(parents=True)
    monkeypatch.setenv("VAEKIT_DATA", str(tmp_path / "own"))
    assert find("mine", "a.gz") is None
    for path in (cache / "a", cache / "a.gz", own / "a", own / "a.gz"):
        path.touch()
        assert find("mine", "a.gz") == path
    assert find("mine", "a") == own / "a"


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "home/.cache/vaekit"),
        ("darwin", {}, "home/Library/Caches/vaekit"),
        ("win32", {}, "home/AppData/Local/vaekit"),
        ("win32", {"LOCALAPPDATA": "local"}, "local/vaekit"),
        ("darwin", {"XDG_CACHE_HOME": "xdg"}, "xdg/vaekit"),
    ],
)
def test_cache_folder(
    platform: str, variables: dict[str, str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    assert cache_folder() == tmp_path / expected


def test_where_no_home_is_known_files_are_kept_with_temporary_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    assert cache_folder().parent == Path(gettempdir())
    with pytest.raises(inductor.CompilationError, match="no folder for what is compiled"):
        inductor.compiled_folder()


@pytest.mark.parametrize("plan", ["ranges", "ignores ranges", "endless"])
def test_no_more_is_received_than_the_file_has(server: Server, cache: Path, plan: str) -> None:
    server.plan = [plan]
    small = File("data.bin", SHA256, (server.url,), len(BODY) - 1)
    with pytest.raises(FileNotFoundError, match=r"it has (more than )?[\d,]+ bytes"):
        fetch("mine", small)
    assert names(cache) == set()
    assert len(server.requests) == 1
    exact = File("data.bin", SHA256, (server.url,), len(BODY))
    server.plan = ["ranges"]
    assert fetch("mine", exact).read_bytes() == BODY


def test_https_is_not_left_on_the_way() -> None:
    follow = download._Redirects()
    request = urllib.request.Request("https://example.org/a")
    for url in ("http://example.org/a", "HTTP://example.org/a", "ftp://example.org/a"):
        with pytest.raises(ConnectionError, match=r"from https to .* not followed"):
            follow.redirect_request(request, io.BytesIO(), 302, "Found", HTTPMessage(), url)
    for start, end in (("https", "https"), ("http", "https"), ("http", "http")):
        request = urllib.request.Request(f"{start}://example.org/a")
        followed = follow.redirect_request(request, io.BytesIO(), 302, "Found", HTTPMessage(), f"{end}://example.org/b")
        assert followed is not None
        assert followed.full_url == f"{end}://example.org/b"


def test_every_file_of_a_dataset_has_its_size() -> None:
    files = [file for row in DATASETS.values() for file in row.files]
    assert files
    assert all(0 < file.size < 10**8 for file in files)
    assert all(mirror.startswith("https://") for file in files for mirror in file.mirrors)
