"""Reprs, HTML for notebooks, and completion.

The private modules are imported for their limits, and for the order of keys in a view.
"""

import itertools
import os
import re
import signal
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import numpy
import pytest
import redis

from telstate import MemoryBackend, TelescopeState, _display, aio
from telstate._view import View
from telstate_backends import SetImmutable
from telstate_backends.retry import Attempts
from telstate_codec import encode_value
from telstate_testing import RedisBinary, RedisServer
from telstate_testing.observations import fill_observation


class Cells(HTMLParser):
    """The tags of a piece of HTML, and the texts of its table's cells."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.cells: list[str] = []
        self.inside = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        if tag == "td":
            self.cells.append("")
        self.inside = self.inside or tag == "td"

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "td"

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.cells[-1] += data


def shown(ts: Any) -> str:
    """Return the HTML for a notebook, after checking that its tags are balanced."""
    html = ts._repr_html_()
    assert isinstance(html, str)
    assert html.count("<div>") == html.count("</div>")
    return html


@pytest.fixture
def server(newest: RedisBinary) -> Iterator[RedisServer]:
    """A server of the newest versions in turn with a password, for one test."""
    with RedisServer(newest, ["--requirepass", "the-password"]) as server:
        yield server


@pytest.fixture
def ours(server: RedisServer) -> Iterator[TelescopeState]:
    """A telescope state on that server."""
    with TelescopeState(f"redis://:the-password@127.0.0.1:{server.port}") as ts:
        yield ts


class Attempted:
    """Counter of the retries of a backend."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        original = Attempts.next_delay

        def next_delay(attempts: Attempts, *arguments: Any) -> float | None:
            self.count += 1
            return original(attempts, *arguments)

        monkeypatch.setattr(Attempts, "next_delay", next_delay)


def test_repr(ts: TelescopeState) -> None:
    """The repr has the class, the backend, the number of keys in memory and the prefixes."""
    backend = type(ts.backend).__name__
    ts["n_chans"] = 4096
    view = ts.view("a", read_only=True)
    keys = ", 1 key" if ts.backend.store is not None else ""
    assert re.fullmatch(
        rf"<TelescopeState on {backend}( at [^ ]+)?{keys}, prefixes \('a_', ''\), read-only>",
        repr(view),
    )
    assert bool(ts), "a telescope state is never false"


def test_html(ts: TelescopeState) -> None:
    """The HTML lists the keys of the view in order of its prefixes, with kinds, times and values."""
    ts["n_chans"] = 4096
    ts["a_weights"] = numpy.zeros((3, 4), "f4")
    ts.add("gain", 1.5, ts=0)
    ts.add("gain", 2.5, ts=60)
    ts.set_indexed("peak", "x", [1, 2])
    found = Cells(shown(ts.view("a")))
    assert found.cells == [
        *("a_weights", "immutable", "", "float32 (3, 4)  [0, 0, 0, 0, ...]"),
        *("gain", "mutable", "2 samples, 1970-01-01 00:00:00 to 00:01:00", "2.5"),
        *("n_chans", "immutable", "", "4096"),
        *("peak", "indexed", "1 sub-key", "['x'] = [1, 2]"),
    ]
    assert Cells(shown(ts.view("a", exclusive=True))).cells[::4] == ["a_weights"]
    assert "4 keys" in shown(ts) and type(ts.backend).__name__ in shown(ts)
    assert "read-only" in shown(ts.view("b", read_only=True))


def test_html_of_hostile_names_and_values(ts: TelescopeState) -> None:
    """Markup and unprintable characters are escaped, and values that cannot be decoded are shown."""
    ts['<img src=x onerror="alert(1)">'] = "</td><script>alert(2)</script>"
    ts.set_indexed("&lt;b", "<i>", "<u>")
    for key, value in {
        b"\xff\xfe\x00": b"\x80\x02K\x01.",
        "mark\u202e".encode(): b"",
        b"k" * 10_000: b"\xff\x93",
    }.items():
        ts.backend.execute(SetImmutable(key, value))
    html = shown(ts.view("<b>"))
    found = Cells(html)
    assert found.tags == {"div", "b", "code", "table", "thead", "tbody", "tr", "th", "td"}
    assert '<img src=x onerror="alert(1)">' in found.cells
    assert "'</td><script>alert(2)</script>'" in found.cells
    assert html.isprintable() and html.encode()
    assert "\\xff\\xfe\\x00" in found.cells and "mark\\u202e" in found.cells
    assert max(map(len, found.cells)) <= 250


