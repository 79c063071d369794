"""TelescopeState in memory, method by method, and how its calls and its memory grow."""

import importlib
import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from harness import Measured, Measurement, Side, Timed, growth, row
from processes import memory_fresh

ROWS = 1000


def new(side: Side) -> Any:
    """Return an empty telescope state of either side."""
    return importlib.import_module(side.package).TelescopeState()


def filled(side: Side, depth: int) -> Any:
    """Return a view of `depth` prefixes, with all keys in the root."""
    return view_of(fill(side, new(side)), depth)


def fill(side: Side, ts: Any) -> Any:
    """Write a key of each kind, and a hundred more for globs; return the same telescope state."""
    ts["n_chans"] = 4096
    ts.set_indexed("cal_K", "m000h", 0.25)
    for number in range(ROWS // 10 if side.is_quick else ROWS):
        ts.add("gain", number / 7, ts=float(number))
    for number in range(100):
        ts[f"m{number:03}_observer"] = "-30:42:39.8, 21:26:38.0"
    return ts


def view_of(ts: Any, depth: int) -> Any:
    """Return a view of `depth` prefixes."""
    for number in range(depth - 1):
        ts = ts.view(f"prefix{number}")
    return ts


@row("memory: get in a root view", at_least=1.5)
def get_root(side: Side) -> Timed:
    ts = filled(side, 1)
    return lambda: ts.get("n_chans")


@row("memory: get in a view of 4", at_least=3)
def get_view(side: Side) -> Timed:
    ts = filled(side, 4)
    return lambda: ts.get("n_chans")


@row("memory: latest sample in a view of 4")
def latest(side: Side) -> Timed:
    ts = filled(side, 4)
    return lambda: ts["gain"]


@row("memory: add", at_least=1.5)
def add(side: Side) -> Timed:
    ts = new(side)
    clock = itertools.count()
    return lambda: ts.add("gain", 1.5, ts=float(next(clock)))


@row("memory: range of 1000 samples", at_least=2)
def get_range(side: Side) -> Timed:
    ts = filled(side, 1)
    return lambda: ts.get_range("gain", st=0)


# The calls that are made all the time, on a filled telescope state in memory and on a server.
CALLS: dict[str, Callable[[Any], object]] = {
    "get of a missing key": lambda ts: ts.get("missing"),
    "key in it": lambda ts: "n_chans" in ts,
    "key_type": lambda ts: ts.key_type("gain"),
    "get_indexed": lambda ts: ts.get_indexed("cal_K", "m000h"),
    "get_range, latest": lambda ts: ts.get_range("gain"),
    "get_range(et=), latest before": lambda ts: ts.get_range("gain", et=500.0),
    "get_range(st=, et=) of 10 samples": lambda ts: ts.get_range("gain", st=500.0, et=510.0),
    "set an immutable again": lambda ts: ts.add("n_chans", 4096, immutable=True),
    "set_indexed again": lambda ts: ts.set_indexed("cal_K", "m000h", 0.25),
    "wait_key that is there": lambda ts: ts.wait_key("n_chans"),
    "wait_key that is there, condition": lambda ts: ts.wait_key("n_chans", lambda value, ts: True),
    "wait_indexed that is there": lambda ts: ts.wait_indexed("cal_K", "m000h"),
    "view": lambda ts: ts.view("subarray_1"),
    "root": lambda ts: ts.root(),
    "keys() of 103": lambda ts: ts.keys(),
    "keys(glob), 10 of 103": lambda ts: ts.keys("m00*"),
    "delete of a missing key": lambda ts: ts.delete("missing"),
    "repr": repr,
}


def define_call(what: str, call: Callable[[Any], object]) -> None:
    """Define the row for a call in memory."""

    @row(f"memory: {what}", at_least=1)
    def prepare(side: Side) -> Timed:
        ts = filled(side, 1)
        return lambda: call(ts)


for title, function in CALLS.items():
    define_call(title, function)


@row("memory: load a real snapshot of 199 keys")
def load(side: Side) -> Timed:
    path = f"{side.settings['test_data']}/1testdata_sdp_l0.rdb"
    return lambda: new(side).load_from_file(path)


# ---------------------------------------------------------------------------------- growth


def with_keys(side: Side, count: int) -> Any:
    """Return a telescope state in memory with so many keys."""
    ts = new(side)
    for number in range(count):
        ts[f"m{number:06}_serial"] = number
    return ts


@growth("memory: get, by keys", (100, 10_000, 100_000))
def get_among(side: Side, size: int) -> Timed:
    ts = with_keys(side, size)
    return lambda: ts.get("m000050_serial")


@growth("memory: keys(), by keys", (100, 1_000, 10_000, 100_000))
def keys_among(side: Side, size: int) -> Timed:
    ts = with_keys(side, size)
    return lambda: ts.keys()


@growth("memory: text of a missing-key error, by keys", (100, 1_000, 10_000, 100_000))
def missing_text(side: Side, size: int) -> Timed:
    return error_text(with_keys(side, size))


def error_text(ts: Any) -> Timed:
    """Return a function that asks for a missing key and formats the error."""

    def text() -> str:
        try:
            ts["m000050_seriel"]
        except KeyError as error:
            return str(error)
        raise AssertionError("The key is missing.")

    return text


SIZES = (100, 1_000, 10_000, 100_000)


def late_samples(ts: Any, size: int, is_ours: bool) -> Timed:
    """Return what times adding samples that lie between as many others."""
    values, times = np.full(size, 1.5), np.arange(float(size))
    numbers = itertools.count()

    def measure() -> Measurement:
        key = f"late{next(numbers)}"
        add_all(ts, key, values, times, is_ours)
        start = time.perf_counter()
        add_all(ts, key, values, times + 0.5, is_ours)
        taken = time.perf_counter() - start
        ts.delete(key)
        return Measurement(taken)

    return Measured(measure)


def add_all(ts: Any, key: str, values: Any, times: Any, is_ours: bool) -> None:
    """Add samples with `add_many`, or one by one."""
    if is_ours:
        for start in range(0, len(times), 100_000):  # as many as a call takes
            ts.add_many(key, values[start : start + 100_000], times[start : start + 100_000])
        return
    for value, timestamp in zip(values.tolist(), times.tolist()):
        ts.add(key, value, ts=timestamp)


@growth("memory: add_many of samples between as many others", SIZES, rounds=5)
def add_late(side: Side, size: int) -> Timed:
    return late_samples(new(side), size, side.is_ours)


def with_samples(side: Side, ts: Any, size: int) -> Any:
    """Add so many samples of a float to a telescope state, and return it."""
    add_all(ts, "gain", np.arange(float(size)), np.arange(float(size)), side.is_ours)
    return ts


@growth("memory: get_range_arrays, by samples", (1_000, 10_000, 100_000, 1_000_000), rounds=5)
def range_arrays(side: Side, size: int) -> Timed:
    return arrays_of(with_samples(side, new(side), size), side.is_ours)


def arrays_of(ts: Any, is_ours: bool) -> Timed:
    """Return what reads a sensor as arrays, directly or by way of a list."""
    if is_ours:
        return lambda: ts.get_range_arrays("gain", st=0)

    def arrays() -> Any:
        samples = ts.get_range("gain", st=0)
        return np.array([at for _, at in samples]), np.array([value for value, _ in samples])

    return arrays


@growth("memory: get_range of all, by samples", (1_000, 10_000, 100_000), rounds=5)
def range_all(side: Side, size: int) -> Timed:
    ts = with_samples(side, new(side), size)
    return lambda: ts.get_range("gain", st=0)


# ---------------------------------------------------------------------------------- memory


def define_memory(what: str, count: int, statement: str, setup: str = "") -> None:
    """Define the row for the memory that each of many things takes in a telescope state in memory."""

    @row(f"memory: bytes of memory for {what}, of {count:,}", unit="B", rounds=3)
    def prepare(side: Side) -> Timed:
        name = side.package
        start = f"import {name}; ts = {name}.TelescopeState(); ts['first'] = 1; {setup}"
        many = count // 10 if side.is_quick else count
        loop = f"for number in range({many}): {statement}"
        return memory_fresh(loop, start, per=many)


define_memory("an immutable int", 100_000, "ts[f'm{number:06}_serial'] = number")
define_memory("a float sample", 200_000, "ts.add('gain', number / 7, ts=float(number))")
define_memory("an indexed float", 100_000, "ts.set_indexed('cal', number, number / 7)")
define_memory(
    "a sample of an array of 64 complex",
    20_000,
    "ts.add('gains', value + number, ts=float(number))",
    "import numpy; value = numpy.zeros(64, 'c8'); ts.add('other', value)",
)
