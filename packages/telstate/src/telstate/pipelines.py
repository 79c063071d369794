"""Pipelines: what users see of a batch, a view whose methods queue.

`PipelineBase` has a method for each method of a telescope state, which puts its call into a `Batch`. The
shells, `Pipeline` here and the one in `telstate.aio.pipelines`, differ by one ``await``.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, SupportsFloat, TypeVar

from telstate import calls
from telstate.batches import Batch, Queued
from telstate.refusals import refusal
from telstate.views import View
from telstate_backends import Backend, KeyType
from telstate_codec import ENCODING_DEFAULT, Key, SampleArrays

BackendType = TypeVar("BackendType")


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

    if not TYPE_CHECKING:  # To type checkers there are no such attributes.

        def __setattr__(self, name: str, value: Any) -> None:
            if not name.startswith("_"):
                raise AttributeError(f"A batch sets no keys by attribute: use p[{name!r}] = value.")
            super().__setattr__(name, value)

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

    def root(self, *, read_only: bool = False) -> Self:
        """Make a view with the empty prefix only; what is queued there is of this batch."""
        return self._sibling(self._view.root(read_only))

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

    if not TYPE_CHECKING:
        __aenter__ = refusal("is not for asyncio", "use with, or a telstate.aio.TelescopeState")
        __aexit__ = __aenter__

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
