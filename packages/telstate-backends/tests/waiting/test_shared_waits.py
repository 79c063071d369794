"""The waits of a synchronous backend share one pub/sub connection, which one thread reads."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from subjects import LONG

from telstate_backends import (
    CheckDue,
    KeyType,
    KeyWait,
    RedisBackend,
    RefusedError,
    RetryPolicy,
    SetImmutable,
    Update,
    wait,
)
from telstate_backends.redis import _watcher

#: Waits in a thread that goes on after the end of the main thread.
LATE_WATCH = """
import sys, threading
from telstate_backends import RedisBackend

def watch():
    threading.main_thread().join()
    with backend.watch([b"k"]) as watcher:
        print(watcher.next(30), [thread.name for thread in threading.enumerate() if thread.daemon])

backend = RedisBackend.from_url(sys.argv[1])
threading.Thread(target=watch).start()
"""

#: Ends while the connection is kept, and closes the backend after everything else.
EXIT = """
import atexit, sys, threading

def close():
    backend.close()
    for thread in threading.enumerate():
        if thread.daemon:
            thread.join()

atexit.register(close)
from telstate_backends import RedisBackend

backend = RedisBackend.from_url(sys.argv[1])
with backend.watch([b"k"]) as watcher:
    print(watcher.next(30))
"""


@pytest.fixture
def admin(newest_url: str) -> Iterator[Any]:
    """A client of the server; most of its methods have no annotations."""
    with redis.Redis.from_url(newest_url) as client:
        yield client


def until(condition: Callable[[], object]) -> None:
    """Return when a condition is true, which must be so soon."""
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def readers() -> list[threading.Thread]:
    """Return the threads that read."""
    return [each for each in threading.enumerate() if each.name == "telstate pub/sub"]


def subscribed(admin: Any) -> int:
    """Return how many connections have subscriptions."""
    return sum(each["sub"] != "0" for each in admin.client_list())


@pytest.fixture
def forever(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is kept for longer than a test takes."""
    monkeypatch.setattr(_watcher, "_KEPT", 3600.0)  # private


def connections(admin: Any) -> int:
    """Return how many connections have ever been made to the server."""
    return int(admin.info("stats")["total_connections_received"])


def subscribe(backend: RedisBackend, key: bytes = b"k") -> None:
    """Watch a key until it is subscribed."""
    with backend.watch([key]) as watcher:
        assert watcher.next(LONG) is CheckDue.SUBSCRIBED


@pytest.mark.usefixtures("forever")
def test_one_connection_for_all_waits(newest_url: str, admin: Any) -> None:
    """There is one, and one thread; each wait gets what it waits for, and leaves no subscription."""
    names = [b"k%d" % number for number in range(40)]
    with RedisBackend.from_url(newest_url) as backend, ThreadPoolExecutor(len(names)) as threads:
        for _ in range(2):
            waiting = [threads.submit(wait, backend, KeyWait((name,)), LONG) for name in names]
            until(lambda: len(admin.pubsub_channels("update/k*")) == len(names))
            assert subscribed(admin) == 1
            until(lambda: len(readers()) == 1)
            for name in names:
                backend.execute(SetImmutable(name, b"1"))
            for each in waiting:
                each.result()
            until(lambda: subscribed(admin) == 0)
            admin.flushall()


@pytest.mark.usefixtures("forever")
def test_waits_one_after_another(newest_url: str, admin: Any) -> None:
    """They use one connection and one thread, which end when the backend is closed."""
    with RedisBackend.from_url(newest_url) as backend:
        subscribe(backend)
        before = readers(), connections(admin)
        for number in range(10):
            until(lambda: subscribed(admin) == 0)
            subscribe(backend, b"k%d" % number)
        assert (readers(), connections(admin)) == before
    until(lambda: not readers())


