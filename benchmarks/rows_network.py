"""Calls on a network: a proxy on loopback delays each exchange by 1 or 10 ms and counts round trips."""

import importlib
import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

from harness import Measured, Measurement, Side, Timed, growth, row
from proxy import DelayedServer
from rows_redis import connect, fill_by_client, fill_sensor
from rows_telstate import fill, view_of

MILLISECONDS = (1, 10)
NAMES = itertools.count()
DELAYED: dict[float, DelayedServer] = {}


def delayed(side: Side, milliseconds: float) -> DelayedServer:
    """Return the proxy before the server of this side."""
    if milliseconds not in DELAYED:
        DELAYED[milliseconds] = DelayedServer(side.redis_url, milliseconds / 1000)
    return DELAYED[milliseconds]


def connect_delayed(side: Side, server: DelayedServer) -> Any:
    """Return a telescope state that talks to the server through a proxy."""
    package = importlib.import_module(side.package)
    return package.TelescopeState(server.url.removeprefix("redis://"))


def counted(server: DelayedServer, call: Callable[[], object]) -> Measured:
    """Return what times a call and counts its connections and round trips."""

    def measure() -> Measurement:
        server.take_counts()
        start = time.perf_counter()
        call()
        taken = time.perf_counter() - start
        return Measurement(taken, server.take_counts())

    return Measured(measure)


CALLS: dict[str, Callable[[Any], object]] = {
    "get": lambda ts: ts.get("n_chans"),
    "get in a view of 4": lambda ts: view_of(ts, 4).get("n_chans"),
    "latest sample in a view of 4": lambda ts: view_of(ts, 4)["gain"],
    "range of 1000 samples": lambda ts: ts.get_range("gain", st=0),
    "add": lambda ts: ts.add("gain", 1.5, ts=500.0),
    "set an immutable again": lambda ts: ts.add("n_chans", 4096, immutable=True),
    "repr": repr,
    "wait_key that is there": lambda ts: ts.wait_key("n_chans"),
}


def define_call(what: str, call: Callable[[Any], object], milliseconds: int) -> None:
    """Define the row for a call at a latency."""

    @row(f"network of {milliseconds} ms: {what}", at_least=1, rounds=5)
    def prepare(side: Side) -> Timed:
        ts = connect(side)
        fill(side, ts)
        server = delayed(side, milliseconds)
        ts = connect_delayed(side, server)
        call(ts)
        return counted(server, lambda: call(ts))


def define_connect(milliseconds: int) -> None:
    """Define the row for connecting at a latency."""

    @row(f"network of {milliseconds} ms: connect and get", at_least=1, rounds=5)
    def connecting(side: Side) -> Timed:
        connect(side)
        server = delayed(side, milliseconds)
        clients = []  # They are not closed meanwhile.

        def work() -> None:
            clients.append(connect_delayed(side, server))
            clients[-1].get("missing")

        return counted(server, work)


def define_wait(milliseconds: int) -> None:
    """Define the row for a key that is written while a thread waits for it."""

    @row(f"network of {milliseconds} ms: key seen after a write 100 ms into a wait", rounds=5)
    def waiting(side: Side) -> Timed:
        writer = connect(side)
        ts = connect_delayed(side, delayed(side, milliseconds))

        def measure() -> Measurement:
            name = f"wait{next(NAMES)}"
            written = [0.0]

            def write() -> None:
                time.sleep(0.1)
                written[0] = time.perf_counter()
                writer.add(name, 1, immutable=True)

            thread = threading.Thread(target=write)
            thread.start()
            ts.wait_key(name)
            seen = time.perf_counter()
            thread.join()
            return Measurement(seen - written[0])

        return Measured(measure)


for latency in MILLISECONDS:
    define_connect(latency)
    define_wait(latency)
    for title, function in CALLS.items():
        define_call(title, function, latency)


@growth("network of 10 ms: keys(), by keys", (1_000, 10_000, 100_000), rounds=5)
def keys_among(side: Side, size: int) -> Timed:
    fill_by_client(side, size)
    server = delayed(side, 10)
    ts = connect_delayed(side, server)
    ts.get("missing")
    return counted(server, lambda: ts.keys())


@growth(
    "network of 10 ms: enter a watch of a sensor, by samples",
    (1_000, 10_000, 100_000, 1_000_000),
    rounds=3,
)
def enter_watch(side: Side, size: int) -> Timed:
    if not side.is_ours:
        return "has no watch"
    fill_sensor(side, size)
    server = delayed(side, 10)
    ts = connect_delayed(side, server)
    ts.get("missing")

    def enter() -> None:
        with ts.watch("gain"):
            pass

    return counted(server, enter)


@growth("network of 10 ms: save, by keys", (100, 1_000, 10_000), quick_up_to=100, rounds=3)
def save(side: Side, size: int) -> Timed:
    if not side.is_ours and size > 1_000:
        return "not measured: takes minutes, a round trip for each key"
    fill_by_client(side, size)
    server = delayed(side, 10)
    ts = connect_delayed(side, server)
    ts.get("missing")
    return counted(server, lambda: save_all(side, ts))


def save_all(side: Side, ts: Any) -> None:
    """Save everything to a file."""
    path = str(side.folder / "saved.rdb")
    if side.is_ours:
        ts.save(path)
        return
    with importlib.import_module("katsdptelstate.rdb_writer").RDBWriter(path) as writer:
        writer.save(ts)