def test_html_of_a_large_store() -> None:
    """The HTML of many keys and long values is short."""
    ts = TelescopeState()
    assert isinstance(ts.backend, MemoryBackend)
    long = encode_value("x" * 1_000_000)
    names = [bytes(some) for some in itertools.product(b"abcdefghij", repeat=5)]
    operations = [SetImmutable(name, long) for name in names]
    ts.backend.execute_many(operations)
    html = shown(ts)
    assert "100,000 keys" in html and len(html) < 20_000
    assert len(Cells(html).cells) == 4 * _display.MAX_ROWS
    assert len(ts._ipython_key_completions_()) == _display.MAX_KEYS
    for name in names[50:]:
        ts.backend.store.data.pop(name)
    assert "10 more in this view" in shown(ts)


def test_html_of_an_observation() -> None:
    """What people look for first comes first, keys that look alike are one row, and a hint says how to search."""
    ts = TelescopeState()
    fill_observation(ts)
    html = shown(ts)
    assert "ts.keys('*target*')" in html
    keys = Cells(html).cells[::4]
    assert keys[:2] == ["cbf_target", "m000_target ... m003_target (4 alike)"]
    places = [
        keys.index(key)
        for key in (
            "m000_activity ... m003_activity (4 alike)",
            "m000_pos_actual_scan_azim ... m003_pos_actual_scan_azim (4 alike)",
            "i0_antenna_channelised_voltage_n_chans",
        )
    ]
    assert places == sorted(places) and not any("cal_product" in key for key in keys)
    view = ts.view("1600000000_cal", exclusive=True)
    assert "1600000000_cal_shared_0 ... shared_59 (60 alike)" in Cells(shown(view)).cells


def test_html_of_long_values_costs_a_server_little(
    ours: TelescopeState, server: RedisServer
) -> None:
    """Long values are not transferred in full to be displayed."""
    long = encode_value(b"x" * 20_000_000)
    with redis.Redis(port=server.port, password="the-password") as client:
        client.set("immutable", long)
        client.zadd("mutable", {b"\0" * 8 + long: 0})
        client.hset("indexed", encode_value("row"), long)
        client.set("array", encode_value(numpy.zeros((5000, 2500))))
        before = client.info("stats")["total_net_output_bytes"]
        html = shown(ours)
        after = client.info("stats")["total_net_output_bytes"]
    assert after - before < 100_000
    cells = Cells(html).cells
    assert cells[3] == "float64 (5000, 2500)"
    assert cells[7] == "bytes of 20,000,006 bytes"
    assert cells[11] == "['row'] = (long value, 20,000,006 bytes)"
    assert re.fullmatch("[(]long value, [12][0-9],[0-9]{3},[0-9]{3} bytes[)]", cells[15])


def test_no_password(ours: TelescopeState) -> None:
    """The password of the server is not displayed."""
    assert "127.0.0.1" in repr(ours)
    assert "the-password" not in repr(ours) + shown(ours) + repr(ours.backend)


