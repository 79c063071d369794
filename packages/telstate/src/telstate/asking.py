"""How people who look at a store ask it: briefly.

Rules: what is shown in passing (a repr, a completion, a suggestion) asks once, waits a second at most
and has no say in whether the program goes on. A store in memory is asked straight away, another one in a
thread that is left to itself when the time is over; an asyncio one cannot be asked from ordinary code.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Any

from telstate_backends import AsyncBackend, MemoryBackend, Operation, Store, TimeoutError

#: How long to wait for an answer, in seconds.
PATIENCE = 1.0


class NotAskable(Exception):
    """The store cannot be asked without awaiting."""


def ask(backend: Any, operations: Sequence[Operation[Any]]) -> list[Any]:
    """Execute operations that only read, and wait a moment for what comes of it.

    Parameters
    ----------
    backend
        A backend of either manner.
    operations
        What to ask, in one trip; if one of them is not to be repeated after a failure (`Count` and
        `SomeKeys` are not), none is.

    Returns
    -------
    results
        As of ``execute_many``: an operation that failed gives its error.

    Raises
    ------
    NotAskable
        If the backend is an asyncio one of a server.
    TelstateError
        If the store cannot be reached, or does not answer in time.
    """
    backend = backend.uncached
    if isinstance(backend.store, Store):
        return MemoryBackend(backend.store).execute_many(operations)
    if isinstance(backend, AsyncBackend):
        raise NotAskable
    answers: SimpleQueue[list[Any] | BaseException] = SimpleQueue()

    def work() -> None:
        try:
            answers.put(backend.execute_many(operations))
        except BaseException as error:  # Whatever it is, it is for the one who asked.
            answers.put(error)

    threading.Thread(target=work, name="telstate look", daemon=True).start()
    try:
        answer = answers.get(timeout=PATIENCE)
    except Empty:
        raise TimeoutError(f"the store did not answer within {PATIENCE:g} s") from None
    if isinstance(answer, BaseException):
        raise answer
    return answer
