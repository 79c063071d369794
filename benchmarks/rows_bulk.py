"""Batches, many samples and ranges as arrays, compared with single calls of katsdptelstate."""

import itertools
from typing import Any

import numpy as np
from harness import Side, Timed, row
from rows_redis import connect
from rows_telstate import arrays_of, new

SAMPLES = 1000
KEYS = 1500


def add_each(ts: Any, clock: "itertools.count[int]") -> None:
    """Add a thousand samples, one by one."""
    start = next(clock) * SAMPLES
    for number in range(SAMPLES):
        ts.add("gain", 1.5, ts=float(start + number))


@row("redis: add_many of 1000 samples, against 1000 adds", at_least=20)
def add_many(side: Side) -> Timed:
    ts = connect(side)
    clock = itertools.count()
    if not side.is_ours:
        return lambda: add_each(ts, clock)
    values, times = np.full(SAMPLES, 1.5), np.arange(float(SAMPLES))
    return lambda: ts.add_many("gain", values, times + next(clock) * SAMPLES)


@row("redis: 1000 adds in a pipeline, against 1000 adds")
def pipeline(side: Side) -> Timed:
    ts = connect(side)
    clock = itertools.count()
    if not side.is_ours:
        return lambda: add_each(ts, clock)

    def add_all() -> None:
        with ts.pipeline() as p:
            add_each(p, clock)

    return add_all


@row("redis: get_many of 100 keys, against 100 gets")
def get_many(side: Side) -> Timed:
    ts = connect(side)
    names = [f"key{number}" for number in range(100)]
    for name in names:
        ts[name] = 4096
    if side.is_ours:
        return lambda: ts.get_many(names)
    return lambda: {name: ts.get(name) for name in names}


@row("redis: names and kinds of 1500 keys")
def key_types(side: Side) -> Timed:
    ts = connect(side)
    for number in range(KEYS):
        ts[f"key{number}"] = number
    if side.is_ours:
        return lambda: ts.key_types()
    return lambda: {name: ts.key_type(name) for name in ts.keys()}


def define_range(where: str, what: str, value: Any) -> None:
    """Define the row for reading a range of a thousand values as arrays."""

    @row(f"{where}: range of 1000 {what} as arrays")
    def get_range_arrays(side: Side) -> Timed:
        ts = new(side) if where == "memory" else connect(side)
        for number in range(SAMPLES):
            ts.add("gain", value + number, ts=float(number))
        return arrays_of(ts, side.is_ours)


for place in ("memory", "redis"):
    define_range(place, "floats", 0.5)
    define_range(place, "arrays of 8", np.arange(8.0))
