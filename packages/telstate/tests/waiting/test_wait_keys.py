"""Waiting for several keys with `wait_keys`, on every backend, synchronous and asyncio."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

import pytest
from state_subjects import LONG, Subject, SyncSubject

from telstate import CancelledError, TelescopeState, TimeoutError, aio


async def wait_keys(subject: Subject, *arguments: Any, **named: Any) -> Any:
    """Wait for keys, in a thread for a synchronous subject, for at most `LONG` seconds."""
    if isinstance(subject, SyncSubject):
        return await asyncio.to_thread(subject.state.wait_keys, *arguments, timeout=LONG, **named)
    return await asyncio.wait_for(subject.state.wait_keys(*arguments, **named), LONG)


async def test_all(subject: Subject) -> None:
    """The wait ends when the last key is there, of any kind and in any order, and returns all names."""
    names = ["i", "m", "x", "i", b"b"]
    waiting = asyncio.create_task(wait_keys(subject, names))
    await subject.set_indexed("x", 1, 2)
    await subject.add("m", 1)
    await subject.set("b", 1)
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await subject.set("i", 1)
    assert await waiting == ("i", "m", "x", "i", "b")


async def test_any(subject: Subject) -> None:
    """With `require="any"` the wait ends with the first key and returns the keys that are there."""
    waiting = asyncio.create_task(wait_keys(subject, ["a", "b", "c"], require="any"))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await subject.set("b", 1)
    assert await waiting == ("b",)
    await subject.set("a", 1)
    assert await wait_keys(subject, iter(["a", "b", "c"]), require="any") == ("a", "b")


async def test_views(subject: Subject) -> None:
    """A key counts under any prefix of the view and is returned by its short name."""
    view = subject.view("v")
    waiting = asyncio.create_task(wait_keys(view, ["a", "b"]))
    await view.set("a", 1)
    await subject.set("b", 1)
    assert await waiting == ("a", "b")


async def test_all_at_once(subject: Subject) -> None:
    """A key that was deleted before the last one came must be set again."""
    waiting = asyncio.create_task(wait_keys(subject, ["a", "b"]))
    await asyncio.sleep(0.05)
    await subject.set("a", 1)
    await asyncio.sleep(0.05)
    await subject.delete("a")
    await subject.set("b", 1)
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await subject.set("a", 1)
    assert await waiting == ("a", "b")


async def test_none(subject: Subject) -> None:
    """Waiting for an empty list returns at once."""
    assert await wait_keys(subject, []) == ()


def test_what_is_missing_is_named(ts: TelescopeState) -> None:
    """The timeout error names the missing keys, and only these."""
    ts["here"] = 1
    with pytest.raises(TimeoutError, match="for key 'gone' and key 'too'.$") as caught:
        ts.wait_keys(["gone", "here", "too"], timeout=0.01)
    assert "here" not in str(caught.value)
    with pytest.raises(TimeoutError, match="for key 'v_gone' or 'gone' or key 'v_too' or 'too'.$"):
        ts.view("v").wait_keys(["gone", "too"], require="any", timeout=0.01)
    with pytest.raises(TimeoutError, match="'k9' and 90 more"):
        ts.wait_keys([f"k{number}" for number in range(100)], timeout=0.01)


def test_cancelling(ts: TelescopeState) -> None:
    """A cancel future that is done ends the wait, unless the keys are there already."""
    done: Future[None] = Future()
    done.set_result(None)
    with pytest.raises(CancelledError, match="'a'"):
        ts.wait_keys(["a"], cancel_future=done)
    ts["a"] = 1
    assert ts.wait_keys(["a"], timeout=0, cancel_future=done) == ("a",)


async def test_what_is_refused() -> None:
    """A single string, any of no keys and an unknown `require` are refused."""
    ts, ats = TelescopeState(), aio.TelescopeState()
    with pytest.raises(TypeError, match="single name 'abc'"):
        ts.wait_keys("abc")
    with pytest.raises(ValueError, match="no key"):
        ts.wait_keys([], require="any")
    with pytest.raises(ValueError, match="'some'"):
        ts.wait_keys(["a"], require="some")  # type: ignore[arg-type]  # what is tested
    with pytest.raises(TypeError, match="single name 'abc'"):
        await ats.wait_keys("abc")


async def test_many_keys_are_one_wait(subject: Subject) -> None:
    """A wait for fifty keys ends when all are there."""
    names = [f"k{number}" for number in range(50)]
    waiting = asyncio.create_task(wait_keys(subject, names))
    for name in names:
        await subject.set(name, 1)
    assert await waiting == tuple(names)
