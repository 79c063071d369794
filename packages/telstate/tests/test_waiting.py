"""Waiting through TelescopeState, in memory."""

import threading
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from telstate import CancelledError, ImmutableKeyError, TelescopeState, TimeoutError


def soon(action: Callable[[], object]) -> threading.Thread:
    """Do something in another thread."""
    thread = threading.Thread(target=action)
    thread.start()
    return thread


def test_already_true(ts: TelescopeState) -> None:
    """What is already so is not waited for, cancelled or not, whatever the timeout."""
    done: Future[None] = Future()
    done.set_result(None)
    ts.add("m", 3, ts=5.0)
    ts.set_indexed("x", 1, 2)
    ts.wait_key("m", lambda value, t: value == 3 and t == 5.0, timeout=0, cancel_future=done)
    ts.wait_key("x", lambda value, t: value == {1: 2} and t is None, timeout=0)
    ts.wait_indexed("x", 1, lambda value: value == 2, timeout=0, cancel_future=done)


def test_timeout(ts: TelescopeState) -> None:
    """A wait in vain ends with telstate's TimeoutError, which is a builtin one too."""
    with pytest.raises(TimeoutError, match="'never'"):
        ts.wait_key("never", timeout=0.01)
    import builtins

    assert issubclass(TimeoutError, builtins.TimeoutError)


def test_endless_timeouts(ts: TelescopeState) -> None:
    """An infinite or huge timeout is as good as none, and NaN is refused."""
    for number, timeout in enumerate((float("inf"), 1e10)):
        thread = soon(lambda: ts.add(f"k{number}", 1))
        ts.wait_key(f"k{number}", timeout=timeout)
        thread.join()
    with pytest.raises(ValueError, match="NaN"):
        ts.wait_key("never", timeout=float("nan"))


def test_cancel(ts: TelescopeState) -> None:
    """A wait is given up as soon as its future is done."""
    cancel: Future[None] = Future()
    thread = soon(lambda: cancel.set_result(None))
    with pytest.raises(CancelledError):
        ts.wait_key("never", cancel_future=cancel)
    thread.join()


def test_each_update_is_seen(ts: TelescopeState) -> None:
    """The condition is called for each update, in the waiting thread."""
    seen = []
    subscribed = threading.Event()

    def condition(value: int, timestamp: float | None) -> bool:
        assert threading.current_thread() is threading.main_thread()
        seen.append((value, timestamp))
        if (
            len(seen) == 2
        ):  # Once before it subscribes, once after: from then on it sees everything.
            subscribed.set()
        return value == 20

    def write() -> None:
        subscribed.wait(30)
        for number in range(1, 21):
            ts.add("m", number, ts=float(number))

    ts.add("m", 0, ts=0.0)
    thread = soon(write)
    ts.wait_key("m", condition, timeout=30)
    thread.join()
    assert dict.fromkeys(seen) == dict.fromkeys((number, float(number)) for number in range(21))


def test_no_wake_up_is_missed(ts: TelescopeState) -> None:
    """A writer that races the waiter always wakes it."""
    for number in range(300):
        thread = soon(lambda: ts.add(f"k{number}", 1))
        ts.wait_key(f"k{number}", timeout=30)
        thread.join()


def test_shadowed(ts: TelescopeState) -> None:
    """An update of a key that an earlier prefix hides does not count."""
    view = ts.view("a")
    ts["a_k"] = "no"

    def write() -> None:
        ts["k"] = "yes"
        view.delete("k")
        ts["k"] = "yes"

    thread = soon(write)
    view.wait_key("k", lambda value, t: value == "yes", timeout=30)
    thread.join()
    assert "a_k" not in ts


def test_wait_indexed(ts: TelescopeState) -> None:
    """A sub-key is waited for with its value; a key of another kind is refused once it appears."""

    def write() -> None:
        for number in range(5):
            ts.set_indexed("x", number, number)

    thread = soon(write)
    ts.wait_indexed("x", 4, lambda value: value == 4, timeout=30)
    thread.join()
    thread = soon(lambda: ts.add("m", 1))
    with pytest.raises(ImmutableKeyError, match="'m'"):
        ts.wait_indexed("m", 1, timeout=30)
    thread.join()
