"""Snapshots of telescope states: opening, loading, touching every key, and saving everything.

One file is what a 64-antenna observation of 20 minutes leaves. The others, of 1 MB to 2 GB, have the same
few keys again and again: sensors of 10,000 floats, arrays of 64 kB and small attributes. Where memory
counts, a call is made in a process of its own.
"""

import importlib
from pathlib import Path
from typing import Any

from harness import Side, Timed, growth, row
from processes import time_fresh
from rows_network import save_all
from rows_redis import connect
from rows_telstate import new

MEGABYTES = (1, 10, 100, 1_500)


def observation(side: Side) -> str:
    """Return the path of the snapshot of an observation, which our side makes."""
    path = Path(side.settings["shared"], "observation.rdb")
    if not path.exists():
        fill_observation: Any = importlib.import_module(
            "telstate_testing.observations"
        ).fill_observation
        ts = new(side)
        size = (4, 64, 120) if side.is_quick else (64, 4096, 1200)
        fill_observation(ts, *size)
        ts.save(path)
    return str(path)


def large_file(side: Side, megabytes: int) -> str:
    """Return the path of a file of about so many megabytes, which our side makes; there is one at a time."""
    path = Path(side.settings["shared"], f"{megabytes}.rdb")
    if not path.exists():
        for other in path.parent.glob("*0.rdb"):
            other.unlink()
        make_large_file(path, megabytes)
    return str(path)


def make_large_file(path: Path, megabytes: int) -> None:
    """Write a file of about so many megabytes."""
    rdb: Any = importlib.import_module("telstate_rdb")
    codec: Any = importlib.import_module("telstate_codec")
    numpy: Any = importlib.import_module("numpy")
    scores: Any = importlib.import_module("array").array("d", bytes(80_000))
    random = numpy.random.default_rng(1)
    values, times = random.normal(size=10_000), numpy.arange(10_000) + 1.6e9
    sensor = rdb.SortedSet(tuple(codec.encode_samples(values, times)), scores)
    array = codec.encode_value(random.normal(size=8_192))
    size = len(array) + sum(map(len, sensor.members)) + 3 * len(sensor.members)
    with rdb.RdbWriter(path) as writer:
        for number in range(max(4, round(megabytes * 1e6 / size))):
            writer.write(b"m%05d_sensor" % number, sensor)
            writer.write(b"m%05d_gains" % number, array)
            for name in range(20):
                writer.write(b"m%05d_name%d" % (number, name), codec.encode_value(f"m{name:03}h"))


@row("snapshot of an observation: load into memory", at_least=6, rounds=9)
def load_into_memory(side: Side) -> Timed:
    path = observation(side)
    return lambda: new(side).load_from_file(path)


@row("snapshot of an observation: load into memory and touch every key", rounds=9)
def load_and_touch(side: Side) -> Timed:
    path = observation(side)

    def work() -> None:
        ts = new(side)
        ts.load_from_file(path)
        for name in ts.keys():
            ts[name]

    return work


@row("snapshot of an observation: load into Redis", at_least=5, rounds=9)
def load_into_redis(side: Side) -> Timed:
    ts = connect(side)
    path = observation(side)
    redis: Any = importlib.import_module("redis")
    flush = redis.Redis.from_url(side.redis_url).flushdb

    def work() -> None:
        # Both sides load into an empty database, as the peer's commands do nothing to keys that exist.
        # The server deletes the old keys in the background.
        flush(asynchronous=True)
        ts.load_from_file(path)

    return work


@row("snapshot of an observation: load into Redis, where it is already", rounds=9)
def load_again(side: Side) -> Timed:
    ts = connect(side)
    path = observation(side)
    return lambda: ts.load_from_file(path)


@row("snapshot of an observation: save from memory", at_least=1, rounds=9)
def save_from_memory(side: Side) -> Timed:
    ts = new(side)
    ts.load_from_file(observation(side))
    return lambda: save_all(side, ts)


@row("snapshot of an observation: save from Redis", at_least=1, rounds=9)
def save_from_redis(side: Side) -> Timed:
    ts = connect(side)
    ts.load_from_file(observation(side))
    return lambda: save_all(side, ts)


@row("snapshot of 100 MB: save from Redis", at_least=1, rounds=5)
def save_large_from_redis(side: Side) -> Timed:
    ts = connect(side)
    ts.load_from_file(large_file(side, 1 if side.is_quick else 100))
    return lambda: save_all(side, ts)


def save_uncompressed(side: Side, ts: Any) -> None:
    """Save everything from a server that does not compress what DUMP, which the peer uses, returns.

    How long compression takes depends on how a server was built: 0.5 s (Redis 7.0) or 5 s (8.0 of Debian 13) for
    100 MB of samples.
    """
    redis: Any = importlib.import_module("redis")
    with redis.Redis.from_url(side.redis_url) as client:
        client.config_set("rdbcompression", "no")
        try:
            save_all(side, ts)
        finally:
            client.config_set("rdbcompression", "yes")


@row("snapshot of 100 MB: save from Redis without compression", at_least=1, rounds=5)
def save_large_uncompressed(side: Side) -> Timed:
    ts = connect(side)
    ts.load_from_file(large_file(side, 1 if side.is_quick else 100))
    return lambda: save_uncompressed(side, ts)


@row("150 arrays of 1 MB: save from Redis without compression", at_least=1, rounds=5)
def save_arrays_uncompressed(side: Side) -> Timed:
    ts = connect(side)
    numpy: Any = importlib.import_module("numpy")
    random = numpy.random.default_rng(1)
    for number in range(1 if side.is_quick else 150):
        ts.add(f"m{number:05}_gains", random.normal(size=125_000), immutable=True)
    return lambda: save_uncompressed(side, ts)


OPEN = "import {name}\nts = {name}.TelescopeState()\nts.load_from_file({path!r})\n"
OPEN_OURS = "import {name}\nts = {name}.TelescopeState.from_snapshot({path!r})\n"


def define_open(what: str, use: str, megabytes: tuple[int, ...]) -> None:
    """Define the rows for opening files of various sizes in a new process, and using them."""

    @growth(f"files: {what}, by megabytes", megabytes, quick_up_to=1, rounds=3)
    def opening(side: Side, size: int) -> Timed:
        if size > MEGABYTES[-1] and not side.is_ours:
            return "takes 5 GB of memory"
        statement = (OPEN_OURS if side.is_ours else OPEN) + use
        return time_fresh(statement.format(name=side.package, path=large_file(side, size)))


define_open("import, open and read one key", "ts['m00003_gains']", (*MEGABYTES, 2_000))
define_open("import, open and touch every key", "for key in ts.keys(): ts[key]", MEGABYTES)
define_open(
    "import, open and read every sample",
    "for key in ts.keys(): ts.get_range(key, st=0) if key.endswith('sensor') else ts[key]",
    MEGABYTES[:3],
)


@growth("files: load into memory and save, by megabytes", MEGABYTES[:3], quick_up_to=1, rounds=3)
def load_and_save(side: Side, size: int) -> Timed:
    path = large_file(side, size)
    target = str(side.folder / "saved.rdb")
    if side.is_ours:
        saving = f"ts.save({target!r})"
    else:
        saving = (
            "from katsdptelstate.rdb_writer import RDBWriter\n"
            f"with RDBWriter({target!r}) as writer: writer.save(ts)"
        )
    statement = OPEN.format(name=side.package, path=path)
    return time_fresh(f"{statement}{saving}\nimport os; os.unlink({target!r})")
