"""Check a built site: links between its pages, and that no page loads anything from another host.

Usage: ``python check_site.py FOLDER``. Links to other hosts are allowed; nothing is fetched.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Attributes whose content the browser loads when it shows the page.
LOADED = {
    ("audio", "src"),
    ("embed", "src"),
    ("iframe", "src"),
    ("img", "src"),
    ("link", "href"),
    ("object", "data"),
    ("script", "src"),
    ("source", "src"),
    ("source", "srcset"),
    ("video", "src"),
}
LINKS = {("a", "href"), ("area", "href")}
# Of a style sheet.
URL = re.compile(r"""(?:url\(\s*|@import\s+)["']?([^"')\s]+)""")


class Page(HTMLParser):
    """What a page links to, what it loads, and the anchors that it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self._in_style = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the attributes of an element."""
        self._in_style = tag == "style"
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            elif (tag, name) in LINKS and value:
                self.links.append(value)
            elif (tag, name) in LOADED and value:
                self.loaded.append(value)
            elif name == "style" and value:
                self.loaded += URL.findall(value)

    def handle_data(self, data: str) -> None:
        """Note what a style sheet inside the page loads."""
        if self._in_style:
            self.loaded += URL.findall(data)


def problems(site: Path) -> Iterator[str]:
    """Yield a line for each broken link and each reference to another host."""
    found = (path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts)
    pages = {path.resolve(): Page(path) for path in found}
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        for link in page.loaded:
            if is_remote(link):
                yield f"{name} loads {link}"
        for link in page.links + page.loaded:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                yield f"{name} links to {link}, which does not exist"
            elif parts.fragment and target in pages:
                if unquote(parts.fragment) not in pages[target].anchors:
                    yield f"{name} links to {link}, but there is no such anchor"
    for sheet in sorted(site.rglob("*.css")):
        for link in URL.findall(sheet.read_text(encoding="utf-8")):
            if is_remote(link):
                yield f"{sheet.relative_to(site)} loads {link}"


def is_remote(link: str) -> bool:
    """Return whether a reference leads to another host."""
    parts = urlsplit(link)
    return bool(parts.netloc) or parts.scheme in ("http", "https")


def main(site: Path) -> int:
    """Print the problems of a site and return the exit status."""
    found = list(problems(site))
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
