"""TelescopeState on a Redis server, method by method; each side has its own server."""

import importlib
import itertools
import queue
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

from harness import Measured, Measurement, Side, Timed, growth, row
from processes import run_together
from rows_telstate import CALLS, SIZES, arrays_of, error_text, fill, late_samples, view_of

SAMPLES = 1000


def connect(side: Side) -> Any:
    """Return a telescope state on an empty server."""
    url = side.redis_url.removeprefix("redis://")
    ts = importlib.import_module(side.package).TelescopeState(url)
    ts.clear()
    return ts


def filled(side: Side, depth: int) -> Any:
    """Return a view of `depth` prefixes, with all keys in the root."""
    return view_of(fill(side, connect(side)), depth)


def define_get(depth: int, at_least: float) -> None:
    """Define the row for reading an immutable that is found under the last of `depth` prefixes."""

    @row(f"redis: get in a view of {depth}", at_least=at_least)
    def get(side: Side) -> Timed:
        ts = filled(side, depth)
        return lambda: ts.get("n_chans")


for number_of_prefixes, ratio in ((1, 1), (4, 3), (8, 6)):
    define_get(number_of_prefixes, ratio)


def define_cached_get(depth: int) -> None:
    """Define the row for reading it repeatedly with a cache, which the peer lacks."""

    @row(f"redis: get of a cached immutable in a view of {depth}")
    def get(side: Side) -> Timed:
        ts = filled(side, depth)
        if not side.is_ours:
            return lambda: ts.get("n_chans")
        ts = type(ts)(side.redis_url, prefixes=ts.prefixes, cache_size=100)
        for _ in range(20):
            ts.get("n_chans")
            time.sleep(0.01)  # The subscription is confirmed meanwhile.
        return lambda: ts.get("n_chans")


for number_of_prefixes in (1, 4):
    define_cached_get(number_of_prefixes)


@row("redis: latest sample in a view of 4", at_least=3)
def latest(side: Side) -> Timed:
    ts = filled(side, 4)
    return lambda: ts["gain"]


@row("redis: add")
def add(side: Side) -> Timed:
    ts = connect(side)
    clock = itertools.count()
    return lambda: ts.add("gain", 1.5, ts=float(next(clock)))


@row("redis: range of 1000 samples", at_least=1.5)
def get_range(side: Side) -> Timed:
    ts = filled(side, 1)
    return lambda: ts.get_range("gain", st=0)


@row("redis: 1000 samples in a batch, against 1000 adds", at_least=20)
def batch(side: Side) -> Timed:
    ts = connect(side)
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


def define_call(what: str, call: Callable[[Any], object]) -> None:
    """Define the row for a call on a server."""

    @row(f"redis: {what}", at_least=1)
    def prepare(side: Side) -> Timed:
        ts = filled(side, 1)
        return lambda: call(ts)


for title, function in CALLS.items():
    define_call(title, function)


# ---------------------------------------------------------------------------------- growth


def fill_by_client(side: Side, count: int) -> Any:
    """Return a telescope state on a server with so many immutables, written in pipelines."""
    ts = connect(side)
    redis: Any = importlib.import_module("redis")
    with redis.Redis.from_url(side.redis_url) as client:
        for start in range(0, count, 10_000):
            with client.pipeline(transaction=False) as p:
                for number in range(start, min(start + 10_000, count)):
                    p.set(f"m{number:06}_serial", b"\xff\x01")
                p.execute()
    return ts


@growth("redis: keys(), by keys", (100, 1_000, 10_000, 100_000))
def keys_among(side: Side, size: int) -> Timed:
    ts = fill_by_client(side, size)
    return lambda: ts.keys()


@growth("redis: keys(glob) of 10 keys, by keys", (100, 1_000, 10_000, 100_000))
def glob_among(side: Side, size: int) -> Timed:
    ts = fill_by_client(side, size)
    return lambda: ts.keys("m00001?_*")


@growth("redis: text of a missing-key error, by keys", (100, 1_000, 10_000, 100_000))
def missing_text(side: Side, size: int) -> Timed:
    return error_text(fill_by_client(side, size))


@growth("redis: add_many of samples between as many others", SIZES, rounds=5)
def add_late(side: Side, size: int) -> Timed:
    if not side.is_ours and size > 10_000:
        return "not measured: takes half a minute, sample by sample"
    ts = connect(side)
    return late_samples(ts, size, side.is_ours)


def fill_sensor(side: Side, size: int) -> Any:
    """Return a telescope state on a server with one sensor of so many float samples."""
    ts = connect(side)
    ts.add("gain", 0.5, ts=0.0)
    redis: Any = importlib.import_module("redis")
    with redis.Redis.from_url(side.redis_url) as client:
        # Samples as both sides store them; only the time differs.
        sample = client.zrange("gain", 0, 0)[0]
        for start in range(0, size, 10_000):
            times = range(start, min(start + 10_000, size))
            members = {struct.pack(">d", at) + sample[8:]: 0 for at in times}
            client.zadd("gain", members)
    return ts


@growth("redis: get_range_arrays, by samples", (1_000, 10_000, 100_000, 1_000_000), rounds=5)
def range_arrays(side: Side, size: int) -> Timed:
    ts = fill_sensor(side, size)
    return arrays_of(ts, side.is_ours)


# What one of several processes does: it adds and reads in turn, and prints how long that took.
CLIENT = """
import json, time, {package}
ts = {package}.TelescopeState({address!r})
ts.add("gain{number}", 1.5)
print("ready", flush=True)
input()
start = time.perf_counter()
for _ in range({count}):
    ts.add("gain{number}", 1.5)
    ts.get("gain{number}")
print(json.dumps([time.perf_counter() - start]))
"""


@growth(
    "redis: 500 adds and gets in each of several processes", (1, 4, 16), quick_up_to=1, rounds=5
)
def processes(side: Side, size: int) -> Timed:
    connect(side)
    address = side.redis_url.removeprefix("redis://")
    codes = [
        CLIENT.format(package=side.package, address=address, number=number, count=500)
        for number in range(size)
    ]
    return Measured(lambda: Measurement(max(seconds for (seconds,) in run_together(codes))))
