"""Waiting for a key or sub-key, as the API page describes it, on every backend, synchronous and asyncio."""

import asyncio
import builtins
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import numpy
import pytest
import redis
from state_subjects import LONG, Subject, SyncSubject, real, until

from telstate import (
    CancelledError,
    DecodeError,
    EncodeError,
    ImmutableKeyError,
    TelescopeState,
    TelstateError,
    TimeoutError,
)
from telstate_backends import Immutable, Load
from telstate_backends.store import Fields
from telstate_codec import encode_value


class RecordingCondition:
    """A condition that is true for one value and records its calls and their threads or tasks."""

    def __init__(self, subject: Subject, wanted: object) -> None:
        self.subject = subject
        self.wanted = wanted
        self.seen: list[tuple[Any, ...]] = []
        self.places: set[object] = set()

    def __call__(self, value: object, *when: float | None) -> bool:
        self.seen.append((value, *when))
        self.places.add(self.subject.place())
        return value == self.wanted


async def start(subject: Subject, name: str, *arguments: Any) -> asyncio.Task[None]:
    """Start a wait in another task."""
    return asyncio.create_task(subject.waiting(name, *arguments))


async def test_already_true(subject: Subject) -> None:
    """A wait whose condition is true already returns at once."""
    await subject.add("m", 3, ts=5.0)
    await subject.set_indexed("x", 1, 2)
    await subject.set("i", "value")
    await subject.waiting("wait_key", "m")
    await subject.waiting("wait_key", "m", lambda value, t: value == 3 and t == 5.0)
    await subject.waiting("wait_key", "x", lambda value, t: value == {1: 2} and t is None)
    await subject.waiting("wait_key", "i", lambda value, t: value == "value" and t is None)
    await subject.waiting("wait_indexed", "x", 1)
    await subject.waiting("wait_indexed", "x", 1, lambda value: value == 2)


async def test_until_it_exists(subject: Subject) -> None:
    """A wait ends when the missing key or sub-key is written, for any kind of key."""
    writes: dict[str, Callable[[], Any]] = {
        "i": lambda: subject.set("i", 1),
        "m": lambda: subject.add("m", 1),
        "x": lambda: subject.set_indexed("x", 1, 1),
    }
    for key, write in writes.items():
        waiting = await start(subject, "wait_key", key)
        await write()
        await waiting
    waiting = await start(subject, "wait_indexed", "x", 2)
    await subject.set_indexed("x", 3, 1)
    await subject.set_indexed("x", 2, 1)
    await waiting


async def test_each_update_is_seen(subject: Subject) -> None:
    """The condition is called for each update with value and time, always in the same thread or task."""
    condition = RecordingCondition(subject, 20)
    await subject.add("m", 0, ts=0.0)
    waiting = await start(subject, "wait_key", "m", condition)
    # Once before it subscribes, once after: from then on it sees everything.
    await until(lambda: len(condition.seen) >= 2)
    for number in range(1, 21):
        await subject.add("m", number, ts=float(number))
    await waiting
    assert list(dict.fromkeys(condition.seen)) == [(number, float(number)) for number in range(21)]
    assert len(condition.places) == 1


async def test_where_a_condition_runs(subject: Subject) -> None:
    """A condition runs in the thread or task that waits."""
    await subject.add("m", 0, ts=0.0)
    condition = RecordingCondition(subject, 0)
    if isinstance(subject, SyncSubject):
        subject.state.wait_key("m", condition)
    else:
        await subject.state.wait_key("m", condition)
    assert condition.places == {subject.place()}


async def test_conditions_of_other_kinds(subject: Subject) -> None:
    """A condition on an indexed key gets the whole dict and no time, one on a sub-key its value."""
    whole, part = RecordingCondition(subject, {1: "a", 2: "b"}), RecordingCondition(subject, "b")
    waits = [
        await start(subject, "wait_key", "x", whole),
        await start(subject, "wait_indexed", "x", 2, part),
    ]
    await subject.set_indexed("x", 1, "a")
    await subject.set_indexed("x", 2, "b")
    await asyncio.gather(*waits)
    assert whole.seen[-1] == ({1: "a", 2: "b"}, None)
    assert part.seen == [("b",)]


