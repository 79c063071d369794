"""What surrounds a wait in ordinary code: arguments that make no sense, and hints in its errors.

Rules: the waiting itself is that of `telstate_backends.waiting`, and what is waited for is in
`telstate.calls.waiting`. A key may have any characters, so that one which looks like a glob is not refused;
but whoever waits for it in vain is told that it was taken for a key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from telstate_backends import Backend, TimeoutError
from telstate_backends._wait import Wait, wait
from telstate_codec import Key, decode_key, key_repr

if TYPE_CHECKING:
    from telstate_backends._wait import CancelFuture

Checked = TypeVar("Checked")


def wait_for(
    backend: Backend,
    wanted: Wait[Checked],
    missing: Callable[[], Iterable[Key]],
    timeout: float | None,
    cancel_future: CancelFuture | None,
) -> None:
    """Wait for something.

    Parameters
    ----------
    backend
        Where.
    wanted
        What.
    missing
        Called when the time is over, to tell which keys have not come.
    timeout, cancel_future
        As of `TelescopeState.wait_key`.

    Raises
    ------
    TypeError
        If `timeout` is no number.
    TimeoutError
        If the time is over.
    """
    check_seconds(timeout, f"the wait for {wanted.name}")
    try:
        wait(backend, wanted, timeout, cancel_future)
    except TimeoutError as error:
        error.args = (f"{error}{hint_at_globs(missing(), 'waited for')}",)
        raise


def check_seconds(timeout: float | None, what: str) -> None:
    """Refuse a time limit that is no number, before anything is asked of the store."""
    if timeout is None:
        return
    try:
        0.0 + timeout
    except TypeError as error:
        advice = "; give its .total_seconds()" if hasattr(timeout, "total_seconds") else ""
        raise TypeError(
            f"The timeout of {what} must be a number of seconds or None, not the "
            f"{type(timeout).__name__} {timeout!r}{advice}."
        ) from error


def hint_at_globs(keys: Iterable[Key], done: str) -> str:
    """Say, at the end of an error, that what looks like globs was taken for keys."""
    globs = [key for key in keys if any(sign in _text(key) for sign in "*?[")]
    if not globs:
        return ""
    names = " and ".join(map(key_repr, globs))
    taken = f"was {done} as a key" if len(globs) == 1 else f"were {done} as keys"
    return f"; {names} {taken}: globs go in patterns= of watch"


def _text(key: Key) -> str:
    return key if isinstance(key, str) else decode_key(key)
