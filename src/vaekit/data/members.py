"""Members of tar files, each read where it lies: an uncompressed tar is its members one after another."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..system.disk import check_regular, read_text, write_atomic
from .download import cache_folder

KEPT = 1000
"""Members of a shard from which on where they lie is kept in the cache folder: finding it takes 80 μs of each."""
END = 1024
"""The bytes of zeros that a whole tar ends in, at least."""
SQUEEZED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstd"}


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar `shard`, of so many bytes from `offset` on.

    >>> str(Member("photos.tar", "cat/1.jpg", 512, 4))
    'photos.tar/cat/1.jpg'
    """

    shard: str
    name: str
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{self.shard}/{self.name}"

    def read(self) -> bytes:
        """Its bytes; `ValueError` where the shard is shorter than it was."""
        return next(contents([self]))


def contents(members: Sequence[Member]) -> Iterator[bytes]:
    """The bytes of members of one shard, which is opened once; raises as `Member.read` does."""
    if not members:
        return
    with open(members[0].shard, "rb", buffering=0) as file:
        for each in members:
            file.seek(each.offset)
            data = file.read(each.size)
            if len(data) < each.size:
                raise ValueError(f"{each} is cut off: {each.shard} is shorter than it was when it was looked through")
            yield data


def members_of(shard: Path) -> list[Member]:
    """The files in a tar, in its order; where they lie is looked up in the cache folder, if the tar is as it was then.

    Raises `ValueError`, one line, for a tar that is compressed, damaged or cut off, for links and devices in it, and
    for names that lead out of it.
    """
    size = check_regular(shard)
    found = shard.stat()
    state = [size, found.st_mtime_ns, found.st_ino]
    kept = cache_folder() / "shards" / f"{hashlib.sha256(str(shard.resolve()).encode()).hexdigest()[:40]}.json"
    with suppress(OSError, ValueError, TypeError, KeyError):
        known = json.loads(read_text(kept))
        if known["state"] == state:
            return [Member(str(shard), str(name), int(at), int(many)) for name, at, many in known["members"]]
    members = list(_listed(shard, size))
    if len(members) >= KEPT:
        with suppress(OSError):  # a folder that can't be written to: they are looked for again
            kept.parent.mkdir(parents=True, exist_ok=True)
            rows = [[each.name, each.offset, each.size] for each in members]
            write_atomic(kept, json.dumps({"shard": str(shard.resolve()), "state": state, "members": rows}))
    return members


def _listed(shard: Path, size: int) -> Iterator[Member]:
    _check_whole(shard, size)
    try:
        with tarfile.open(shard, "r:") as archive:
            for each in archive:
                if each.isdir():
                    continue
                what = f"{shard} has {each.name!r}, which"
                if not each.isreg() or each.issparse():
                    kind = "a link" if each.islnk() or each.issym() else "a device, a pipe or a file with holes"
                    raise ValueError(f"{what} is {kind}; accepted: files and folders; make the shard anew without it")
                path = PurePosixPath(each.name)
                if path.is_absolute() or ".." in path.parts or "\\" in each.name or not each.name.isprintable():
                    raise ValueError(f"{what} is a name that leads elsewhere; accepted: names within the shard")
                if each.offset_data + each.size > size:
                    raise ValueError(f"{shard} is cut off in {each.name!r}; fetch it again")
                yield Member(str(shard), each.name, each.offset_data, each.size)
                archive.members = []  # type: ignore[attr-defined]  # which it would keep all of
    except tarfile.TarError as error:
        raise ValueError(f"{shard} is no whole tar file ({error}); fetch it again") from error


def _check_whole(shard: Path, size: int) -> None:
    """`ValueError` for a file that is compressed, or has not the end of a tar."""
    with shard.open("rb") as file:
        if kind := SQUEEZED.get(file.read(2)):
            unpacked = "no member of it can be read by itself; unpack it to a .tar (the images in it are small already)"
            raise ValueError(f"{shard} is compressed ({kind}): {unpacked}")
        file.seek(max(0, size - END))
        if size < END or file.read().strip(b"\0"):
            raise ValueError(f"{shard} does not end as a tar does, so that it is cut off or none; fetch it again")