async def test_condition_that_is_never_true(subject: Subject) -> None:
    """A condition that stays false does not end the wait, and cancelling it raises the documented error."""
    await subject.add("m", 1)
    await subject.set_indexed("x", 1, 1)
    for wait in (
        ("wait_key", "never"),
        ("wait_key", "m", lambda value, t: False),
        ("wait_indexed", "x", 2),
        ("wait_indexed", "x", 1, lambda value: False),
        ("wait_indexed", "never", 1),
    ):
        outcome = await subject.give_up(*wait)
        expected = CancelledError if isinstance(subject, SyncSubject) else asyncio.CancelledError
        assert type(outcome) is expected
    # Cancelled waits leave the subject usable.
    await subject.waiting("wait_key", "m")


async def test_wrong_kind(subject: Subject) -> None:
    """Waiting for a sub-key of a key of another kind, now or later, raises an error with the key."""
    await subject.set("i", 1)
    with pytest.raises(ImmutableKeyError, match="'i'"):
        await subject.waiting("wait_indexed", "i", 1)
    waiting = await start(subject, "wait_indexed", "m", 1)
    await asyncio.sleep(0.02)
    await subject.add("m", 1)
    with pytest.raises(ImmutableKeyError, match="'m'"):
        await waiting


async def test_shadowed(subject: Subject) -> None:
    """Updates of a key that is hidden by an earlier prefix count only after that one is deleted."""
    view = subject.view("a")
    await subject.set("a_k", "no")
    condition = RecordingCondition(subject, "yes")
    waiting = await start(view, "wait_key", "k", condition)
    await until(lambda: len(condition.seen) >= 2)
    await subject.set("k", "yes")
    await asyncio.sleep(0.02)
    assert not waiting.done() and ("yes", None) not in condition.seen
    await view.delete("k")
    await subject.set("k", "yes")
    await waiting


async def test_views(subject: Subject) -> None:
    """A key under any prefix of the view ends the wait."""
    view = subject.view("a")
    for key in ("a_k", "l", "a_m"):
        waiting = await start(view, "wait_key", key.removeprefix("a_"))
        await subject.add(key, 1)
        await waiting


async def test_no_wake_up_is_missed(subject: Subject) -> None:
    """A write that races with the start of a wait always ends it."""
    for number in range(30):
        waiting = await start(subject, "wait_key", f"k{number}")
        await asyncio.sleep(0)
        await subject.add(f"k{number}", 1)
        await waiting


async def test_errors_of_a_condition(subject: Subject) -> None:
    """An exception in the condition ends the wait and is raised unchanged."""
    await subject.add("m", 1)

    def broken(value: int, when: float) -> bool:
        return 1 / (value - 1) > 0

    with pytest.raises(ZeroDivisionError):
        await subject.waiting("wait_key", "m", broken)


async def test_values_that_cannot_be_decoded(subject: Subject) -> None:
    """A condition on a value that cannot be decoded raises a DecodeError with the key."""
    await subject.execute(Load(b"junk", Immutable(b"\x90")))
    await subject.waiting("wait_key", "junk")
    with pytest.raises(DecodeError, match="'junk'"):
        await subject.waiting("wait_key", "junk", lambda value, t: True)
    await subject.execute(Load(b"fields", Fields({encode_value(1): b"\x90"})))
    with pytest.raises(DecodeError, match=r"'fields'\[1\]"):
        await subject.waiting("wait_indexed", "fields", 1, lambda value: True)
    with pytest.raises(EncodeError, match="'x'"):
        await subject.waiting("wait_indexed", "x", object())


