"""The decisions behind the backends, tested without any I/O."""

from __future__ import annotations

import ast
import asyncio
import inspect
import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import telstate_backends
from telstate_backends import (
    AddSample,
    AddSamples,
    AsyncMemoryBackend,
    CheckDue,
    Get,
    Immutable,
    KeyType,
    MemoryBackend,
    RetryPolicy,
    SetImmutable,
    Update,
)
from telstate_backends.events import parse_message
from telstate_backends.redis.url import parse
from telstate_backends.retry import Attempts
from telstate_codec import DecodeError, encode_sample


def test_importing_costs_little() -> None:
    """The package and a memory backend need neither redis nor numpy nor asyncio."""
    code = (
        "import sys, telstate_backends as tb; tb.MemoryBackend().execute(tb.Keys());"
        "print([name for name in ('redis', 'numpy', 'asyncio', 'telstate_rdb.reader', "
        "'telstate_rdb.values') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    """All exported names can be imported, are those that type checkers see, and nothing else can."""
    package: Any = telstate_backends
    tree = ast.parse(inspect.getsource(package))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    assert package.__all__ == sorted(str(alias.asname) for node in imports for alias in node.names)
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert name in dir(package)
    with pytest.raises(AttributeError, match="nonsense"):
        package.nonsense


def test_a_million_samples_cost_as_much_as_ten() -> None:
    """Appending at the end and reading the latest do not depend on how many there are."""
    costs = []
    for size in (10, 1_000_000):
        backend = MemoryBackend()
        members = [encode_sample(float(number), b"") for number in range(size + 5000)]
        backend.execute(AddSamples(b"s", tuple(members[:size])))
        blocks = []
        for start in range(size, size + 5000, 500):
            began = time.process_time()
            for member in members[start : start + 500]:
                backend.execute(AddSample(b"s", member))
                backend.execute(Get((b"s",)))
            blocks.append(time.process_time() - began)
        costs.append(min(blocks))
    # Were it proportional, it would be hundreds of times as much; noise is not five times.
    assert costs[1] < 5 * costs[0]


def test_a_watch_whose_loop_has_gone_harms_no_writer() -> None:
    """A store can be written to after the loop of a watcher was closed under it."""
    backend = AsyncMemoryBackend()
    loop = asyncio.new_event_loop()
    watch = backend.watch([b"k"])
    loop.run_until_complete(watch.__aenter__())
    loop.close()
    sync = backend.to_sync()
    sync.execute(SetImmutable(b"k", b"1"))
    assert sync.execute(Get((b"k",))) == Immutable(b"1")


def test_a_watch_whose_loop_has_gone_is_let_go_of() -> None:
    """Watches left on closed loops are no burden on a store for longer than to the next update."""
    backend = AsyncMemoryBackend()
    watches = []
    for _ in range(3):
        loop = asyncio.new_event_loop()
        for keys, patterns in (([b"k"], []), ([], [b"k*"])):
            watches.append(backend.watch(keys, patterns, deletions=True))
            loop.run_until_complete(watches[-1].__aenter__())
        loop.close()
    store = backend.store
    assert (len(store.listeners), len(store.pattern_listeners)) == (3, 6)
    sync = backend.to_sync()
    with sync.watch([b"k"]) as watcher:
        for number in range(2):
            sync.execute(AddSample(b"k", encode_sample(float(number), b"1")))
        assert [watcher.poll() for _ in range(3)][0] is CheckDue.SUBSCRIBED
    assert (store.listeners, store.pattern_listeners, backend._watchers) == ({}, [], set())
    # Also one that nobody has written for since.
    loop = asyncio.new_event_loop()
    watches.append(backend.watch([b"k"]))
    loop.run_until_complete(watches[-1].__aenter__())
    loop.close()
    backend.close()
    assert (store.listeners, backend._watchers) == ({}, set())


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_delays_are_bounded(attempt: int, fraction: float) -> None:
    """However many failures there were, the delay is positive and within its bound."""
    assert 0 < RetryPolicy().delay(attempt, fraction) <= RetryPolicy().longest_delay


def test_attempts_end_with_the_bound() -> None:
    """Attempts go on with growing delays until the bound, and then there are no more."""
    now = 0.0
    attempts = Attempts(RetryPolicy(1.0, 0.1, 0.4), clock=lambda: now, jitter=lambda: 0.0)
    delays = []
    while (delay := attempts.next_delay()) is not None:
        delays.append(delay)
        now += delay
    assert delays == [0.1, 0.2, 0.4]
    assert RetryPolicy(0.0).begin().next_delay() is None


@given(st.binary())
def test_any_message_is_read_or_refused(message: bytes) -> None:
    """Whatever is published is an update, needs the kind of its key, or is a DecodeError."""
    try:
        update = parse_message(b"k", message)
    except DecodeError:
        return
    assert update is None or update.key == b"k"


@given(st.binary(), st.binary())
def test_indexed_messages_survive(sub_key: bytes, value: bytes) -> None:
    """Sub-key and value come out as they went in, whatever bytes they are."""
    message = b"\x03%d\n" % len(sub_key) + sub_key + value
    assert parse_message(b"k", message) == Update(b"k", KeyType.INDEXED, value, sub_key=sub_key)


@pytest.mark.parametrize(
    "url, hosts, service",
    [
        ("redis+sentinel://a:1,b/store/2", [("a", 1), ("b", 26379)], "store"),
        ("redis+sentinel://u:p%40@[::1]:5/my%20store", [("::1", 5)], "my store"),
        ("redis+cluster://a,[::2]", [("a", 6379), ("::2", 6379)], ""),
        ("rediss+cluster://:p@a:7?socket_timeout=2", [("a", 7)], ""),
        ("redis://a:1/3", [], ""),
    ],
)
def test_urls(url: str, hosts: list[tuple[str, int]], service: str) -> None:
    """URLs of Sentinels and clusters give their hosts, the service, and everything else."""
    target = parse(url, None)
    assert (target.hosts, target.service) == (hosts, service)
    assert target.arguments()["socket_timeout"] == (2.0 if "timeout" in url else 5.0)
    assert target.arguments().get("db") == {"2": 2, "3": 3}.get(url[-1] if url[-2] == "/" else "")
    assert target.arguments().get("ssl", False) == url.startswith("rediss+")


@pytest.mark.parametrize(
    "url, db",
    [("redis://a/1", 2), ("http://a", None), ("redis+sentinel://a", None), ("redis", None)],
)
def test_contradictions_in_urls(url: str, db: int | None) -> None:
    """A URL that says something else than `db`, or is none of ours, is a ValueError."""
    with pytest.raises(ValueError):
        parse(url, db)
