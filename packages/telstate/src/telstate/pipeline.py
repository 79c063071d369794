"""Pipelines: views whose methods queue calls, to be sent together.

`PipelineBase` has the methods of a telescope state; each adds its call to a `Batch`. `Pipeline` and its
asyncio twin in `telstate.aio.pipeline` send the batch, and differ by one ``await``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeAlias

from telstate._base import BackendType, name_methods_after
from telstate._batch import Batch, Queued
from telstate._calls import read, write
from telstate._calls.common import has_glob, is_glob
from telstate._view import View
from telstate_backends import Backend, KeyType
from telstate_codec import ENCODING_DEFAULT, Key, SampleArrays, Time

# The default that stands for a missing key where None may be a value.
_MISSING = object()


@name_methods_after("Pipeline")
class PipelineBase(Generic[BackendType]):
    """A batch, used through a view: each method queues the call of that name of `TelescopeState`."""

    # Without this, iteration would ask for the keys 0, 1, 2...
    __iter__ = None

    def __init__(self, backend: BackendType, view: View, raise_errors: bool) -> None:
        self._backend = backend
        self._view = view
        self._raise_errors = raise_errors
        self._batch = Batch(backend)

    if not TYPE_CHECKING:  # type checkers report unknown attributes themselves

        def __setattr__(self, name: str, value: Any) -> None:
            if not name.startswith("_"):
                raise AttributeError(
                    f"A pipeline does not set keys as attributes. Use p[{name!r}] = value."
                )
            super().__setattr__(name, value)

    def __repr__(self) -> str:
        from telstate._display import backend_name

        place = backend_name(self._backend)
        kind = type(self).__name__
        return f"<{kind} on {place}, {self._batch.describe()}, prefixes {self.prefixes}>"

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The prefixes of the view."""
        return self._view.prefixes

    def view(
        self,
        name: Key,
        add_separator: bool = True,
        exclusive: bool = False,
        *,
        read_only: bool = False,
    ) -> Self:
        """Return a view with `name` as its first prefix, which queues into the same batch."""
        return self._sibling(self._view.with_prefix(name, add_separator, exclusive, read_only))

    def root(self, *, read_only: bool = False) -> Self:
        """Return a view with the empty prefix only, which queues into the same batch."""
        return self._sibling(self._view.root(read_only))

    def _sibling(self, view: View) -> Self:
        sibling = type(self)(self._backend, view, self._raise_errors)
        sibling._batch = self._batch
        return sibling

    # Reading

    def __getitem__(self, key: Key) -> Queued[Any]:
        return self._batch.put("get", key, read.get_item(self._view, key))

    def exists(self, key: Key) -> Queued[bool]:
        """Queue ``key in ts``."""
        return self._batch.put("exists", key, read.exists(self._view, key))

    def get(self, key: Key, default: Any = None, return_encoded: bool = False) -> Queued[Any]:
        """Queue `TelescopeState.get`."""
        call = read.get(self._view, key, default, return_encoded)
        return self._batch.put("get", key, call)

    def get_indexed(
        self, key: Key, sub_key: Any, default: Any = None, return_encoded: bool = False
    ) -> Queued[Any]:
        """Queue `TelescopeState.get_indexed`."""
        call = read.get_indexed(self._view, key, sub_key, default, return_encoded)
        return self._batch.put("get_indexed", key, call)

    def get_range(
        self,
        key: Key,
        st: Time | None = None,
        et: Time | None = None,
        include_previous: bool | None = None,
        include_end: bool = False,
        return_encoded: bool = False,
    ) -> Queued[list[tuple[Any, float]]]:
        """Queue `TelescopeState.get_range`."""
        call = read.get_range(
            self._view, key, st, et, include_previous, include_end, return_encoded
        )
        return self._batch.put("get_range", key, call)

    def get_range_arrays(
        self,
        key: Key,
        st: Time | None = None,
        et: Time | None = None,
        include_previous: bool | None = None,
        include_end: bool = False,
    ) -> Queued[SampleArrays]:
        """Queue `TelescopeState.get_range_arrays`."""
        call = read.get_range_arrays(self._view, key, st, et, include_previous, include_end)
        return self._batch.put("get_range_arrays", key, call)

    def key_type(self, key: Key) -> Queued[KeyType | None]:
        """Queue `TelescopeState.key_type`."""
        return self._batch.put("key_type", key, read.key_type(self._view, key))

    def keys(self, filter: Key = "*", *, view: bool = False) -> Queued[list[str]]:
        """Queue `TelescopeState.keys`; on a server this takes additional exchanges."""
        return self._batch.put("keys", filter, read.keys(filter, self._view if view else None))

    def key_types(self, filter: Key = "*", *, view: bool = False) -> Queued[dict[str, KeyType]]:
        """Queue `TelescopeState.key_types`; on a server this takes additional exchanges."""
        call = read.key_types(filter, self._view if view else None)
        return self._batch.put("key_types", filter, call)

    # Writing

    def __setitem__(self, key: Key, value: Any) -> None:
        self.set(key, value)

    def set(self, key: Key, value: Any) -> Queued[None]:
        """Queue ``ts[key] = value``."""
        return self._batch.put("set", key, write.set_immutable(self._view, key, value))

    def add(
        self,
        key: Key,
        value: Any,
        ts: Time | None = None,
        immutable: bool = False,
        encoding: bytes = ENCODING_DEFAULT,
    ) -> Queued[None]:
        """Queue `TelescopeState.add`; the default timestamp is the time of this call."""
        call = write.add(self._view, key, value, ts, immutable, encoding)
        return self._batch.put("add", key, call)

    def add_many(
        self,
        key: Key,
        values: Iterable[Any],
        timestamps: Iterable[Time],
        encoding: bytes = ENCODING_DEFAULT,
    ) -> Queued[None]:
        """Queue `TelescopeState.add_many`."""
        call = write.add_many(self._view, key, values, timestamps, encoding)
        return self._batch.put("add_many", key, call)

    def set_indexed(
        self, key: Key, sub_key: Any, value: Any, encoding: bytes = ENCODING_DEFAULT
    ) -> Queued[None]:
        """Queue `TelescopeState.set_indexed`."""
        call = write.set_indexed(self._view, key, sub_key, value, encoding)
        return self._batch.put("set_indexed", key, call)

    def delete(self, key: Key) -> Queued[None]:
        """Queue `TelescopeState.delete`."""
        return self._batch.put("delete", key, write.delete(self._view, key))

    def clear(self) -> Queued[None]:
        """Queue `TelescopeState.clear`."""
        return self._batch.put("clear", None, write.clear(self._view))