def test_true_condition_despite_cancellation(ts: TelescopeState) -> None:
    """A condition that is true already ends the wait, even with a cancelled future and no time left."""
    done: Future[None] = Future()
    done.set_result(None)
    ts.add("m", 3, ts=5.0)
    ts.set_indexed("x", 1, 2)
    ts.wait_key("m", lambda value, t: value == 3, timeout=0, cancel_future=done)
    ts.wait_key("m", None, 0, done)
    ts.wait_indexed("x", 1, lambda value: value == 2, timeout=0, cancel_future=done)
    ts.wait_indexed("x", 1, None, 0, done)
    with pytest.raises(CancelledError, match="'never'"):
        ts.wait_key("never", cancel_future=done)


def test_timeout(ts: TelescopeState) -> None:
    """A wait that times out raises telstate's TimeoutError, a subclass of the builtin one."""
    with pytest.raises(TimeoutError, match="'never'"):
        ts.wait_key("never", timeout=0.01)
    with pytest.raises(TimeoutError, match="17.*'never'"):
        ts.wait_indexed("never", 17, timeout=0.01)
    assert issubclass(TimeoutError, builtins.TimeoutError)
    assert issubclass(TimeoutError, TelstateError) and issubclass(CancelledError, TelstateError)


def soon(action: Callable[[], object]) -> threading.Thread:
    """Call a function in another thread."""
    thread = threading.Thread(target=action)
    thread.start()
    return thread


async def test_timeout_in_place_of_condition(subject: Subject) -> None:
    """A number in the place of the condition raises a TypeError with the key."""
    with pytest.raises(TypeError, match=r"wait for key 'g' must be .*int"):
        await subject.wait_key("g", 5)
    with pytest.raises(TypeError, match=r"wait for key 'g' must be .*float"):
        await subject.wait_indexed("g", "x", 0.5)


def test_invalid_timeouts() -> None:
    """A timeout that is not a number raises a TypeError."""
    ts: Any = TelescopeState()
    ts["there"] = 1
    waits: list[Callable[[Any], object]] = [
        lambda timeout: ts.wait_key("there", timeout=timeout),
        lambda timeout: ts.wait_keys(["nope"], timeout=timeout),
        lambda timeout: ts.wait_indexed("nope", 1, timeout=timeout),
    ]
    for wait in waits:
        with pytest.raises(TypeError):
            wait("5")
        with pytest.raises(TypeError):
            wait(timedelta(seconds=5))
    ts.wait_key("there", timeout=numpy.float32(5))


def test_endless_timeouts(ts: TelescopeState) -> None:
    """An infinite or huge timeout is accepted, and NaN is refused."""
    for number, timeout in enumerate((float("inf"), 1e10)):
        thread = soon(lambda: ts.add(f"k{number}", 1))
        ts.wait_key(f"k{number}", timeout=timeout)
        thread.join()
    with pytest.raises(ValueError, match="NaN"):
        ts.wait_key("never", timeout=float("nan"))


def test_cancel(ts: TelescopeState) -> None:
    """A wait ends when its cancel future is done, even if that only has a `done` method."""
    cancel: Future[None] = Future()
    thread = soon(lambda: cancel.set_result(None))
    with pytest.raises(CancelledError):
        ts.wait_key("never", cancel_future=cancel)
    thread.join()

    class SlowFuture:
        """A future that is done at the third call of `done`."""

        calls = 0

        def done(self) -> bool:
            self.calls += 1
            return self.calls > 2

    with pytest.raises(CancelledError):
        ts.wait_key("never", cancel_future=SlowFuture())


async def test_one_connection(newest_port: int) -> None:
    """Many asyncio waits share one pub/sub connection."""
    subject = await real(True, f"redis://127.0.0.1:{newest_port}")
    waits = [await start(subject, "wait_key", f"k{number}") for number in range(100)]
    with redis.Redis(port=newest_port) as client:

        def subscribed() -> bool:
            counts: list[tuple[bytes, int]] = client.pubsub_numsub(*channels)
            return sum(count for _, count in counts) == len(channels)

        channels = [f"update/k{number}" for number in range(100)]
        await until(subscribed)
        assert len(client.client_list(_type="pubsub")) == 1
    async with asyncio.timeout(LONG):
        for number in range(100):
            await subject.add(f"k{number}", 1)
        await asyncio.gather(*waits)
    await subject.close()