def test_nothing_is_kept_for_long(
    newest_url: str, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection and its thread end some time after the last wait, and are made anew for the next."""
    monkeypatch.setattr(_watcher, "_KEPT", 0.05)  # private
    with RedisBackend.from_url(newest_url) as backend:
        for _ in range(2):
            before = connections(admin)
            subscribe(backend)
            until(lambda: not readers())
            assert connections(admin) == before + 1


@pytest.mark.usefixtures("forever")
def test_a_connection_that_is_lost_while_nothing_waits(
    newest_url: str, admin: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not made anew before the next wait, and not logged."""
    with RedisBackend.from_url(newest_url) as backend, caplog.at_level(logging.INFO):
        subscribe(backend)
        until(lambda: subscribed(admin) == 0)
        before = connections(admin)
        (kept,) = (each["id"] for each in admin.client_list() if "subscribe" in each["cmd"])
        admin.client_kill_filter(_id=kept)
        until(lambda: not readers())
        assert (connections(admin), caplog.records) == (before, [])
        subscribe(backend)
        assert connections(admin) == before + 1


@pytest.mark.usefixtures("forever")
def test_a_client_that_may_make_few_connections(newest_url: str) -> None:
    """It has none to keep: calls can use its last one after a wait."""
    client = redis.Redis.from_url(newest_url, max_connections=1)
    with RedisBackend(client, retry=RetryPolicy(0.0)) as backend:
        subscribe(backend)
        until(lambda: not readers())
        backend.execute(SetImmutable(b"k", b"1"))


def test_a_wait_takes_three_exchanges(newest_url: str, admin: Any) -> None:
    """It reads, subscribes and reads again, on connections one of which is new."""
    with RedisBackend.from_url(newest_url) as backend, ThreadPoolExecutor(1) as threads:
        admin.config_resetstat()
        waiting = threads.submit(wait, backend, KeyWait((b"k",)), LONG)
        until(lambda: calls(admin, "evalsha") == 2)
        assert calls(admin, "subscribe") == 1
        backend.execute(SetImmutable(b"k", b"1"))
        waiting.result()


def calls(admin: Any, name: str) -> int:
    """Return how often commands have been called whose names begin in a way."""
    statistics = admin.info("commandstats").items()
    return sum(each["calls"] for full, each in statistics if full.startswith(f"cmdstat_{name}"))


def test_only_the_refused_waits_fail(newest_url: str, admin: Any) -> None:
    """Of many waits that begin at once, those without permission fail; others are not disturbed."""
    permissions = ("on", "nopass", "~*", "+@all", "resetchannels", "&update/mine*")
    admin.execute_command("ACL", "SETUSER", "dora", *permissions)
    names = [b"mine_%d" % number for number in range(30)]
    names[3] = names[17] = names[29] = b"other"
    url = newest_url.replace("//", "//dora:any@")
    with RedisBackend.from_url(url) as backend, ThreadPoolExecutor(len(names)) as threads:
        with backend.watch([b"mine_0"]) as watcher:
            assert watcher.next(LONG) is CheckDue.SUBSCRIBED
            waiting = [threads.submit(wait, backend, KeyWait((name,)), LONG) for name in names]
            for number in (3, 17, 29):
                with pytest.raises(RefusedError, match="channel 'update/other' cannot be"):
                    waiting[number].result()
            for name, each in zip(names, waiting, strict=True):
                if name != b"other":
                    backend.execute(SetImmutable(name, b"1"))
                    each.result()
            assert watcher.next(LONG) == Update(b"mine_0", KeyType.IMMUTABLE, b"1")
    admin.acl_deluser("dora")


def test_keys_are_added_and_left(newest_url: str, admin: Any) -> None:
    """A watcher adds and leaves keys while others of the same keys go on."""
    with RedisBackend.from_url(newest_url) as backend:
        with backend.watch([b"a"]) as one, backend.watch([b"a", b"b"]) as other:
            assert one.next(LONG) is other.next(LONG) is CheckDue.SUBSCRIBED
            assert (one.covers([b"a"]), one.covers([b"b"])) == (True, False)
            one.add([b"b"])
            assert one.next(LONG) is CheckDue.SUBSCRIBED
            assert one.covers([b"a", b"b"])
            one.discard([b"a"])
            until(lambda: one.covers([b"b"]))
            assert not one.covers([b"a"])
            for key in (b"a", b"b"):
                backend.execute(SetImmutable(key, b"1"))
            updates = [Update(key, KeyType.IMMUTABLE, b"1") for key in (b"a", b"b")]
            assert [other.next(LONG), other.next(LONG), one.next(LONG)] == [*updates, updates[1]]
            assert one.poll() is None
            one.wake()
            assert one.next(LONG) is None


def test_a_lost_connection_is_one_for_all(newest_url: str, admin: Any) -> None:
    """Each watcher learns that updates may have been lost, and gets those that follow."""
    with RedisBackend.from_url(newest_url) as backend:
        with backend.watch([b"a"]) as one, backend.watch([b"b"]) as other:
            assert one.next(LONG) is other.next(LONG) is CheckDue.SUBSCRIBED
            admin.client_kill_filter(_type="pubsub")
            assert one.next(LONG) is other.next(LONG) is CheckDue.RECONNECTED
            backend.execute(SetImmutable(b"b", b"1"))
            assert other.next(LONG) == Update(b"b", KeyType.IMMUTABLE, b"1")


@pytest.mark.usefixtures("forever")
def test_a_backend_that_is_dropped(newest_url: str) -> None:
    """It is freed at once, with its thread, and not only by the collector of cycles."""
    backend = RedisBackend.from_url(newest_url)
    subscribe(backend)
    gc.collect()  # the tracebacks of errors that were caught
    gc.disable()
    try:
        reference = weakref.ref(backend)
        del backend
        assert reference() is None
        until(lambda: not readers())
    finally:
        gc.enable()


def test_the_last_key_is_left_by_a_watcher_that_stays(newest_url: str, admin: Any) -> None:
    """The connection, which is of no use for the time being, is still read and written."""
    with RedisBackend.from_url(newest_url) as backend, backend.watch([b"k"]) as watcher:
        assert watcher.next(LONG) is CheckDue.SUBSCRIBED
        watcher.discard([b"k"])
        until(lambda: not admin.pubsub_channels("update/k"))


def test_waits_after_the_end_of_the_main_thread(newest_url: str) -> None:
    """They need no new thread, which some versions of Python refuse then."""
    command = [sys.executable, "-c", LATE_WATCH, newest_url]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert output == "CheckDue.SUBSCRIBED []\n"


def test_the_end_of_a_program(newest_url: str) -> None:
    """It may come while the connection is kept, and causes no message of the thread."""
    command = [sys.executable, "-c", EXIT, newest_url]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("CheckDue.SUBSCRIBED\n", "")
