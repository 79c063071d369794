"""Functions that users give us to call: which are refused, and what is said of their errors."""

from __future__ import annotations

import asyncio
import functools
import gc
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

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

LONG = 20.0

MakeWait = Callable[[Any], Wait[Any]]


def on_key(condition: Any) -> KeyWait:
    """Make a wait for a key in a view."""
    return KeyWait((b"v_k", b"k"), condition)


def on_sub_key(condition: Any) -> IndexedWait:
    """Make a wait for a sub-key."""
    return IndexedWait((b"i",), b"s", condition)


@pytest.fixture(params=[on_key, on_sub_key], ids=["key", "sub-key"])
def make_wait(request: pytest.FixtureRequest) -> MakeWait:
    """Both sorts of wait in turn."""
    make: MakeWait = request.param
    return make


@pytest.fixture(autouse=True, scope="module")
def no_warnings() -> Iterator[None]:
    """No test leaves a coroutine that was never awaited."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
        gc.collect()  # Once for all tests: it takes longer than most of them.


async def waited(wanted: Wait[Any], asynchronous: bool) -> None:
    """Wait for what a store has, in either manner."""
    backend = MemoryBackend()
    backend.execute_many([SetImmutable(b"k", b"1"), SetIndexed(b"i", b"s", b"1")])
    if asynchronous:
        other = AsyncMemoryBackend(backend.store)
        await asyncio.wait_for(wait_async(other, wanted), LONG)
    else:
        await asyncio.to_thread(wait, backend, wanted, LONG)


class Disguised:
    """Something that is called like a function, and has to be awaited."""

    async def __call__(self, *_: object) -> bool:
        return False


async def awaited(*_: object) -> bool:
    """Be false, when awaited."""
    return False


async def streamed(*_: object) -> Any:
    """Be an asynchronous generator."""
    yield False


def generated(*_: object) -> Iterator[bool]:
    """Be a generator."""
    yield False


SPECIAL: list[Any] = [awaited, functools.partial(awaited, 1), streamed, generated]
#: Those of which only their result tells what they are.
DISGUISED: list[Any] = [Disguised(), *(lambda *a, f=f: f(*a) for f in SPECIAL)]


@pytest.mark.parametrize("condition", [*SPECIAL, 5, "true"])
def test_conditions_that_show_what_they_are(make_wait: MakeWait, condition: Any) -> None:
    """What cannot be called or has to be awaited is refused when the wait is made, naming the key."""
    with pytest.raises(TypeError, match=r"wait for .*'[ki]' must be a (synchronous )?function"):
        make_wait(condition)


@pytest.mark.parametrize("condition", DISGUISED)
async def test_conditions_that_do_not(
    make_wait: MakeWait, condition: Any, asynchronous: bool
) -> None:
    """A condition that gives what has to be awaited does not end a wait well, and is closed."""
    with pytest.raises(TypeError, match=r"wait for .*'[ki]' must be a (synchronous )?function"):
        await waited(make_wait(condition), asynchronous)


async def test_a_future_is_no_truth_value(make_wait: MakeWait) -> None:
    """A condition that gives a future is refused, because that counts as true."""
    future = asyncio.get_running_loop().create_future()
    with pytest.raises(TypeError, match="synchronous function"):
        await waited(make_wait(lambda _: future), True)


class Undecided:
    """What is neither true nor false."""

    def __bool__(self) -> bool:
        raise ValueError("neither")


@pytest.mark.parametrize(
    ("condition", "error"),
    [
        (lambda _: 1 / 0, ZeroDivisionError),
        (lambda: True, TypeError),
        (lambda _: int("x"), ValueError),
        (lambda _: Undecided(), ValueError),
    ],
)
async def test_errors_name_the_key(
    make_wait: MakeWait, condition: Any, error: type[Exception], asynchronous: bool
) -> None:
    """What a condition raises comes out as it is, with a note that names what was waited for."""
    wanted = make_wait(condition)
    with pytest.raises(error) as caught:
        await waited(wanted, asynchronous)
    assert type(caught.value) is error
    assert caught.value.__notes__ == [f"This is from the condition of the wait for {wanted.name}."]


async def test_one_error_has_one_note(asynchronous: bool) -> None:
    """An error that is raised again and again does not grow."""
    error = KeyError("always the same")

    def condition(_: object) -> bool:
        raise error

    for _ in range(3):
        with pytest.raises(KeyError):
            await waited(on_key(condition), asynchronous)
    assert len(error.__notes__) == 1


async def test_an_error_in_an_update_names_the_key(asynchronous: bool) -> None:
    """The note is there too if the condition was called with an update."""
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


@pytest.mark.parametrize("progress", [*SPECIAL, *DISGUISED, 5])
async def test_progress_that_is_no_ordinary_function(progress: Any, asynchronous: bool) -> None:
    """Of a load, too, what has to be awaited is refused."""
    records = [KeyRecord(0, b"k", b"\xff\x01")]
    with pytest.raises(TypeError, match="progress .* must be a (synchronous )?function"):
        if asynchronous:
            await load_records_async(AsyncMemoryBackend(), records, progress=progress)
        else:
            load_records(MemoryBackend(), records, progress=progress)


async def test_progress_may_start_a_task() -> None:
    """Whoever cares for what progress starts may start what he likes."""
    tasks: list[asyncio.Task[bool]] = []

    def progress(_: object) -> asyncio.Task[bool]:
        tasks.append(asyncio.create_task(awaited()))
        return tasks[-1]

    records = [KeyRecord(0, b"k", b"\xff\x01")]
    await load_records_async(AsyncMemoryBackend(), records, progress=progress)
    assert await asyncio.gather(*tasks) == [False]
