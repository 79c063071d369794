"""TelescopeState on a Redis server, method by method; each side has its own server."""

import importlib
import itertools
import queue
import threading
import time
from typing import Any

from harness import Side, Timed, row

SAMPLES = 1000


def connect(side: Side) -> Any:
    """Return a telescope state on an empty server, or None if there is no server."""
    url = side.settings.get("redis_url")
    if url is None:
        return None
    package = importlib.import_module("telstate" if side.is_ours else "katsdptelstate")
    ts = package.TelescopeState(url.removeprefix("redis://"))
    ts.clear()
    return ts


def filled(side: Side, depth: int) -> Any:
    """Return a view of `depth` prefixes, with all keys in the root."""
    ts = connect(side)
    if ts is None:
        return None
    ts["n_chans"] = 4096
    for number in range(SAMPLES):
        ts.add("gain", number / 7, ts=float(number))
    for number in range(depth - 1):
        ts = ts.view(f"prefix{number}")
    return ts


def define_get(depth: int, at_least: float) -> None:
    """Define the row for reading an immutable that is found under the last of `depth` prefixes."""

    @row(f"redis: get in a view of {depth}", at_least=at_least)
    def get(side: Side) -> Timed:
        ts = filled(side, depth)
        return None if ts is None else lambda: ts.get("n_chans")


for number_of_prefixes, ratio in ((1, 1), (4, 3), (8, 6)):
    define_get(number_of_prefixes, ratio)


def define_cached_get(depth: int) -> None:
    """Define the row for reading it repeatedly with a cache, which the peer lacks."""

    @row(f"redis: get of a cached immutable in a view of {depth}")
    def get(side: Side) -> Timed:
        ts = filled(side, depth)
        if ts is None or not side.is_ours:
            return None if ts is None else lambda: ts.get("n_chans")
        ts = type(ts)(side.settings["redis_url"], prefixes=ts.prefixes, cache_size=100)
        for _ in range(20):
            ts.get("n_chans")
            time.sleep(0.01)  # The subscription is confirmed meanwhile.
        return lambda: ts.get("n_chans")


for number_of_prefixes in (1, 4):
    define_cached_get(number_of_prefixes)


@row("redis: latest sample in a view of 4", at_least=3)
def latest(side: Side) -> Timed:
    ts = filled(side, 4)
    return None if ts is None else lambda: ts["gain"]


@row("redis: add")
def add(side: Side) -> Timed:
    ts = connect(side)
    clock = itertools.count()
    return None if ts is None else lambda: ts.add("gain", 1.5, ts=float(next(clock)))


@row("redis: range of 1000 samples", at_least=1.5)
def get_range(side: Side) -> Timed:
    ts = filled(side, 1)
    return None if ts is None else lambda: ts.get_range("gain", st=0)


@row("redis: 1000 samples in a batch, against 1000 adds", at_least=20)
def batch(side: Side) -> Timed:
    ts = connect(side)
    if ts is None:
        return None
    clock = itertools.count()
    if not side.is_ours:

        def add_each() -> None:
            start = next(clock) * SAMPLES
            for number in range(SAMPLES):
                ts.add("gain", 1.5, ts=float(start + number))

        return add_each
    from telstate_backends import AddSamples
    from telstate_codec import encode_sample, encode_value

    def add_all() -> None:
        start = next(clock) * SAMPLES
        value = encode_value(1.5)
        samples = tuple([encode_sample(float(start + n), value) for n in range(SAMPLES)])
        ts.backend.execute(AddSamples(b"gain", samples))

    return add_all


@row("redis: wake-up after a write", at_least=1)
def wake_up(side: Side) -> Timed:
    writer, waiter = connect(side), connect(side)
    if writer is None:
        return None
    wanted: queue.SimpleQueue[str] = queue.SimpleQueue()
    woken: queue.SimpleQueue[None] = queue.SimpleQueue()
    names = map("key{}".format, itertools.count())

    def wait() -> None:
        while True:
            waiter.wait_key(wanted.get())
            woken.put(None)

    threading.Thread(target=wait, daemon=True).start()

    def write() -> None:
        name = next(names)
        wanted.put(name)
        # The key is written at once, so most of the time is spent on the subscription.
        writer.add(name, 1, immutable=True)
        woken.get()

    return write


def written_by_itself(side: Side) -> str | None:
    """Return the path of the snapshot of 28 MB; the peer gets a copy in a version that it can read."""
    if side.is_ours:
        return side.settings.get("snapshot")
    path = side.settings.get("snapshot_version_6")
    if path is None:
        return None
    peer: Any = importlib.import_module("katsdptelstate")
    writer_module: Any = importlib.import_module("katsdptelstate.rdb_writer")
    own = side.folder / "snapshot.rdb"
    if not own.exists():
        ts = peer.TelescopeState()
        ts.load_from_file(path)
        with writer_module.RDBWriter(str(own)) as writer:
            writer.save(ts)
    return str(own)


@row("load a snapshot of 28 MB into memory", at_least=6)
def load_into_memory(side: Side) -> Timed:
    path = written_by_itself(side)
    package = importlib.import_module("telstate" if side.is_ours else "katsdptelstate")
    return None if path is None else lambda: package.TelescopeState().load_from_file(path)


@row("load a snapshot of 28 MB into Redis", at_least=5)
def load_into_redis(side: Side) -> Timed:
    path = written_by_itself(side)
    ts = connect(side)
    if path is None or ts is None:
        return None
    redis: Any = importlib.import_module("redis")
    flush = redis.Redis.from_url(side.settings["redis_url"]).flushdb

    def load() -> None:
        # Both sides load into an empty database, as the peer's commands do nothing to keys that exist.
        # The server deletes the old keys in the background.
        flush(asynchronous=True)
        ts.load_from_file(path)

    return load


@row("load a snapshot of 28 MB into Redis, where it is already")
def load_again(side: Side) -> Timed:
    path = written_by_itself(side)
    ts = connect(side)
    return None if path is None or ts is None else lambda: ts.load_from_file(path)
