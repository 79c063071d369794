"""Batches: many calls in one exchange with the store.

A `Batch` collects calls (see `telstate.calls`) and their handles, cuts them into exchanges, and hands out
what came of each; it does no I/O. What users see of it is in `telstate.pipelines`.

Samples for one key that follow each other become one operation, which is much quicker and gives the same:
one that is refused is refused for what the key is, or for the state of the server.

Rules: what a call is made of is encoded when it is queued, so that a value which cannot be raises there
and then. An item that fails keeps no other from being done, nor from being told of; only what concerns
all of an exchange (no connection) ends the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeAlias, TypeVar

from telstate.calls import Call
from telstate.calls.common import short
from telstate.errors import BatchError, BatchStateError
from telstate.refusals import refusal
from telstate.suggestions import MissingKeyError
from telstate_backends import (
    AddSample,
    AddSamples,
    ConnectionError,
    Operation,
    RefusedError,
    SetImmutable,
    SetIndexed,
)
from telstate_codec import Key, TelstateError, key_repr

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)
# Some items of a batch: what to execute, and what to do with the results.
Exchange: TypeAlias = tuple[list[Operation[Any]], Callable[[Sequence[Any]], None]]

#: What goes in one exchange at most; a server answers so much well before anybody gives up on it.
MOST_ITEMS = 10_000
MOST_BYTES = 2**24
#: How many keys are named in the text of an error.
MOST_NAMED = 100

# The bytes of what is written. What is read is small, and what is to be read is not known.
_SIZES: dict[type, Callable[[Any], int]] = {
    SetImmutable: lambda operation: len(operation.value),
    SetIndexed: lambda operation: len(operation.value),
    AddSample: lambda operation: len(operation.member),
    AddSamples: lambda operation: sum(map(len, operation.members)),
}


_TAKE = "when the block of its batch has ended, use its .value"


class Queued(Generic[Result_co]):
    """What will come of one item of a batch.

    Until the ``with`` block of its batch has ended, `value` and `error` raise `BatchStateError`.

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

    __slots__ = ("_batch", "_error", "_key", "_method", "_result")

    def __init__(self, batch: Batch, method: str, key: Key | None) -> None:
        self._method = method
        self._key = key
        self._batch: Batch | None = batch
        self._error: Exception | None = None
        self._result: Any = None

    @property
    def name(self) -> str:
        """The method and the key, for people to read."""
        return _name(self._method, self._key)

    @property
    def done(self) -> bool:
        """Whether there is a value or an error."""
        return self._batch is None

    @property
    def value(self) -> Result_co:
        """What the method of that name gives.

        Raises
        ------
        Exception
            What the method raises.
        BatchStateError
            If the batch has not been sent.
        """
        if self._batch is not None:
            self._batch.refuse_to_tell(self.name)
        if self._error is not None:
            raise self._error
        result: Result_co = self._result
        return result

    @property
    def error(self) -> Exception | None:
        """What the method raises; None if it succeeds."""
        if self._batch is not None:
            self._batch.refuse_to_tell(self.name)
        return self._error

    if not TYPE_CHECKING:
        # Such a handle would be true whatever becomes of it.
        __bool__ = refusal("is neither true nor false itself", _TAKE)
        __await__ = refusal("is not awaited: the end of the async with block is", _TAKE)

    def settle(self, result: object, error: Exception | None) -> None:
        """Fill in what came of it; for the batch to call."""
        self._result, self._error, self._batch = result, error, None

    def __repr__(self) -> str:
        if self._batch is not None:
            return f"<Queued {self.name}: not there yet>"
        if self._error is not None:
            return f"<Queued {self.name}: {type(self._error).__name__}>"
        return f"<Queued {self.name}: {short.repr(self._result)}>"


Item: TypeAlias = tuple[Operation[Any], Callable[[Any], Any], Queued[Any]]

# What is the matter with a batch that cannot be used, by what became of it.
_NEW = "is not open; queue inside of its with block: with ts.pipeline() as p"
_OPEN = "has not been sent; that is done at the end of its with block"
_SENDING = "is just being sent; wait for the end of its with block, and make a new one for more"
_SENT = "has been sent; make a new one with pipeline()"
_DROPPED = "was not sent, as its with block was left by an error; make a new one with pipeline()"
_BROKEN = "was interrupted while it was sent, so that what is done and what not is not known"


