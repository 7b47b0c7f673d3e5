"""Where the files of the named datasets lie, and how they get there."""

from __future__ import annotations

import os
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from tempfile import gettempdir
from typing import IO

from ..system.disk import lock, sha256_of

ATTEMPTS = 3  # per mirror
PAUSE = 0.5  # seconds before the second attempt, doubled before the third
TIMEOUT = 30.0  # seconds without a byte
CHUNK = 1 << 18


@dataclass(frozen=True)
class File:
    """A public file: its name, its SHA-256, the folders (URLs that end in a slash) that hold it, and its bytes."""

    name: str
    sha256: str
    mirrors: tuple[str, ...]
    size: int = 2**30
    """No more than that is received, whatever a server sends."""


def cache_folder() -> Path:
    """The user's cache folder of vaekit, by the convention of the system; `XDG_CACHE_HOME` comes first everywhere.

    Where no home is known, as in some containers, it is among temporary files.
    """
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg) / "vaekit"
    local = os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else None
    below = {"win32": "AppData/Local", "darwin": "Library/Caches"}.get(sys.platform, ".cache")
    try:
        return (Path(local) if local else Path.home() / below) / "vaekit"
    except RuntimeError:
        return Path(gettempdir()) / "vaekit"


def find(dataset: str, name: str) -> Path | None:
    """The file of a dataset, gzipped or not, in `$VAEKIT_DATA/dataset` or the cache folder; None if in neither."""
    twin = name.removesuffix(".gz") if name.endswith(".gz") else name + ".gz"
    data = os.environ.get("VAEKIT_DATA")
    for folder in ([Path(data).expanduser()] if data else []) + [cache_folder()]:
        for path in (folder / dataset / name, folder / dataset / twin):
            if path.is_file():
                return path
    return None


def fetch(dataset: str, file: File) -> Path:
    """The path of a dataset's file, downloaded into the cache folder if it is not there yet.

    A broken download is resumed, also by a later call. Raises `FileNotFoundError` with what to do by hand where no
    mirror gives the right bytes.
    """
    if found := find(dataset, file.name):
        return found
    folder = cache_folder() / dataset
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with lock(folder / f"{file.name}.lock"):  # the system frees it if we are killed
            # Another process may have fetched it while this one waited.
            return find(dataset, file.name) or _download(file, folder)
    except OSError as error:
        raise FileNotFoundError(
            f"{dataset} needs {file.name} (SHA-256 {file.sha256}) and it could not be downloaded: {error}; "
            f"put it into {folder} or $VAEKIT_DATA/{dataset}"
        ) from error


def _download(file: File, folder: Path) -> Path:
    part = folder / f"{file.name}.part"
    failure: OSError = ConnectionError("no mirror")
    for mirror in file.mirrors:
        sys.stderr.write(f"downloading {mirror}{file.name} to {folder}\n")
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(PAUSE * 2 ** (attempt - 1))
            try:
                _receive_all(mirror + file.name, part, file)
                return _move(part, folder / file.name)
            except _MirrorError as error:
                failure = error
                if error.final:
                    break
    raise failure


class _MirrorError(ConnectionError):
    """What a mirror did not give; `final` where asking again would not help."""

    def __init__(self, text: str, final: bool = False) -> None:
        super().__init__(text)
        self.final = final


def _receive_all(url: str, part: Path, file: File) -> None:
    """Receive what `part` lacks of the file at `url`; `_MirrorError` where it is not all of it, or another file."""
    try:
        fresh = _receive(url, part, file.size)
    except urllib.error.HTTPError as error:
        text = f"{url} answers {error.code} {error.reason}"
        error.close()
        if error.code == 416:  # what lies here is not the beginning of what lies there
            part.unlink(missing_ok=True)
        raise _MirrorError(text, final=error.code < 500 and error.code != 416) from None
    except TooLargeError as error:
        part.unlink(missing_ok=True)
        raise _MirrorError(f"{url}: {error}", final=True) from None
    except (OSError, HTTPException) as error:
        raise _MirrorError(f"{url}: {getattr(error, 'reason', error)}") from None
    if sha256_of(part) != file.sha256:
        part.unlink()
        # A resumed one may owe it to its old beginning.
        raise _MirrorError(f"{url} has another checksum", final=fresh)


class TooLargeError(ValueError):
    """What a server sends has more bytes than the file."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to another address, but never from https to what others can read and change on the way."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        if req.type == "https" and not newurl.lower().startswith("https:"):
            raise ConnectionError(f"it sends from https to {newurl!r}, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _receive(url: str, part: Path, most: int) -> bool:
    """Append what `part` lacks of `url`, or all of it where the server ignores ranges; whether it was all of it.

    Raises `TooLargeError` where that would be more than `most` bytes.
    """
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    with urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT) as response:
        resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        received = start if resumed else 0
        if received + (response.length or 0) > most:
            raise TooLargeError(f"it has {received + response.length:,} bytes; needed: {most:,}")
        with part.open("ab" if resumed else "wb") as out:
            while chunk := response.read(CHUNK):
                received += len(chunk)
                if received > most:
                    raise TooLargeError(f"it has more than {most:,} bytes")
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        if response.length:  # a read of bounded size does not complain by itself
            raise ConnectionError(f"broke off {response.length} bytes before the end")
    return not resumed


def _move(part: Path, target: Path) -> Path:
    os.replace(part, target)
    return target
