"""Batches: many calls in one exchange with the store.

A `Batch` collects calls (see `telstate._calls`) and their handles, divides them into exchanges, and passes
on the results; it does no I/O. `telstate.pipeline` is the public side.

Values are encoded when they are queued, so that one that cannot be encoded is an error at once. An item
that fails does not affect the others; only a failure of the whole exchange (no connection) ends the batch.
Consecutive samples of one key become one operation, which is much faster and has the same result: if
it is refused, each sample by itself would have been.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeAlias, TypeVar

from telstate._calls.common import Call
from telstate._suggest import look_in
from telstate.errors import BatchError, BatchStateError, MissingKeyError
from telstate_backends import (
    AddSample,
    AddSamples,
    AsyncBackend,
    Backend,
    ConnectionError,
    Operation,
    RefusedError,
    SetImmutable,
    SetIndexed,
)
from telstate_codec import Key, TelstateError, key_repr
from telstate_codec.printable import bounded_repr

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)
# Operations to execute together, and the function that takes their results.
Exchange: TypeAlias = tuple[list[Operation[Any]], Callable[[Sequence[Any]], None]]

#: The limits of one exchange: a server answers it well before any socket timeout.
MAX_ITEMS = 10_000
MAX_BYTES = 2**24
#: How many items the message of an error names.
MAX_NAMED = 100

# The size of what is written. Reads are small, and the size of their results is unknown.
_SIZES: dict[type, Callable[[Any], int]] = {
    SetImmutable: lambda operation: len(operation.value),
    SetIndexed: lambda operation: len(operation.value),
    AddSample: lambda operation: len(operation.member),
    AddSamples: lambda operation: sum(map(len, operation.members)),
}


class Queued(Generic[Result_co]):
    """The future result of one item of a batch.

    `value` and `error` raise `BatchStateError` until the ``with`` block of the batch has ended.

    Examples
    --------
    >>> from telstate import TelescopeState
    >>> ts = TelescopeState()
    >>> with ts.pipeline() as p:
    ...     p["n_chans"] = 4096
    ...     n_chans = p.get("n_chans")
    >>> n_chans, n_chans.value
    (<Queued get 'n_chans': 4096>, 4096)
    """

    __slots__ = ("_done", "_error", "_key", "_method", "_result")

    def __init__(self, method: str, key: Key | None) -> None:
        self._method = method
        self._key = key
        self._done = False
        self._error: Exception | None = None
        self._result: Any = None

    @property
    def name(self) -> str:
        """The method and the key, for messages."""
        return self._method if self._key is None else f"{self._method} {key_repr(self._key)}"

    @property
    def done(self) -> bool:
        """Whether there is a value or an error."""
        return self._done

    @property
    def value(self) -> Result_co:
        """The return value of the method.

        Raises
        ------
        Exception
            Whatever the method raises.
        BatchStateError
            If the batch has not been sent.
        """
        error = self.error
        if error is not None:
            raise error
        result: Result_co = self._result
        return result

    @property
    def error(self) -> Exception | None:
        """The exception of the method; None if it succeeded."""
        if not self._done:
            raise BatchStateError(
                f"There is no result of {self.name}: its batch was not sent, or was interrupted. "
                "Read results after the with block."
            )
        return self._error

    if not TYPE_CHECKING:  # without this method, type checkers report such a condition

        def __bool__(self) -> NoReturn:
            # The handle would always be true, whatever its value.
            raise TypeError(
                "A queued item is neither true nor false. Use .value after the with block."
            )

    def settle(self, result: object, error: Exception | None) -> None:
        """Set the result or the error; called by the batch."""
        self._result, self._error, self._done = result, error, True

    def __repr__(self) -> str:
        if not self._done:
            return f"<Queued {self.name}: pending>"
        if self._error is not None:
            return f"<Queued {self.name}: {type(self._error).__name__}>"
        return f"<Queued {self.name}: {bounded_repr(self._result)}>"


Item: TypeAlias = tuple[Operation[Any], Callable[[Any], Any], Queued[Any]]


class _State(enum.Enum):
    NEW = enum.auto()
    OPEN = enum.auto()
    ENDED = enum.auto()


class Batch:
    """Calls that are sent together, and their results. A batch is used once."""

    def __init__(self, backend: Backend | AsyncBackend) -> None:
        self._backend = backend  # only for suggestions of similar keys
        self._state = _State.NEW
        self._items: list[Item] = []
        self._failed: list[tuple[Queued[Any], Exception]] = []

    def describe(self) -> str:
        """Return how many calls are queued, or why none can be."""
        if self._state is not _State.OPEN:
            return "not open" if self._state is _State.NEW else "ended"
        count = len(self._items)
        return "1 call queued" if count == 1 else f"{count:,} calls queued"

    def open(self) -> None:
        """Begin to collect calls."""
        if self._state is not _State.NEW:
            raise BatchStateError(
                "This batch has already been opened. Make a new one with pipeline()."
            )
        self._state = _State.OPEN

    def put(self, method: str, key: Key | None, call: Call[Result]) -> Queued[Result]:
        """Add a call and return its handle."""
        handle: Queued[Result] = Queued(method, key)
        if self._state is not _State.OPEN:
            raise BatchStateError(
                f"Cannot queue {handle.name}: the batch is not open. Use it inside its with block."
            )
        operation, finish = call
        self._items.append((operation, finish, handle))
        return handle

    def discard(self) -> None:
        """End the batch without sending anything."""
        self._state, self._items = _State.ENDED, []

    @contextmanager
    def sending(self, raise_errors: bool) -> Iterator[Iterator[Exchange]]:
        """Provide the exchanges to execute and settle; afterwards raise the errors of items if wanted."""
        self._state = _State.ENDED
        items, self._items = self._items, []
        count = len(items)
        items.reverse()
        try:
            yield self._exchanges(items)
        except Exception as error:
            for _, _, handle in items:
                handle.settle(None, error)
            raise
        if raise_errors and self._failed:
            names = ", ".join(handle.name for handle, _ in self._failed[:MAX_NAMED])
            more = len(self._failed) - MAX_NAMED
            raise BatchError(
                f"{len(self._failed)} of the {count} items of the batch failed: {names}"
                + (f" and {more} more" if more > 0 else ""),
                [error for _, error in self._failed],
            )

    def _exchanges(self, items: list[Item]) -> Iterator[Exchange]:
        """Divide items, the last one first, into exchanges; items that are settled are removed."""
        while items:
            size, count = 0, 0
            for operation, _, _ in reversed(items):
                measure = _SIZES.get(type(operation))
                size += 0 if measure is None else measure(operation)
                if count == MAX_ITEMS or (count and size > MAX_BYTES):
                    break
                count += 1
            runs = list(_group_samples(items[: -count - 1 : -1]))

            def settle(results: Sequence[Any], runs: list[list[Item]] = runs) -> None:
                del items[-sum(map(len, runs)) :]
                for run, result in zip(runs, results, strict=True):
                    for _, finish, handle in run:
                        self._settle(finish, handle, result)

            yield list(map(_merge, runs)), settle

    def _settle(self, finish: Callable[[Any], Any], handle: Queued[Any], result: Any) -> None:
        error: Exception | None = None
        if isinstance(result, TelstateError):
            error = _with_item(result, handle)
        else:
            try:
                result = finish(result)
            except Exception as failure:  # of whatever type: it concerns this item only
                error = failure
                if isinstance(error, MissingKeyError):
                    look_in(error, self._backend)
        handle.settle(None if error is not None else result, error)
        if error is not None:
            self._failed.append((handle, error))


def _group_samples(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Group consecutive samples of one key; every other item is a group of its own."""
    run: list[Item] = []
    for item in items:
        operation = item[0]
        if type(operation) is AddSample and run:
            previous = run[0][0]
            if type(previous) is AddSample and previous.key == operation.key:
                run.append(item)
                continue
        if run:
            yield run
        run = [item]
    if run:
        yield run


def _merge(run: Sequence[Item]) -> Operation[Any]:
    """Return the operation that does all of a group."""
    first = run[0][0]
    if len(run) == 1 or type(first) is not AddSample:
        return first
    members = [one.member for one, _, _ in run if type(one) is AddSample]  # all of them
    return AddSamples(first.key, tuple(members))


def _with_item(error: TelstateError, handle: Queued[Any]) -> TelstateError:
    """Add the item to an error that only names the server."""
    if not isinstance(error, (RefusedError, ConnectionError)):
        return error
    named = type(error)(f"{handle.name}: {error}")
    named.__cause__ = error
    return named
