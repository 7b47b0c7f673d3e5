"""Looks through a built site: every link and anchor leads somewhere in it, and nothing is fetched from a network.

python docs/check.py site

Links out of the site are not followed: they are written to FOLDER/external-links.txt, for a person to try. Exit status
1 and a line for each fault.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}
"""Elements whose attribute a browser fetches by itself."""


@dataclass
class Page(HTMLParser):
    """What a page has and leads to."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take down what an element is called, leads to, or loads."""
        given = {key: value or "" for key, value in attrs}
        self.anchors |= {given[key] for key in ("id", "name") if key in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in LOADED and LOADED[tag] in given:
            self.loaded.append(given[LOADED[tag]])


def read(folder: Path) -> dict[Path, Page]:
    """The pages of a site."""
    pages = {}
    for path in sorted(folder.rglob("*.html")):
        page = Page()
        page.feed(path.read_text(encoding="utf-8"))
        pages[path.resolve()] = page
    return pages


def faults(folder: Path) -> tuple[list[str], list[str]]:
    """What is wrong, a line each, and the links that lead out."""
    pages, found, out = read(folder), [], set()
    for path, page in pages.items():
        where = path.relative_to(folder.resolve())
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if not (parts.scheme or parts.netloc):
                found += [f"{where}: {link} {wrong}" for wrong in _wrong(path, parts, pages)]
            elif parts.scheme != "data":
                out.add(link)
                found += [f"{where}: {link} would be fetched from the network"] * (link in page.loaded)
    for path in sorted(folder.rglob("*.css")):
        urls = re.findall(r"(?:url\(|@import )([^);]+)", path.read_text(encoding="utf-8"))
        remote = [url[:80] for url in urls if re.match(r"[\"']?(https?:)?//", url)]
        found += [f"{path.name}: {url} would be fetched from the network" for url in remote]
    return found, sorted(out)


def _wrong(path: Path, parts: SplitResult, pages: dict[Path, Page]) -> Iterator[str]:
    """What is wrong with a link within the site."""
    to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not to.is_file():
        yield "leads nowhere"
    elif parts.fragment and to in pages and unquote(parts.fragment) not in pages[to].anchors:
        yield "has no such anchor"


if __name__ == "__main__":
    site = Path(sys.argv[1])
    wrong, external = faults(site)
    links = site / "external-links.txt"
    links.write_text("\n".join(external) + "\n", encoding="utf-8")
    print("\n".join([*wrong, f"{site}: {len(wrong)} faults; {len(external)} links lead out, see {links}"]))
    sys.exit(bool(wrong))