def test_dead_server(
    ours: TelescopeState, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead server is reported in the HTML, and not asked for the repr, without retries or errors."""
    ours["n_chans"] = 4096
    assert "n_chans" in dir(ours) and "n_chans" in ours._ipython_key_completions_()
    server.kill()
    attempted = Attempted(monkeypatch)
    assert repr(ours).endswith(f"127.0.0.1:{server.port}, prefixes ('',)>")
    html = shown(ours)
    assert "which cannot be reached" in html and f"127.0.0.1:{server.port}" in html
    assert ours._ipython_key_completions_() == []
    assert "keys" in dir(ours) and "n_chans" not in dir(ours)
    assert attempted.count == 0
    server.start()
    assert "0 keys" in shown(ours)


def test_silent_server(
    ours: TelescopeState, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that does not answer does not block the display."""
    monkeypatch.setattr(_display, "TIME_LIMIT", 0.05)
    os.kill(server.process_id, signal.SIGSTOP)
    try:
        assert "127.0.0.1" in repr(ours)
        assert "did not answer within 0.05 s" in shown(ours)
        assert ours._ipython_key_completions_() == []
    finally:
        os.kill(server.process_id, signal.SIGCONT)


def test_counting_not_permitted(server: RedisServer, ours: TelescopeState) -> None:
    """Without permission to count keys, everything else is displayed."""
    with redis.Redis(port=server.port, password="the-password") as client:
        client.execute_command("ACL", "SETUSER", "guest", "on", "nopass", "~*", "+@all", "-dbsize")
    ours["n_chans"] = 4096
    with TelescopeState(f"redis://guest:x@127.0.0.1:{server.port}") as ts:
        assert re.fullmatch(r"<TelescopeState on RedisBackend at [^ ]+, prefixes .*>", repr(ts))
        assert "which" not in shown(ts) and Cells(shown(ts)).cells[0] == "n_chans"
        with redis.Redis(port=server.port, password="the-password") as client:
            client.execute_command("ACL", "SETUSER", "guest", "-scan")
        assert "which does not list its keys" in shown(ts)
        assert "permit" in shown(ts)
        assert ts._ipython_key_completions_() == []


async def test_asyncio(ats: aio.TelescopeState) -> None:
    """The asyncio class displays what it knows without awaiting, for a server its address."""
    await ats.set("n_chans", 4096)
    known = "store" in vars(ats.backend)
    backend = type(ats.backend).__name__
    assert re.fullmatch(
        rf"<TelescopeState on {backend}( at [^ ]+)?{', 1 key' if known else ''}, prefixes .*>",
        repr(ats),
    )
    html = shown(ats)
    assert ("4096" if known else "await ts.keys()") in html
    assert ats._ipython_key_completions_() == (["n_chans"] if known else [])


async def test_cached() -> None:
    """A cached store is displayed as without a cache, with a note on the cache."""
    with TelescopeState(cache_size=10) as ts:
        ts["n_chans"] = 4096
        assert repr(ts) == "<TelescopeState on cached MemoryBackend, 1 key, prefixes ('',)>"
        assert Cells(shown(ts)).cells[0] == "n_chans"
        with pytest.raises(KeyError, match=r"did you mean 'n_chans'\?"):
            ts["n_chanz"]
    async with aio.TelescopeState(cache_size=10) as ats:
        assert repr(ats).startswith("<TelescopeState on cached AsyncMemoryBackend, 0 keys")


def test_failed_constructor() -> None:
    """An instance whose constructor failed has a repr."""
    ts = TelescopeState.__new__(TelescopeState)
    assert repr(ts) == "<TelescopeState, not open>"
    assert shown(ts) == "&lt;TelescopeState, not open&gt;"
    assert ts._ipython_key_completions_() == []


def test_order() -> None:
    """Keys are sorted by prefix and name, each once; keys outside the view are left out."""
    view = View(("b_", "a_"))
    assert view.sort(["a_k", "z", "b_m", "b_k"]) == ["b_k", "b_m", "a_k"]
    assert list(view.first_names(["a_k", "z", "b_k"])) == ["k", "k"]


def test_reprs_without_a_server(server: RedisServer, ours: TelescopeState) -> None:
    """Pipelines and watches have a representation when the server is down, without the password."""
    made = [ours.pipeline(), ours.watch("gain")]
    server.kill()
    for one in made:
        assert f"on RedisBackend at 127.0.0.1:{server.port}, " in repr(one)