class Batch:
    """Calls to be done together, and what came of them; it is used once.

    Parameters
    ----------
    backend
        The backend that is meant, for suggestions of the nearest key.
    """

    def __init__(self, backend: object) -> None:
        self._backend = backend
        self._state = _NEW
        self._items: list[Item] = []
        self._failed: list[Queued[Any]] = []

    def open(self) -> None:
        """Begin to collect."""
        if self._state is not _NEW:
            raise BatchStateError(
                "This batch is open already, or over: views of it need no with block of their own, and for "
                "another one there is pipeline()."
            )
        self._state = _OPEN

    def put(self, method: str, key: Key | None, call: Call[Result]) -> Queued[Result]:
        """Add a call, and give its handle."""
        if self._state is not _OPEN:
            raise BatchStateError(
                f"{_name(method, key)} cannot be queued: this batch {self._state}."
            )
        handle: Queued[Result] = Queued(self, method, key)
        operation, finish = call
        self._items.append((operation, finish, handle))
        return handle

    def drop(self) -> None:
        """Forget everything."""
        self._state, self._items = _DROPPED, []

    @contextmanager
    def sending(self, raise_errors: bool) -> Iterator[Iterator[Exchange]]:
        """Give the exchanges, each to be executed and then settled, and raise what went wrong.

        Parameters
        ----------
        raise_errors
            Whether items that failed are raised, as one error, when all is done.
        """
        self._state = _SENDING
        items, self._items = self._items, []
        items.reverse()
        try:
            yield self._exchanges(items)
        except Exception as error:
            self._state = _SENT
            for _, _, handle in items:
                handle.settle(None, error)
            raise
        except BaseException:
            self._state = _BROKEN
            raise
        self._state = _SENT
        if raise_errors and self._failed:
            raise BatchError(self._complaint(), [_error_of(handle) for handle in self._failed])

    def refuse_to_tell(self, name: str) -> NoReturn:
        """Say why there is no result yet, or never."""
        raise BatchStateError(f"There is no result of {name}: its batch {self._state}.")

    def _exchanges(self, items: list[Item]) -> Iterator[Exchange]:
        """Cut items, the last one first, into exchanges; those that are settled are let go."""
        self._count = len(items)
        while items:
            size, count = 0, 0
            for operation, _, _ in reversed(items):
                measure = _SIZES.get(type(operation))
                size += 0 if measure is None else measure(operation)
                if count == MOST_ITEMS or (count and size > MOST_BYTES):
                    break
                count += 1
            now = items[: -count - 1 : -1]
            runs = list(_runs(now))

            def settle(results: Sequence[Any], runs: list[list[Item]] = runs) -> None:
                del items[-sum(map(len, runs)) :]
                for run, result in zip(runs, results, strict=True):
                    for _, finish, handle in run:
                        self._settle(finish, handle, result)

            yield list(map(_merged, runs)), settle

    def _settle(self, finish: Callable[[Any], Any], handle: Queued[Any], result: Any) -> None:
        error: Exception | None = None
        if isinstance(result, TelstateError):
            error = _naming(result, handle)
        else:
            try:
                result = finish(result)
            except Exception as failure:  # of whatever sort: it is this item's, and no other's
                error = failure
                if isinstance(error, MissingKeyError):
                    error.look_in(self._backend)
        handle.settle(None if error is not None else result, error)
        if error is not None:
            self._failed.append(handle)

    def _complaint(self) -> str:
        failed = self._failed
        names = ", ".join(handle.name for handle in failed[:MOST_NAMED])
        more = f" and {len(failed) - MOST_NAMED} more" if len(failed) > MOST_NAMED else ""
        return f"{len(failed)} of the {self._count} items of the batch failed: {names}{more}"


def _runs(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Group items: samples for one key that follow each other are done as one."""
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


def _merged(run: Sequence[Item]) -> Operation[Any]:
    """Give the operation that does a group of items."""
    first = run[0][0]
    if len(run) == 1 or type(first) is not AddSample:
        return first
    members = [one.member for one, _, _ in run if type(one) is AddSample]  # which they all are
    return AddSamples(first.key, tuple(members))


def _name(method: str, key: Key | None) -> str:
    return method if key is None else f"{method} {key_repr(key)}"


def _error_of(handle: Queued[Any]) -> Exception:
    error = handle.error
    assert error is not None
    return error


def _naming(error: TelstateError, handle: Queued[Any]) -> TelstateError:
    """Make an error that says what server it is about say what item, too."""
    if not isinstance(error, (RefusedError, ConnectionError)):
        return error
    named = type(error)(f"{handle.name}: {error}")
    named.__cause__ = error
    return named


# What stands for a key that is not there, where None may be a value.
MISSING = object()


def several(keys: Iterable[Key]) -> list[Key]:
    """List keys that are asked for together.

    Raises
    ------
    TypeError
        If it is one string, whose characters would each be taken for a key.
    """
    if isinstance(keys, (str, bytes)):
        raise TypeError(f"keys must be several, not the one string {keys!r}; put it in a list.")
    return list(keys)


def present(found: Mapping[Key, Queued[Any]]) -> dict[Key, Any]:
    """Give the values of the keys that are there."""
    values = ((key, handle.value) for key, handle in found.items())
    return {key: value for key, value in values if value is not MISSING}
