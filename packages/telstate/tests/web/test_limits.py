"""What requests may cost: each limit is reached, and said."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from web_client import TIMEOUT, Answer, Client, serve

from telstate import TelescopeState
from telstate.web import _app, _content, _live, _plots, _reader, create_app


@pytest.fixture(scope="module")
def ts() -> TelescopeState:
    """A telescope state with something long of each kind."""
    ts = TelescopeState()
    ts.add_many("long", range(20_000), range(20_000))
    ts.add_many("changes", [f"text {n % 500}" for n in range(20_000)], range(20_000))
    ts.add_many("few", [f"text {n % 2}" for n in range(20_000)], range(20_000))
    ts.add_many("arrays", np.zeros((2000, 700)), range(2000))
    ts["value"] = bytes(2_000_000)
    ts["text"] = "x" * 300_000
    ts["deep"] = [[n] for n in range(150_000)]
    for number in range(3):
        ts.set_indexed("indexed", number, bytes(1000))
    return ts


@pytest.fixture
def client(ts: TelescopeState) -> Iterator[Client]:
    """A client of a page."""
    with serve(create_app(ts)) as client:
        yield client


def refused(answer: Answer, status: int = 413) -> str:
    """Return the message of a request that is refused."""
    assert answer.status == status, answer
    message: str = answer.json()["error"]
    return message


def test_documented_limits() -> None:
    """The limits are those that the documentation names."""
    text = create_app.__doc__ or ""
    for words in (
        f"{_reader.MAX_SAMPLES:,} samples",
        f"{_reader.MAX_BYTES >> 20} MiB of them",
        f"more than {_reader.MAX_VALUE_BYTES >> 20} MiB",
        f"{_app.MAX_KEYS} keys",
        f"{_app.MAX_ROWS} rows",
        f"{_plots.MAX_WIDTH} columns",
        f"{_plots.MAX_BANDS} bands",
        f"{_plots.MAX_IMAGE[0]} x {_plots.MAX_IMAGE[1]} pixels",
        f"{_reader.MAX_WAITING} more wait",
        f"{_reader.TIME_LIMIT:g} seconds",
        f"{_live.MAX_STREAMS} pages",
        f"{_reader.CACHE_BYTES >> 20} MiB of",
    ):
        assert words in " ".join(text.split()), words


def test_keys(client: Client) -> None:
    """A request names so many keys."""
    many = [f"k{number}" for number in range(_app.MAX_KEYS + 1)]
    assert client.get("api/summary", *many[:-1]).status == 200
    assert "200 keys" in refused(client.get("api/summary", *many))
    assert "At most 1 key can" in refused(client.get("api/plot", "long", "few"))
    refused(client.get("api/csv", *many[: _app.MAX_CSV_KEYS + 1]))
    assert "200 keys" in refused(client.get("api/summary", *(many * 3)))


def test_samples(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sensor with too many samples is read in parts."""
    monkeypatch.setattr(_reader, "MAX_SAMPLES", 1000)
    for path in ("plot", "samples", "csv"):
        assert "Choose a shorter range" in refused(client.get(f"api/{path}", "long"))
    part = client.json("plot", "long", start=100, end=1000, width=2000)
    assert (part["n"], part["exact"], part["high"][:2]) == (901, True, [100, 101])
    assert part["last"] == 19_999.0
    assert client.json("samples", "long", start=100, end=1000)["total"] == 901


