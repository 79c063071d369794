"""Open every page of a built site in Chromium: python docs/pictures/browse_site.py FOLDER.

Each page is shown 1,280 and 400 pixels wide; ``--screenshots FOLDER`` saves pictures, light and dark. It fails on an error in the console, a request that
leaves this machine, an image that is not there, and a page that is wider than the window.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from telstate_testing.environment import REQUIRE_VARIABLE

if TYPE_CHECKING:
    from playwright.sync_api import Page

WIDTHS = (1280, 400)
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
HEIGHT, MAX_HEIGHT = 900, 12_000  # of the window; of a picture
MAX_WAIT = 300_000  # ms; what takes longer hangs
LOCAL = ("file:", "data:", "blob:", "about:", "http://127.0.0.1:", "http://localhost:")
# The first run of a new profile asks servers for updates otherwise.
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]
# Images below the window load when they are asked for, and a broken one counts as complete.
MISSING_IMAGES = """async () => {
    const images = [...document.images];
    images.forEach(image => { image.loading = "eager"; });
    await Promise.all(images.map(image => image.decode().catch(() => {})));
    return images.filter(image => !image.naturalWidth).map(image => image.getAttribute("src").slice(0, 80));
}"""
# The outermost elements beyond the right edge, but for those that scroll by themselves.
TOO_WIDE = """() => {
    const root = document.documentElement, width = root.clientWidth;
    if (root.scrollWidth <= width) return [];
    const found = [];
    const visit = element => {
        if (getComputedStyle(element).overflowX !== "visible" && element !== document.body) return;
        for (const child of element.children) {
            if (child.getBoundingClientRect().right > width + 1 && child.scrollWidth > 0
                && !["fixed", "absolute"].includes(getComputedStyle(child).position)) {
                const before = found.length;
                visit(child);
                if (found.length === before) {
                    found.push(`${child.tagName} ${child.className} ${child.textContent.trim().slice(0, 40)}`);
                }
            } else visit(child);
        }
    };
    visit(document.body);
    return [`${root.scrollWidth} pixels`, ...found.slice(0, 3)];
}"""


def pages_of(folder: Path, pattern: str) -> list[Path]:
    """Return the pages below a folder whose relative paths match a glob."""
    pages = (page.relative_to(folder) for page in folder.rglob("*.html"))
    return sorted(p for p in pages if fnmatch(str(p), pattern) and "_static" not in p.parts)


def listen(page: Page, faults: list[str]) -> None:
    """Add what goes wrong in the pages that are opened to a list."""
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("requestfailed", lambda request: faults.append(f"{request.url} cannot be loaded"))
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith(LOCAL) else faults.append(f"{request.url} is requested")
        ),
    )


def browse(page: Page, file: Path, screenshots: Path | None, name: str) -> Iterator[str]:
    """Show a page in all ways and yield what is wrong with its layout."""
    page.set_viewport_size({"width": WIDTHS[0], "height": HEIGHT})
    page.goto(file.resolve().as_uri())
    yield from (f"image {source} is missing" for source in page.evaluate(MISSING_IMAGES))
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": HEIGHT})
        wide = page.evaluate(TOO_WIDE)
        if wide:
            yield f"at {width} pixels it is wider than the window: {'; '.join(wide)}"
        if screenshots is None:
            continue
        for theme in THEMES:
            page.emulate_media(color_scheme=theme)
            page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
            height = min(page.evaluate("document.documentElement.scrollHeight"), MAX_HEIGHT)
            page.screenshot(
                path=screenshots / f"{name}-{width}-{theme}.png",
                full_page=True,
                clip={"x": 0, "y": 0, "width": width, "height": height},
            )


def main() -> int:
    """Browse a site and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the built HTML")
    parser.add_argument("--screenshots", type=Path, help="save pictures of all pages in a folder")
    parser.add_argument("--pages", default="*", help="a glob of pages, such as 'start/*'")
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("This machine has no Chromium, so the pages are not browsed.", file=sys.stderr)
        return 1 if os.environ.get(REQUIRE_VARIABLE) else 0
    from playwright.sync_api import sync_playwright

    if options.screenshots is not None:
        options.screenshots.mkdir(parents=True, exist_ok=True)
    pages = pages_of(options.folder, options.pages)
    if not pages:
        parser.error(f"There is no page that matches {options.pages} in {options.folder}.")
    count = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=OPTIONS)
        page = browser.new_page()
        page.set_default_timeout(MAX_WAIT)
        faults: list[str] = []
        listen(page, faults)
        for path in pages:
            name = str(path.with_suffix("")).replace(os.sep, "-")
            faults += browse(page, options.folder / path, options.screenshots, name)
            for fault in faults:
                print(f"{path}: {fault}")
            count += len(faults)
            faults.clear()
        browser.close()
    print(f"{len(pages)} pages, {count} faults.")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
