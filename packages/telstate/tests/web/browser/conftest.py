"""The page in a real browser: Debian's Chromium, one for all tests.

These tests run in the nox session `web`, where Playwright is installed; elsewhere they are not collected.
Every page that a test visits must ask no other host than its own and leave no error on the console.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from telstate import TelescopeState
from telstate_testing import missing
from telstate_testing.observations import START, fill_observation

if find_spec("playwright") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    from playwright.sync_api import expect

    # A page that takes longer hangs.
    TIMEOUT = 60_000.0
    expect.set_options(timeout=TIMEOUT)

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request

sys.path.insert(0, str(Path(__file__).parent))

from browsing import Site, Visit  # noqa: E402  # a helper beside the tests, found by the line above

#: Chromium without a graphics card says these on the console, as soon as something draws.
DRIVER = re.compile("GL Driver|WebGL|GroupMarkerNotSet|swiftshader", re.IGNORECASE)
#: What the browser itself logs about requests that fail.
FAILED = re.compile("Failed to load resource|ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY|ERR_ABORTED")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Requests to other hosts fail at once, because none is found.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


def add_long_sensor(ts: TelescopeState, name: str, samples: int) -> None:
    """Add a sensor whose samples are too many for a plot of their own."""
    times = [START + number * 0.01 for number in range(samples)]
    ts.add_many(name, [float(number % 977) for number in range(samples)], times)


@pytest.fixture(scope="session")
def chromium() -> Iterator[BrowserContext]:
    """The browser; Plotly is cached in it."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip(missing("Chromium"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        context = browser.new_context()
        context.set_default_timeout(TIMEOUT)
        yield context
        browser.close()


@pytest.fixture
def visit(chromium: BrowserContext) -> Iterator[Visit]:
    """Open pages; what they must never do is checked at the end."""
    foreign: list[str] = []
    problems: list[str] = []
    with ExitStack() as stack:

        def visit(
            address: str,
            *,
            width: int = 1280,
            height: int = 900,
            scheme: str = "light",
            may_fail: bool = False,
        ) -> Page:
            page = chromium.new_page()
            stack.callback(page.close)
            page.set_viewport_size({"width": width, "height": height})
            page.emulate_media(
                color_scheme="dark" if scheme == "dark" else "light",
                reduced_motion="reduce",
            )
            own = urlsplit(address).netloc

            def on_request(request: Request) -> None:
                parts = urlsplit(request.url)
                if parts.scheme not in ("data", "blob") and parts.netloc != own:
                    foreign.append(request.url)

            def on_console(message: ConsoleMessage) -> None:
                if message.type != "error" and message.type != "warning":
                    return
                if not DRIVER.search(message.text) and not (
                    may_fail and FAILED.search(message.text)
                ):
                    problems.append(message.text)

            page.on("request", on_request)
            page.on("console", on_console)
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.goto(address)
            return page

        yield visit
    assert foreign == []
    assert problems == []


@pytest.fixture(scope="session")
def sites() -> Iterator[Callable[..., str]]:
    """Serve stores until the end of all tests; returns the address."""
    with ExitStack() as stack:
        yield lambda store, **options: stack.enter_context(Site(store, **options)).url


@pytest.fixture(scope="session")
def array(sites: Callable[..., str]) -> str:
    """The address of an observation with 64 antennas, and a sensor with many samples."""
    ts = TelescopeState()
    fill_observation(ts, antennas=64, channels=64, seconds=120)
    add_long_sensor(ts, "long_sensor", 100_000)
    return sites(ts, name="array", live=False)


@pytest.fixture(scope="session")
def real(sites: Callable[..., str]) -> str:
    """The address of a real snapshot."""
    return sites(Path(__file__).parents[2] / "data" / "1testdata_sdp_l0.rdb")