def test_pages_of_a_long_sensor(
    client: Client, ts: TelescopeState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of a table has the right samples, and those of other pages are not read again for it."""
    ts.add_many("ties", range(12_000), [number // 4 for number in range(12_000)])
    client.json("samples", "ties")
    read: list[int] = []
    members = _reader.Reader.members

    async def count(*arguments: Any) -> Sequence[bytes]:
        found = await members(*arguments)
        read.append(len(found))
        return found

    # What is read cannot be seen from outside.
    monkeypatch.setattr(_reader.Reader, "members", count)
    for options in ({}, {"start": 100}, {"start": 100, "end": 2500}, {"start": 0.5, "end": 1e9}):
        first = 4 * math.ceil(options.get("start", 0))
        stop = min(12_000, 4 * (int(options.get("end", 3000)) + 1))
        for offset in (0, 2, 1001, 9001, 20_000):
            answer = client.json("samples", "ties", offset=offset, limit=5, **options)
            assert answer["total"] == stop - first
            numbers = range(first, stop)[offset : offset + 5]
            assert answer["samples"] == [[number // 4, str(number)] for number in numbers]
    assert max(read) <= 12


def test_bytes(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """So does one with too many bytes; large values and indexed keys are refused."""
    monkeypatch.setattr(_reader, "MAX_BYTES", 1_000_000)
    monkeypatch.setattr(_reader, "MAX_VALUE_BYTES", 2000)
    refused(client.get("api/plot", "arrays"))
    assert client.json("plot", "arrays", start=10, end=20)["n"] == 11
    for path, key in (("value", "value"), ("value", "indexed"), ("indexed", "indexed")):
        assert f"{key!r}" in refused(client.get(f"api/{path}", key))


def test_bytes_of_several_sensors(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sensors in one file are limited in all."""
    monkeypatch.setattr(_reader, "MAX_BYTES", 500_000)
    assert client.get("api/csv", "long").status == 200
    assert "These sensors have more" in refused(client.get("api/csv", "long", "few"))


def test_downloads(client: Client, ts: TelescopeState) -> None:
    """Few files are downloaded at a time, and the place of one that is given up is free again."""
    connections = []
    try:
        for _ in range(_app.MAX_DOWNLOADS):
            connection = socket.create_connection(("127.0.0.1", client.port))
            connection.sendall(b"GET /api/csv?key=arrays HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(20).startswith(b"HTTP/1.1 200")
            connections.append(connection)
        assert "being downloaded" in refused(client.get("api/csv", "long"), 503)
        connections.pop().close()
        deadline = time.monotonic() + TIMEOUT
        while client.get("api/csv", "long").status != 200:
            assert time.monotonic() < deadline
    finally:
        for connection in connections:
            connection.close()


def test_rows(client: Client) -> None:
    """A table has so many rows."""
    assert len(client.json("samples", "long")["samples"]) == _app.MAX_ROWS
    last = client.json("samples", "long", offset=19_999)
    assert last["samples"] == [[19_999.0, "19999"]]
    assert client.json("samples", "long", offset=50_000)["samples"] == []


def test_long_values(client: Client) -> None:
    """Long text is cut, and long values are left out, which is said."""
    text = client.json("value", "text")
    assert (len(text["text"]), text["cut"]) == (_content.MAX_TEXT, True)
    for key in ("value", "deep"):
        answer = client.json("value", key)
        assert (answer["value"], answer["value_cut"]) == (None, True)
        assert len(answer["text"]) <= _content.MAX_TEXT


def test_sizes_of_plots(client: Client) -> None:
    """However many samples and values there are, a plot has a bounded number of parts."""
    width = _plots.MAX_WIDTH
    bands = client.json("plot", "changes", width=width)
    assert len(bands["bands"]) <= _plots.MAX_BANDS
    assert bands["merged"] and bands["notes"]
    assert len(bands["labels"]) <= 48
    assert len(client.json("plot", "few", width=width)["bands"]) <= _plots.MAX_BANDS
    image = client.json("plot", "arrays", width=width)
    assert (len(image["z"]), len(image["z"][0]), len(image["time"])) == (350, 512, 512)
    assert len(client.json("plot", "long", width=width)["low"]) == width


def test_cached_bytes(client: Client, monkeypatch: pytest.MonkeyPatch, ts: TelescopeState) -> None:
    """What is kept of decoded samples is bounded, and what was used last remains."""
    monkeypatch.setattr(_reader, "CACHE_BYTES", 700_000)
    for _ in range(3):
        for key in ("long", "few", "changes"):
            assert client.json("plot", key)["n"] == 20_000


def test_time(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that takes too long is told so, and the page goes on."""
    monkeypatch.setattr(_reader, "TIME_LIMIT", 0.0)
    assert "takes longer than" in refused(client.get("api/plot", "changes"), 503)
    monkeypatch.undo()
    assert client.json("plot", "changes")["n"] == 20_000


def test_requests_that_wait(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many requests at once a few are answered at a time, few more wait, and others are told to come back."""
    monkeypatch.setattr(_reader, "MAX_WAITING", 2)
    found: list[Answer] = []

    def ask() -> None:
        found.append(client.get("api/plot", "changes", width=4096))

    threads = [threading.Thread(target=ask) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = [answer.status for answer in found]
    assert set(statuses) == {200, 503}
    refusals = [answer for answer in found if answer.status == 503]
    assert all(answer.headers["retry-after"] == "5" for answer in refusals)
    assert client.json("plot", "long")["n"] == 20_000
