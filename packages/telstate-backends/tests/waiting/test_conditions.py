"""Conditions of waits, and progress functions: what is refused, and how their errors are reported."""

from __future__ import annotations

import asyncio
import functools
import gc
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from subjects import LONG

from telstate_backends import (
    AsyncMemoryBackend,
    IndexedWait,
    KeyWait,
    MemoryBackend,
    SetImmutable,
    SetIndexed,
    Wait,
    load_records,
    load_records_async,
    wait,
    wait_async,
)
from telstate_rdb import KeyRecord

MakeWait = Callable[[Any], Wait[Any]]


def on_key(condition: Any) -> KeyWait:
    """Return a wait for a key in a view."""
    return KeyWait((b"v_k", b"k"), condition)


def on_sub_key(condition: Any) -> IndexedWait:
    """Return a wait for a sub-key."""
    return IndexedWait((b"i",), b"s", condition)


@pytest.fixture(params=[on_key, on_sub_key], ids=["key", "sub-key"])
def make_wait(request: pytest.FixtureRequest) -> MakeWait:
    """A function that returns a wait, of each kind in turn."""
    make: MakeWait = request.param
    return make


@pytest.fixture(autouse=True, scope="module")
def no_warnings() -> Iterator[None]:
    """Check that no test leaves a coroutine that was never awaited."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
        gc.collect()  # Once for all tests: it takes longer than most of them.


async def waited(wanted: Wait[Any], asynchronous: bool) -> None:
    """Wait for something that the store has, synchronously or with asyncio."""
    backend = MemoryBackend()
    backend.execute_many([SetImmutable(b"k", b"1"), SetIndexed(b"i", b"s", b"1")])
    if asynchronous:
        other = AsyncMemoryBackend(backend.store)
        await asyncio.wait_for(wait_async(other, wanted), LONG)
    else:
        await asyncio.to_thread(wait, backend, wanted, LONG)


class AsyncCallable:
    """An object with an asynchronous ``__call__``."""

    async def __call__(self, *_: object) -> bool:
        return False


async def awaited(*_: object) -> bool:
    """Return False, when awaited."""
    return False


async def streamed(*_: object) -> Any:
    """Yield False, as an asynchronous generator."""
    yield False


def generated(*_: object) -> Iterator[bool]:
    """Yield False."""
    yield False


NOT_SYNCHRONOUS: list[Any] = [awaited, functools.partial(awaited, 1), streamed, generated]
#: Those that inspection does not recognise, only their result.
DISGUISED: list[Any] = [AsyncCallable(), *(lambda *a, f=f: f(*a) for f in NOT_SYNCHRONOUS)]


@pytest.mark.parametrize("condition", [*NOT_SYNCHRONOUS, 5, "true"])
def test_unsuitable_conditions(make_wait: MakeWait, condition: Any) -> None:
    """A condition that is not a synchronous function is refused at once, naming the key."""
    with pytest.raises(TypeError, match=r"wait for .*'[ki]' must be a (synchronous )?function"):
        make_wait(condition)


@pytest.mark.parametrize("condition", DISGUISED)
async def test_disguised_conditions(
    make_wait: MakeWait, condition: Any, asynchronous: bool
) -> None:
    """A condition that returns a coroutine or a generator is refused, and its result closed."""
    with pytest.raises(TypeError, match=r"wait for .*'[ki]' must be a (synchronous )?function"):
        await waited(make_wait(condition), asynchronous)


async def test_a_condition_that_returns_a_future(make_wait: MakeWait) -> None:
    """A condition that returns a future is refused, because a future counts as true."""
    future = asyncio.get_running_loop().create_future()
    with pytest.raises(TypeError, match="synchronous function"):
        await waited(make_wait(lambda _: future), True)


class NoBool:
    """An object without a truth value."""

    def __bool__(self) -> bool:
        raise ValueError("neither")


@pytest.mark.parametrize(
    ("condition", "error"),
    [
        (lambda _: 1 / 0, ZeroDivisionError),
        (lambda: True, TypeError),
        (lambda _: int("x"), ValueError),
        (lambda _: NoBool(), ValueError),
    ],
)
async def test_errors_name_the_key(
    make_wait: MakeWait, condition: Any, error: type[Exception], asynchronous: bool
) -> None:
    """An error of a condition ends the wait unchanged, with a note that names the wait."""
    wanted = make_wait(condition)
    with pytest.raises(error) as caught:
        await waited(wanted, asynchronous)
    assert type(caught.value) is error
    assert caught.value.__notes__ == [f"This is from the condition of the wait for {wanted.name}."]


async def test_one_error_has_one_note(asynchronous: bool) -> None:
    """An error object that is raised again and again gets one note."""
    error = KeyError("always the same")

    def condition(_: object) -> bool:
        raise error

    for _ in range(3):
        with pytest.raises(KeyError):
            await waited(on_key(condition), asynchronous)
    assert len(error.__notes__) == 1


async def test_an_error_in_an_update_names_the_key(asynchronous: bool) -> None:
    """The note is also added if the condition was called with an update."""
    backend = MemoryBackend()
    wanted = on_key(lambda _: 1 / 0)
    waiting: Any
    if asynchronous:
        waiting = asyncio.create_task(wait_async(AsyncMemoryBackend(backend.store), wanted))
    else:
        waiting = asyncio.create_task(asyncio.to_thread(wait, backend, wanted, LONG))
    while not backend.store.listeners:
        await asyncio.sleep(0.001)
    backend.execute(SetImmutable(b"k", b"1"))
    with pytest.raises(ZeroDivisionError) as caught:
        await waiting
    assert "'v_k' or 'k'" in caught.value.__notes__[0]


@pytest.mark.parametrize("progress", [*NOT_SYNCHRONOUS, *DISGUISED, 5])
async def test_unsuitable_progress_functions(progress: Any, asynchronous: bool) -> None:
    """A progress function that is not synchronous is refused."""
    records = [KeyRecord(0, b"k", b"\xff\x01")]
    with pytest.raises(TypeError, match="progress .* must be a (synchronous )?function"):
        if asynchronous:
            await load_records_async(AsyncMemoryBackend(), records, progress=progress)
        else:
            load_records(MemoryBackend(), records, progress=progress)


async def test_progress_may_start_a_task() -> None:
    """A progress function may return a task that it has started."""
    tasks: list[asyncio.Task[bool]] = []

    def progress(_: object) -> asyncio.Task[bool]:
        tasks.append(asyncio.create_task(awaited()))
        return tasks[-1]

    records = [KeyRecord(0, b"k", b"\xff\x01")]
    await load_records_async(AsyncMemoryBackend(), records, progress=progress)
    assert await asyncio.gather(*tasks) == [False]
