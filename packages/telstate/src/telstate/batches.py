"""Batches: many calls in one exchange with the store.

A `Batch` collects calls (see `telstate.calls`) and their handles, cuts them into exchanges, and hands out
what came of each; it does no I/O. `PipelineBase` has a method for each method of a telescope state, which
puts its call into a batch. The shells, `Pipeline` here and the one in `telstate.aio.batches`,
differ by one ``await``.

Rules: what a call is made of is encoded when it is queued, so that a value which cannot be raises there
and then. An item that fails keeps no other from being done, nor from being told of; only what concerns
all of an exchange (no connection) ends the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Generic, NoReturn, Self, SupportsFloat, TypeAlias, TypeVar

from telstate import calls
from telstate.calls import Call
from telstate.calls.common import short
from telstate.errors import BatchError, BatchStateError
from telstate.suggestions import MissingKeyError
from telstate.views import View
from telstate_backends import (
    AddSample,
    AddSamples,
    Backend,
    ConnectionError,
    KeyType,
    Operation,
    RefusedError,
    SetImmutable,
    SetIndexed,
)
from telstate_codec import ENCODING_DEFAULT, Key, SampleArrays, TelstateError, key_repr

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)
BackendType = TypeVar("BackendType")
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

            def settle(results: Sequence[Any], now: list[Item] = now) -> None:
                del items[-len(now) :]
                for (_, finish, handle), result in zip(now, results, strict=True):
                    self._settle(finish, handle, result)

            yield [operation for operation, _, _ in now], settle

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


class PipelineBase(Generic[BackendType]):
    """A batch, seen through a view: each method queues what that of `TelescopeState` does.

    Parameters
    ----------
    backend
        Where it is sent.
    view
        The view.
    raise_errors
        Whether items that fail are raised at the end.
    """

    def __init__(self, backend: BackendType, view: View, raise_errors: bool) -> None:
        self._backend = backend
        self._view = view
        self._raise_errors = raise_errors
        self._batch = Batch(backend)

    # Keys are names, not positions: without this, iteration would ask for keys 0, 1, 2...
    __iter__ = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self._backend!r}, prefixes {self.prefixes}>"

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The view's prefixes."""
        return self._view.prefixes

    def view(
        self,
        name: Key,
        add_separator: bool = True,
        exclusive: bool = False,
        *,
        read_only: bool = False,
    ) -> Self:
        """Make a view in which `name` is the first prefix; what is queued there is of this batch."""
        return self._sibling(self._view.deeper(name, add_separator, exclusive, read_only))

    def root(self) -> Self:
        """Make a view with the empty prefix only; what is queued there is of this batch."""
        return self._sibling(self._view.root())

    def _sibling(self, view: View) -> Self:
        sibling = type(self)(self._backend, view, self._raise_errors)
        sibling._batch = self._batch
        return sibling

    # Reading

    def __contains__(self, key: Key) -> NoReturn:
        raise TypeError("What is in the store is not known yet; queue exists(key) instead.")

    def __getitem__(self, key: Key) -> Queued[Any]:
        return self._batch.put("get", key, calls.get_item(self._view, key))

    def exists(self, key: Key) -> Queued[bool]:
        """Queue ``key in ts``."""
        return self._batch.put("exists", key, calls.exists(self._view, key))

    def get(self, key: Key, default: Any = None, return_encoded: bool = False) -> Queued[Any]:
        """Queue `TelescopeState.get`."""
        call = calls.get(self._view, key, default, return_encoded)
        return self._batch.put("get", key, call)

    def get_indexed(
        self, key: Key, sub_key: Any, default: Any = None, return_encoded: bool = False
    ) -> Queued[Any]:
        """Queue `TelescopeState.get_indexed`."""
        call = calls.get_indexed(self._view, key, sub_key, default, return_encoded)
        return self._batch.put("get_indexed", key, call)

    def get_range(
        self,
        key: Key,
        st: float | None = None,
        et: float | None = None,
        include_previous: bool | None = None,
        include_end: bool = False,
        return_encoded: bool = False,
    ) -> Queued[list[tuple[Any, float]]]:
        """Queue `TelescopeState.get_range`."""
        call = calls.get_range(
            self._view, key, st, et, include_previous, include_end, return_encoded
        )
        return self._batch.put("get_range", key, call)

    def get_range_arrays(
        self,
        key: Key,
        st: float | None = None,
        et: float | None = None,
        include_previous: bool | None = None,
        include_end: bool = False,
    ) -> Queued[SampleArrays]:
        """Queue `TelescopeState.get_range_arrays`."""
        call = calls.get_range_arrays(self._view, key, st, et, include_previous, include_end)
        return self._batch.put("get_range_arrays", key, call)

    def key_type(self, key: Key) -> Queued[KeyType | None]:
        """Queue `TelescopeState.key_type`."""
        return self._batch.put("key_type", key, calls.key_type(self._view, key))

    def keys(self, filter: Key = "*") -> Queued[list[str]]:
        """Queue `TelescopeState.keys`; on a server this takes exchanges of its own."""
        return self._batch.put("keys", filter, calls.keys(filter))

    def key_types(self, filter: Key = "*") -> Queued[dict[str, KeyType]]:
        """Queue `TelescopeState.key_types`; on a server this takes exchanges of its own."""
        return self._batch.put("key_types", filter, calls.key_types(filter))

    # Writing

    def __setitem__(self, key: Key, value: Any) -> None:
        self.set(key, value)

    def set(self, key: Key, value: Any) -> Queued[None]:
        """Queue ``ts[key] = value``."""
        return self._batch.put("set", key, calls.set_immutable(self._view, key, value))

    def add(
        self,
        key: Key,
        value: Any,
        ts: SupportsFloat | None = None,
        immutable: bool = False,
        encoding: bytes = ENCODING_DEFAULT,
    ) -> Queued[None]:
        """Queue `TelescopeState.add`; a sample without a time is of the time when it is queued."""
        call = calls.add(self._view, key, value, ts, immutable, encoding)
        return self._batch.put("add", key, call)

    def add_many(
        self,
        key: Key,
        values: Iterable[Any],
        timestamps: Iterable[SupportsFloat],
        encoding: bytes = ENCODING_DEFAULT,
    ) -> Queued[None]:
        """Queue `TelescopeState.add_many`."""
        call = calls.add_many(self._view, key, values, timestamps, encoding)
        return self._batch.put("add_many", key, call)

    def set_indexed(
        self, key: Key, sub_key: Any, value: Any, encoding: bytes = ENCODING_DEFAULT
    ) -> Queued[None]:
        """Queue `TelescopeState.set_indexed`."""
        call = calls.set_indexed(self._view, key, sub_key, value, encoding)
        return self._batch.put("set_indexed", key, call)

    def delete(self, key: Key) -> Queued[None]:
        """Queue `TelescopeState.delete`."""
        return self._batch.put("delete", key, calls.delete(self._view, key))

    def clear(self) -> Queued[None]:
        """Queue `TelescopeState.clear`."""
        return self._batch.put("clear", None, calls.clear(self._view))


class Pipeline(PipelineBase[Backend]):
    """A batch that is sent at the end of a ``with`` block; see `TelescopeState.pipeline`."""

    def __enter__(self) -> Self:
        self._batch.open()
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exception_type is not None:
            self._batch.drop()
            return
        with self._batch.sending(self._raise_errors) as exchanges:
            for operations, settle in exchanges:
                settle(self._backend.execute_many(operations))


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