def list_keys(keys: Key | Iterable[Key]) -> list[Key]:
    """Return keys, or a single key, as a list."""
    return [keys] if isinstance(keys, (str, bytes)) else list(keys)


#: Returns those of the keys that match a glob to read.
Choose: TypeAlias = "Callable[[Mapping[str, KeyType], Key], Iterable[Key]]"


def choose_all(kinds: Mapping[str, KeyType], glob: Key) -> Iterable[Key]:
    """Return all keys that match a glob."""
    return kinds


def select_keys(
    keys: Key | Iterable[Key],
    exists: Callable[[Key], bool],
    key_types: Callable[[Key], Mapping[str, KeyType]],
    choose: Choose = choose_all,
) -> dict[Key, bool]:
    """Return keys, and full names (True) for those that are globs; a key of such a name that exists is no glob."""
    wanted = list_keys(keys)
    if not has_glob(wanted):
        return dict.fromkeys(wanted, False)
    selected: dict[Key, bool] = {}
    for key in wanted:
        if not is_glob(key) or exists(key):
            selected[key] = False
        else:
            for name in choose(key_types(key), key):
                selected.setdefault(name, True)
    return selected


def queue_gets(
    pipeline: PipelineBase[Any], keys: Mapping[Key, bool], return_encoded: bool
) -> dict[Key, Queued[Any]]:
    """Queue a `get` of each key, for ``get_many``; those that map to True are full names."""
    root = pipeline.root() if True in keys.values() else pipeline
    return {
        key: (root if is_full else pipeline).get(key, _MISSING, return_encoded)
        for key, is_full in keys.items()
    }


def existing_values(found: dict[Key, Queued[Any]]) -> dict[Key, Any]:
    """Return the values of the keys that exist, from `queue_gets`."""
    values = ((key, handle.value) for key, handle in found.items())
    return {key: value for key, value in values if value is not _MISSING}


class Pipeline(PipelineBase[Backend]):
    """A batch that is sent at the end of a ``with`` block; see `TelescopeState.pipeline`."""

    def __enter__(self) -> Self:
        self._batch.open()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is not None:
            self._batch.discard()
            return
        with self._batch.sending(self._raise_errors) as exchanges:
            for operations, settle in exchanges:
                settle(self._backend.execute_many(operations))
