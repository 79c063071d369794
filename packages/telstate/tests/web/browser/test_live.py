"""Live: values and plots change as samples arrive, lost connections are shown and regained."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from browsing import Visit
from playwright.sync_api import expect

from telstate import TelescopeState
from telstate_testing import RedisServer, missing, newest_binaries
from telstate_testing.servers import free_port


class Served:
    """The command `serve` over a store, as a process that can be killed and started again."""

    def __init__(self, store: str) -> None:
        port = str(free_port())
        self._command = [sys.executable, "-m", "telstate", "serve", store, "--port", port]
        self._process: subprocess.Popen[str] | None = None
        self.url = f"http://127.0.0.1:{port}/"

    def __enter__(self) -> Served:
        self.start()
        return self

    def start(self) -> None:
        """Start it; it listens when it has printed its address."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline().startswith(self.url)

    def kill(self) -> None:
        """Kill it, as in a crash."""
        if self._process is not None and self._process.stdout is not None:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
            self._process = None

    def __exit__(self, *_: object) -> None:
        self.kill()


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """The newest server of this machine."""
    binaries = newest_binaries()
    if not binaries:
        pytest.skip(missing("Redis or Valkey server"))
    with RedisServer(binaries[0]) as server:
        yield server


@pytest.fixture(scope="module")
def served(server: RedisServer) -> Iterator[Served]:
    """The page over that server, as a process."""
    with Served(server.url) as served:
        yield served


@pytest.fixture
def ts(server: RedisServer) -> Iterator[TelescopeState]:
    """An empty telescope state on that server."""
    ts = TelescopeState(server.url.removeprefix("redis://"))
    ts.clear()
    yield ts
    ts.backend.close()


def test_live_observation(visit: Visit, ts: TelescopeState, served: Served) -> None:
    """Values, ages, plots, tables and the tree follow a playing observation."""
    now = time.time()
    ts.add_many("gain", [1.0, 2.0], [now - 60, now - 30])
    ts.add("cbf_target", "J1939-6342, radec", ts=now - 60)
    ts["n_chans"] = 4096
    page = visit(served.url)
    status = page.locator("#status")
    expect(status).to_have_text("Live")
    expect(page.locator(".facts")).to_contain_text("Last sample")
    page.locator("#search").fill("gain")
    page.locator("#tree .row").click()
    value, age = page.locator(".latest .now"), page.locator("[data-age]")
    expect(value).to_have_text("2.0")
    expect(age).to_contain_text("s ago")
    figure = page.locator(".figure[data-points]")
    expect(figure).to_be_visible()
    ts.add("gain", 3.25)
    expect(value).to_have_text("3.25")
    expect(page.locator("#tree .preview")).to_have_text("3.25")
    expect(page.locator(".notes")).to_have_text("3 samples in sight")
    page.get_by_role("tab", name="Samples").click()
    expect(page.get_by_role("table")).to_have_attribute("aria-rowcount", "4")
    ts.add("gain", 4.5)
    expect(page.get_by_role("table")).to_contain_text("4.5")
    # Keys that come and go
    page.locator("#search").fill("")
    ts.add("new_sensor", 1)
    expect(page.locator("#tree")).to_contain_text("new_sensor")
    expect(page.locator("#found")).to_have_text("4 keys")
    ts.delete("new_sensor")
    expect(page.locator("#found")).to_have_text("3 keys")
    page.close()


def test_connections_are_lost_and_regained(
    visit: Visit, ts: TelescopeState, server: RedisServer, served: Served
) -> None:
    """The status line shows that the store or the page's own server is gone, until it is back."""
    ts.add("gain", 1.0)
    page = visit(served.url + "#keys=gain", may_fail=True)
    status, value = page.locator("#status"), page.locator(".latest .now")
    expect(status).to_have_text("Live")
    served.kill()
    expect(status).to_contain_text("Connection lost")
    ts.add("gain", 2.0)
    served.start()
    expect(status).to_have_text("Live")
    expect(value).to_have_text("2.0")
    server.kill()
    expect(status).to_contain_text("The store does not answer")
    server.start()
    ts.add("gain", 3.0)
    expect(status).to_have_text("Live")
    expect(value).to_have_text("3.0")


def test_hidden_pages_are_quiet(visit: Visit, ts: TelescopeState, served: Served) -> None:
    """A page that is hidden has no connection and no timer; when it is seen again it shows what is new."""
    ts.add("gain", 1.0)
    page = visit(served.url + "#keys=gain")
    value = page.locator(".latest .now")
    expect(page.locator("#status")).to_have_text("Live")
    expect(value).to_have_text("1.0")
    expect(page.locator(".figure[data-points]")).to_be_visible()
    hide = """(hidden) => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    requests: list[str] = []
    page.evaluate(hide, True)
    page.on("request", lambda request: requests.append(request.url))
    for number in range(20):
        ts.add("gain", float(number))
    other = visit(served.url + "#keys=gain&tab=samples")
    expect(other.locator(".latest .now")).to_have_text("19.0")
    expect(value).to_have_text("1.0")
    assert requests == []
    page.evaluate(hide, False)
    expect(value).to_have_text("19.0")
    page.close()
    other.close()


def test_open_page_does_not_grow(visit: Visit, ts: TelescopeState, served: Served) -> None:
    """However many samples arrive, the page keeps a bounded number of points, elements and timers."""
    now = time.time()
    ts.add("busy", 0.0, ts=now - 1000)
    page = visit(served.url + "#keys=busy")
    expect(page.locator(".figure[data-points]")).to_be_visible()
    elements = page.evaluate("document.querySelectorAll('*').length")
    total = 40_000
    for start in range(0, total, 4000):
        times = [now - 900 + (start + number) * 0.02 for number in range(4000)]
        ts.add_many("busy", [float(start + number) for number in range(4000)], times)
    expect(page.locator(".latest .now")).to_have_text(f"{total - 1}.0")
    expect(page.locator(".notes")).to_contain_text(f"{total + 1:,} samples")
    points = page.evaluate("document.querySelector('.figure').data[0].x.length")
    assert points < 4000
    assert page.evaluate("document.querySelectorAll('*').length") < elements + 300
    page.close()


def test_token(visit: Visit, sites: Callable[..., str]) -> None:
    """A page with a token asks for it; a link may hold it, and then loses it."""
    ts = TelescopeState()
    ts["n_chans"] = 4096
    url = sites(ts, live=False, token="secret word")
    page = visit(url + "#keys=n_chans", may_fail=True)
    token = page.get_by_label("Token")
    expect(token).to_be_focused()
    token.fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).not_to_be_empty()
    token.fill("secret word")
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("h1")).to_have_text("n_chans")
    expect(page.locator(".value")).to_contain_text("4096")
    page.reload()
    expect(page.locator(".value")).to_contain_text("4096")
    page.context.clear_cookies()
    other = visit(url + "#token=secret%20word&keys=n_chans")
    expect(other.locator(".value")).to_contain_text("4096")
    assert other.url == url + "#keys=n_chans"
