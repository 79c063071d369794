"""The synchronous telescope state.

Each method builds a call (see `telstate._calls`), executes its operation, and finishes it. What only some
programs need is imported in the method that uses it, so that importing this module is quick.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self, TypeVar

from telstate._base import TelescopeStateBase, warn_is_immutable
from telstate._calls import read, write
from telstate._calls.common import Call
from telstate._connect import check_backend, open_backend
from telstate._suggest import look_in, missing_attribute
from telstate._view import View
from telstate.endpoint import Endpoint
from telstate.errors import MissingKeyError
from telstate_backends import Backend, KeyType
from telstate_backends.abc import Closing
from telstate_codec import ENCODING_DEFAULT, Key, SampleArrays, Time

if TYPE_CHECKING:
    import pandas

    from telstate._calls.wait import IndexedCondition, KeyCondition, Require
    from telstate._sources import Source
    from telstate.pipeline import Pipeline
    from telstate.snapshots import Collisions
    from telstate.watch import Watch
    from telstate_backends import CancelFuture

Result = TypeVar("Result")

# The default that stands for a missing key where None may be a value.
_MISSING = object()


class TelescopeState(Closing, TelescopeStateBase[Backend]):
    """Configuration, sensors and lookup tables of a telescope, by key.

    A key is *immutable* (set once), *mutable* (a sensor: values with timestamps) or *indexed* (a
    dictionary whose entries are set once each). Keys are `str` or `bytes`; values are anything that
    `telstate_codec.encode_value` encodes. All methods can be called from any thread.

    Parameters
    ----------
    endpoint
        ``''`` for a new in-memory store (default), a backend, or the address of a server: ``'host'``,
        ``'host:port'``, ``'[v6::address]:port'``, an `Endpoint`, or a URL (``redis://``,
        ``rediss://``, ``unix://``).
    db
        The number of the Redis database. Default: 0, which is required where there is no server.
    prefixes
        The view: reads try the prefixes in order, writes use the first. Default: the root.
    base
        Another instance whose backend is shared, instead of `endpoint` and `db`. If it is read-only,
        so is this one.
    cache_size
        The number of immutable keys to cache, so that they are not requested from the server again.
        Keys that a view does not find before it finds another are counted too. Deletions by this
        client, and by others that use this package, are noticed at once; those by katsdptelstate
        within a minute. `base` shares its cache. Default: 0, no cache.

    Raises
    ------
    ValueError
        If the arguments contradict each other.
    TypeError
        If `endpoint` is an asyncio backend, or neither an address nor a backend.
    ConnectionError
        If the server cannot be reached.

    Examples
    --------
    >>> ts = TelescopeState()
    >>> ts.add("gain", 1.5, ts=100.0)
    >>> ts["n_chans"] = 4096
    >>> ts.gain, ts["n_chans"]
    (1.5, 4096)
    >>> ts.view("beam")["n_chans"]
    4096
    """

    def __init__(
        self,
        endpoint: str | Endpoint | Backend | None = "",
        db: int = 0,
        prefixes: Iterable[Key] = ("",),
        base: TelescopeState | None = None,
        *,
        cache_size: int = 0,
    ) -> None:
        if base is not None:
            if endpoint not in ("", None) or db != 0 or cache_size != 0:
                raise ValueError(
                    "base has its own backend and cache. Leave endpoint, db and cache_size out."
                )
            self._setup(check_backend(base.backend), View(prefixes, base.read_only))
        else:
            view = View(prefixes)  # before anything is opened
            self._setup(open_backend(endpoint, db, cache_size), view, owner=True)

    def _run(self, call: Call[Result]) -> Result:
        """Execute the operation of a call, and finish it."""
        operation, finish = call
        try:
            return finish(self._backend.execute(operation))
        except MissingKeyError as error:
            look_in(error, self._backend)
            raise

    def close(self) -> None:
        """Close the backend that this instance opened or was constructed with.

        Views, and instances made with ``base=``, share the backend of the instance that they were made
        from, and leave it open; ``ts.backend.close()`` always closes it. The data in memory stay
        there. Closing twice does nothing. The end of a ``with`` block closes too.

        Examples
        --------
        >>> with TelescopeState() as ts:  # or TelescopeState("localhost:6379")
        ...     ts["n_chans"] = 4096
        """
        if self._owner:
            self._backend.close()

    # Reading

    def __contains__(self, key: Key) -> bool:
        return self._run(read.exists(self._view, key))

    def __getitem__(self, key: Key) -> Any:
        return self._run(read.get_item(self._view, key))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            # Python and its tools look for special methods; no server should be asked about those.
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        value = self._run(read.get(self._view, name, _MISSING, False))
        if value is _MISSING:
            error = missing_attribute(type(self), name, self._view)
            look_in(error, self._backend)
            raise error
        return value

    def get(self, key: Key, default: Any = None, return_encoded: bool = False) -> Any:
        """Return the value of an immutable key, the latest value of a mutable one, or an indexed key's `dict`.

        Parameters
        ----------
        key
            The key.
        default
            The return value if there is no such key. Default: None.
        return_encoded
            Whether to return the stored bytes (of an indexed key, a dict of bytes). Default: False.

        Raises
        ------
        DecodeError
            If the stored bytes are not an encoded value, or are a pickle (see `set_allow_pickle`).
        """
        return self._run(read.get(self._view, key, default, return_encoded))

    def get_indexed(
        self, key: Key, sub_key: Any, default: Any = None, return_encoded: bool = False
    ) -> Any:
        """Return one value of an indexed key.

        Parameters
        ----------
        key, sub_key
            The key, and the sub-key that was passed to `set_indexed`.
        default
            The return value if there is no such key or sub-key. Default: None.
        return_encoded
            Whether to return the stored bytes. Default: False.

        Raises
        ------
        ImmutableKeyError
            If the key is of another kind.
        """
        return self._run(read.get_indexed(self._view, key, sub_key, default, return_encoded))

    def get_range(
        self,
        key: Key,
        st: Time | None = None,
        et: Time | None = None,
        include_previous: bool | None = None,
        include_end: bool = False,
        return_encoded: bool = False,
    ) -> list[tuple[Any, float]]:
        """Return the samples of a mutable key in a time range; without a range, the latest one.

        Parameters
        ----------
        key
            The key.
        st, et
            Start and end: seconds since 1970, ISO 8601 text, or another `Time`. Default for `et`: the
            end of time; for `st`: `et`.
        include_previous
            Whether the last sample before `st` is included. Default: whether `st` was left out.
        include_end
            Whether a sample at `et` itself is in the range. Default: False.
        return_encoded
            Whether to return the stored bytes of the values. Default: False.

        Returns
        -------
        samples
            Value and timestamp of each sample, by time (then by the bytes of the value).

        Raises
        ------
        KeyError
            If there is no such key.
        ImmutableKeyError
            If the key is not mutable.
        InvalidTimestampError
            If a time is NaN or NaT, or text that cannot be read.
        TypeError
            If a time is a datetime without a time zone, or not a time.

        Examples
        --------
        >>> ts = TelescopeState()
        >>> ts.add("gain", 1.5, ts="2026-11-30T12:00:00")
        >>> ts.get_range("gain", "2026-11-30", "2026-12-01")
        [(1.5, 1796040000.0)]
        """
        return self._run(
            read.get_range(self._view, key, st, et, include_previous, include_end, return_encoded)
        )

    def key_type(self, key: Key) -> KeyType | None:
        """Return the kind of a key, None if there is no such key."""
        return self._run(read.key_type(self._view, key))

    def is_immutable(self, key: Key) -> bool:
        """Return whether a key is immutable. Deprecated: use `key_type`."""
        warn_is_immutable()
        return self.key_type(key) is KeyType.IMMUTABLE

    def keys(self, filter: Key = "*", *, view: bool = False) -> list[str]:
        """Return all keys that match a Redis glob, sorted.

        Parameters
        ----------
        filter
            The glob. Default: all keys.
        view
            Whether to list what this view sees: the names by which it reads keys, without its prefixes,
            which must match the glob. Default: the full names of all keys, in every namespace.

        Examples
        --------
        >>> ts = TelescopeState()
        >>> ts["n_chans"], ts["beam_n_pols"] = 4096, 2
        >>> ts.keys("*n_*")
        ['beam_n_pols', 'n_chans']
        >>> ts.view("beam").keys("n_*", view=True)
        ['n_chans', 'n_pols']
        """
        return self._run(read.keys(filter, self._view if view else None))

    def __dir__(self) -> Iterable[str]:
        names = self._ipython_key_completions_()
        return {*super().__dir__(), *(name for name in names if name.isidentifier())}

    # Writing

    def __setitem__(self, key: Key, value: Any) -> None:
        self._run(write.set_immutable(self._view, key, value))

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
        elif hasattr(type(self), name):
            raise AttributeError(
                f"{name!r} is an attribute of the class. Use ts[{name!r}] for a key of that name."
            )
        else:
            self[name] = value

    def add(
        self,
        key: Key,
        value: Any,
        ts: Time | None = None,
        immutable: bool = False,
        encoding: bytes = ENCODING_DEFAULT,
    ) -> None:
        """Add a sample to a mutable key, or set an immutable one.

        Parameters
        ----------
        key
            The key.
        value
            The value.
        ts
            The time of the sample: seconds since 1970 (finite and not negative), ISO 8601 text, or another
            `Time`. Default: now.
        immutable
            Whether to set an immutable key instead. Default: False.
        encoding
            `ENCODING_MSGPACK` (default) or `ENCODING_PICKLE`.

        Raises
        ------
        ImmutableKeyError
            If the key is of another kind, or immutable with another value.
        InvalidTimestampError
            If `ts` is negative or not finite, or text that cannot be read.
        TypeError
            If `ts` is a datetime without a time zone, or not a time.
        EncodeError
            If the value cannot be encoded.
        """
        self._run(write.add(self._view, key, value, ts, immutable, encoding))

    def set_indexed(
        self, key: Key, sub_key: Any, value: Any, encoding: bytes = ENCODING_DEFAULT
    ) -> None:
        """Set one value of an indexed key; setting it to an equal value again is allowed.

        Parameters
        ----------
        key, sub_key
            The key, and anything hashable that can be encoded: text, a number, a tuple of these.
        value
            The value.
        encoding
            `ENCODING_MSGPACK` (default) or `ENCODING_PICKLE`.

        Raises
        ------
        TypeError
            If `sub_key` is not hashable.
        ImmutableKeyError
            If the key is of another kind, or the sub-key has another value.
        """
        self._run(write.set_indexed(self._view, key, sub_key, value, encoding))

    def delete(self, key: Key) -> None:
        """Delete a key in every prefix of the view."""
        self._run(write.delete(self._view, key))

    def clear(self) -> None:
        """Delete every key of the store, whatever the view."""
        self._run(write.clear(self._view))

    # Waiting

    def wait_key(
        self,
        key: Key,
        condition: KeyCondition | None = None,
        timeout: float | None = None,
        cancel_future: CancelFuture | None = None,
    ) -> None:
        """Wait until a key exists, or until a condition on it is true.

        Only updates end a wait. In a view, deleting a key that shadows another one does not, even if
        the condition is true for that one.

        Parameters
        ----------
        key
            The key.
        condition
            Called with the value and the timestamp (None unless the key is mutable), now and for each
            update; for an indexed key, with the whole dict at the time when the update is taken, so
            that entries deleted by then may never be seen. Default: that the key exists.
        timeout
            The longest time to wait, in seconds. Default: no limit.
        cancel_future
            A future that ends the wait when it is done.

        Raises
        ------
        TimeoutError
            If the time is over.
        CancelledError
            If `cancel_future` is done.
        TypeError
            If `condition` is not an ordinary function.
        """
        import telstate._calls.wait as calls

        wanted = calls.key_wait(self._view, key, condition)
        calls.wait(self._backend, wanted, timeout, cancel_future)

    def wait_indexed(
        self,
        key: Key,
        sub_key: Any,
        condition: IndexedCondition | None = None,
        timeout: float | None = None,
        cancel_future: CancelFuture | None = None,
    ) -> None:
        """Wait until a sub-key exists, or until a condition on its value is true.

        Parameters and errors are those of `wait_key`; the condition is called with the value.

        Raises
        ------
        ImmutableKeyError
            If the key is of another kind, now or when it appears.
        """
        import telstate._calls.wait as calls

        wanted = calls.indexed_wait(self._view, key, sub_key, condition)
        calls.wait(self._backend, wanted, timeout, cancel_future)

    def wait_keys(
        self,
        keys: Iterable[Key],
        require: Require = "all",
        timeout: float | None = None,
        cancel_future: CancelFuture | None = None,
    ) -> tuple[str, ...]:
        """Wait until several keys exist, or any of them.

        Parameters
        ----------
        keys
            The keys, which are no globs; each is looked up under all prefixes of the view.
        require
            ``"all"`` (default): until all of them exist at once; ``"any"``: until one exists.
        timeout
            The longest time to wait, in seconds. Default: no limit.
        cancel_future
            A future that ends the wait when it is done.

        Returns
        -------
        names
            Those of the keys that exist now, in the order of `keys`.

        Raises
        ------
        TimeoutError
            If the time is over; the message names the keys that are missing.
        CancelledError
            If `cancel_future` is done.

        Examples
        --------
        >>> ts = TelescopeState()
        >>> ts["n_chans"] = 4096
        >>> ts.wait_keys(["n_pols", "n_chans"], require="any")
        ('n_chans',)
        """
        import telstate._calls.wait as calls

        wanted, existing = calls.keys_wait(self._view, keys, require)
        calls.wait(self._backend, wanted, timeout, cancel_future)
        return existing()

    def watch(
        self, *keys: Key, patterns: Iterable[Key] = (), timeout: float | None = None
    ) -> Watch:
        """Return a watch that yields each update of some keys once, in order, with none missed.

        The watch is an iterator of `KeyUpdate`, and of `Reconnected` where updates were lost and are
        now replaced from the store. It is also a context manager: every update from the beginning of
        the block on is yielded. Without a block, it begins with the iteration.

        Parameters
        ----------
        keys
            The keys to watch, under all prefixes of the view. As for `wait_key`, updates of a key
            that an earlier prefix shadows at the time are left out. A key with glob characters, such as
            ``"m000_*"``, is one of the `patterns` too.
        patterns
            Redis globs of full names to watch as well, in every namespace. None of their updates is
            left out.
        timeout
            The longest time to wait for the next update when iterating, in seconds. Default: no
            limit. `Watch.next` has its own.

        Returns
        -------
        watch
            The watch; ``close()``, from any thread, ends it.

        Raises
        ------
        TimeoutError
            While iterating: if no update comes in time. The iteration can be continued.
        CancelledError
            While iterating: if the backend is closed.
        ConnectionError
            At the beginning: if the server cannot be reached. Later the watch waits for the server.
        RefusedError
            If the permissions of the user do not allow it.

        Notes
        -----
        To miss nothing when the connection is lost, the watch reads the present contents at the
        beginning (long samples as digests, one page at a time) and after a loss, and keeps 12 to 24
        bytes for each sample, sub-key and immutable. For a million samples reading takes 2 s of the
        client's processor, and 0.6 s of the server's in steps of a millisecond. A store in memory
        loses nothing, so nothing is read or kept. Late samples are found like any others. The only
        change that is not noticed is a key that was deleted and set again to the same content while
        the connection was lost. Loading a snapshot reports each of its samples and sub-keys. Redis
        does not say in which database a key was written: updates of keys of the same name in other
        databases are reported as well.

        A watch that falls too far behind is disconnected by the server (at 32 MB, Redis's default;
        on asyncio at 100,000 updates or 64 MB), and then reads the missing updates from the store, as
        after any loss. In memory the number of pending updates has no limit.

        Examples
        --------
        >>> ts = TelescopeState()
        >>> with ts.watch("gain", patterns=["cal_*"]) as watch:
        ...     ts.add("gain", 1.5, ts=100.0)
        ...     ts["cal_K"] = 0.25
        ...     watch.next(timeout=5), watch.next(timeout=5)
        (KeyUpdate('gain', KeyType.MUTABLE, 1.5, timestamp=100.0), KeyUpdate('cal_K', KeyType.IMMUTABLE, 0.25))
        """
        from telstate.watch import Watch

        return Watch(self._backend, self._view, keys, patterns, timeout)

    # Snapshots

    @classmethod
    def from_snapshot(
        cls,
        file: Source,
        prefixes: Iterable[Key] = ("",),
        *,
        strict: bool = True,
        keys: Iterable[Key] | None = None,
        database: int | None = None,
        collisions: Collisions = "warn",
    ) -> Self:
        """Return a telescope state with the contents of a snapshot, and changes kept in memory.

        Of a path or an address, long values stay in the file until they are asked for. The file stays open: it
        may be replaced or deleted, but if it is changed, reading a value is an `RdbParseError`.

        Parameters
        ----------
        file, strict, keys, database, collisions
            As for `load_from_file`.
        prefixes
            The view, as for the constructor.

        Raises
        ------
        RdbParseError
            If the file is corrupt.
        DatabaseCollisionError
            If `collisions` is ``"refuse"`` and a key is in several databases of the file.
        OSError
            If it cannot be opened or downloaded, as for `load_from_file`.

        Examples
        --------
        >>> import os, tempfile
        >>> ts = TelescopeState()
        >>> ts["n_chans"] = 4096
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "observation.rdb")
        ...     count = ts.save(path)
        ...     again = TelescopeState.from_snapshot(path)
        >>> count, again["n_chans"]
        (1, 4096)
        """
        from telstate.snapshots import load_into

        ts = cls(prefixes=prefixes)
        load_into(ts.backend, file, strict, keys, database, collisions, in_place=True)
        return ts

    def save(
        self,
        path: str | os.PathLike[str],
        keys: Iterable[Key] | None = None,
        *,
        exclude: Iterable[Key] = (),
        consistent: bool = False,
        keep_empty: bool = False,
    ) -> int:
        """Save the store, or some keys of it, to a snapshot, whatever the view.

        The file is replaced as a whole when everything is written, or left as it was. `RDBWriter`
        writes several stores to one file, and continues when keys are missing.

        Each key is saved as it is at some moment of the saving, so that two keys of a store that is being
        written to may differ by all that was written between these moments. With `consistent`, all keys
        are saved as they are at one moment.

        Parameters
        ----------
        path
            The path of the file.
        keys
            Full names of keys, or glob patterns such as ``"m000_*"``. Default: all. Keys of other
            programs (Redis lists, for example) are left out and logged, unless they are named.
        exclude
            Full names or glob patterns of keys to leave out. Default: none.
        consistent
            Whether to save the server's own snapshot of one moment, which it sends to this client as to a
            replica (``SYNC``), through a connection of its own. The server forks for that, as for
            ``BGSAVE``, and by default waits 5 s for other replicas (``repl-diskless-sync-delay``).
            A server that sends nothing for 60 s counts as lost (or for the socket timeout, if that is longer).
            A cluster has one moment for each node; keys of slots that move meanwhile are read later.
            Through Sentinel it is the master that sends it. Default: False.
        keep_empty
            Whether a snapshot without any key is written. Default: False.

        Returns
        -------
        count
            The number of keys that were saved.

        Raises
        ------
        KeyError
            If one of the names does not exist, or no key matches one of the patterns.
        ForeignKeyError
            If one of the names belongs to another program.
        RefusedError
            If the server refuses to read a key. For a consistent snapshot it must permit ``SYNC`` and
            ``REPLCONF``.
        ConnectionError
            If the server cannot be reached, or is lost for longer than calls are retried.
        RdbWriteError, OSError
            If the file cannot be written, or would be empty.

        Examples
        --------
        >>> import os, tempfile
        >>> ts = TelescopeState()
        >>> ts["n_chans"] = 4096
        >>> ts["m000_gain"], ts["m001_gain"] = 1.5, 1.25
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "gains.rdb")
        ...     ts.save(path, keys=["m*_gain"], consistent=True)
        2
        """
        from telstate.snapshots import save_store

        return save_store(self._backend, path, keys, consistent, keep_empty, exclude)

    def load_from_file(
        self,
        file: Source,
        *,
        strict: bool = True,
        keys: Iterable[Key] | None = None,
        database: int | None = None,
        collisions: Collisions = "warn",
    ) -> int:
        """Load a snapshot into the store, whatever the view.

        A key that exists already is replaced, even an immutable one. Keys of other programs (Redis lists,
        for example) and keys that have expired are left out; one warning names them.

        Parameters
        ----------
        file
            The path of an RDB file of any version, an open binary file (which need not be seekable), or an
            ``https://`` or ``s3://`` address (the latter needs the extra ``remote``). A file that gzip
            compressed is recognised. A ``token`` in an address is sent as the header ``Authorization``.
        strict
            Whether a corrupt file is an error (default). If not, the keys that are intact are loaded,
            and each part that is lost is logged as a warning; where only the checksum is wrong, any
            value may have been changed. A file that does not begin as a snapshot is always an error.
        keys
            Full names or glob patterns such as ``"m000_*"``. Default: all keys.
        database
            The number of the database to load. Default: all.
        collisions
            What happens to a key that is in several databases of the file, if `database` is None: the last
            value is loaded, and one warning names such keys (``"warn"``, the default), or nothing is
            loaded and an error names the databases to choose from (``"refuse"``).

        Returns
        -------
        count
            The number of keys that were loaded.

        Raises
        ------
        RdbParseError
            If the file is corrupt. Then nothing has been loaded, unless the store is on a server and the
            file cannot be read twice (a pipe, an HTTP response): the keys before the damage are then
            loaded. To avoid that, load into memory, or copy the file first.
        DatabaseCollisionError
            If `collisions` is ``"refuse"`` and a key is in several databases. Then nothing has been loaded,
            with the same exception.
        OSError
            If it cannot be opened or downloaded: a `FileNotFoundError`, `PermissionError`, `TimeoutError` or
            the built-in `ConnectionError`, which names an address without its token. Nothing is loaded of a
            file that was not downloaded as a whole.

        Examples
        --------
        >>> import os, tempfile
        >>> ts = TelescopeState()
        >>> ts["n_chans"], ts["m000_gain"] = 4096, 1.5
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "observation.rdb")
        ...     count = ts.save(path)
        ...     TelescopeState().load_from_file(path, keys=["m000_*"])
        1
        """
        from telstate.snapshots import load_into

        self._view.check_writable("load a snapshot")
        return load_into(self._backend, file, strict, keys, database, collisions)

    # Batches, arrays and tables

    def pipeline(self, raise_errors: bool = True) -> Pipeline:
        """Return a pipeline: calls are queued in its ``with`` block and sent together at the end.

        In the block, the methods `get` (and ``p[key]``), `get_indexed`, `get_range`,
        `get_range_arrays`, `exists`, `key_type`, `keys`, `key_types`, `set` (and ``p[key] = value``),
        `add`, `add_many`, `set_indexed`, `delete`, `clear`, `view` and `root` have the same
        parameters as here, but only queue. Each returns a handle whose ``value`` is available after
        the block.

        The calls are executed in order, in one exchange with the store (or one for each 10,000 items
        or 16 MB of written values). Each item is atomic; calls of other clients may come between
        them. If the block is left by an exception, nothing is sent.

        Parameters
        ----------
        raise_errors
            Whether the errors of items that failed are raised at the end of the block (default).
            Otherwise they are only in the handles: ``handle.error``, which ``handle.value`` raises.

        Returns
        -------
        pipeline
            A context manager, to be used once.

        Raises
        ------
        BatchError
            At the end of the block, if items failed: an `ExceptionGroup` of all their errors.
        ConnectionError
            At the end of the block, if the store cannot be reached. It is then unknown which of the
            items were executed.
        EncodeError, InvalidTimestampError, TypeError, ReadOnlyError
            Where the item is queued, if its arguments are not valid.

        Examples
        --------
        >>> ts = TelescopeState()
        >>> with ts.pipeline() as p:
        ...     p["n_chans"] = 4096
        ...     p.add("gain", 1.5, ts=100.0)
        ...     n_chans, gain = p["n_chans"], p.get_range("gain")
        <Queued add 'gain': pending>
        >>> n_chans.value, gain.value
        (4096, [(1.5, 100.0)])
        """
        from telstate.pipeline import Pipeline

        return Pipeline(self._backend, self._view, raise_errors)

    def get_many(self, keys: Key | Iterable[Key], return_encoded: bool = False) -> dict[Key, Any]:
        """Return the values of several keys, in one exchange with the store.

        Parameters
        ----------
        keys
            A key or several. One with glob characters that does not exist is a Redis glob of full names, such as
            ``"m000_*"``, and stands for all keys that match, in every namespace; to find them takes two more
            exchanges.
        return_encoded
            Whether to return the stored bytes. Default: False.

        Returns
        -------
        values
            The result of `get` for each key that exists, in the order of `keys`; what globs select has its
            full name.

        Raises
        ------
        BatchError
            If values cannot be decoded: an `ExceptionGroup` of what `get` raises for each.

        Examples
        --------
        >>> ts = TelescopeState()
        >>> ts["n_chans"], ts["n_pols"] = 4096, 2
        >>> ts.get_many(["n_pols", "nope", "n_chans"])
        {'n_pols': 2, 'n_chans': 4096}
        """
        from telstate.pipeline import existing_values, queue_gets, select_keys

        selected = select_keys(keys, self.__contains__, self.key_types)
        with self.pipeline() as p:
            found = queue_gets(p, selected, return_encoded)
        return existing_values(found)

    def key_types(self, filter: Key = "*", *, view: bool = False) -> dict[str, KeyType]:
        """Return the kinds of all keys that match a Redis glob, sorted by name.

        A server is asked for some 2,000 keys at a time. Keys of other programs are left out.

        Parameters
        ----------
        filter, view
            As for `keys`.

        Examples
        --------
        >>> ts = TelescopeState()
        >>> ts["n_chans"] = 4096
        >>> ts.add("gain", 1.5)
        >>> ts.key_types()
        {'gain': <KeyType.MUTABLE: 2>, 'n_chans': <KeyType.IMMUTABLE: 1>}
        """
        return self._run(read.key_types(filter, self._view if view else None))

    def add_many(
        self,
        key: Key,
        values: Iterable[Any],
        timestamps: Iterable[Time],
        encoding: bytes = ENCODING_DEFAULT,
    ) -> None:
        """Add samples to a mutable key atomically: no reader sees only some of them.

        Parameters
        ----------
        key
            The key.
        values
            A list, an array or any iterable. An array of shape (n, ...) is n values, each a NumPy
            scalar or array as iteration yields it.
        timestamps
            As many times, in any order: seconds since 1970 (finite and not negative), or another `Time`.
        encoding
            `ENCODING_MSGPACK` (default) or `ENCODING_PICKLE`.

        Raises
        ------
        ValueError
            If there are not as many values as timestamps, or more than 100,000: other clients of a
            server would have to wait too long.
        ImmutableKeyError
            If the key is of another kind.
        InvalidTimestampError
            If a timestamp is negative or not finite; nothing is added then.
        EncodeError
            If a value cannot be encoded; nothing is added then.

        Examples
        --------
        >>> ts = TelescopeState()
        >>> ts.add_many("gain", [1.5, 2.0, 1.75], [100.0, 110.0, 105.0])
        >>> ts.get_range("gain", st=0)
        [(1.5, 100.0), (1.75, 105.0), (2.0, 110.0)]
        """
        self._run(write.add_many(self._view, key, values, timestamps, encoding))

    def get_range_arrays(
        self,
        key: Key,
        st: Time | None = None,
        et: Time | None = None,
        include_previous: bool | None = None,
        include_end: bool = False,
    ) -> SampleArrays:
        """Return the samples of a mutable key in a time range as NumPy arrays.

        Parameters, defaults and errors are those of `get_range`: without a range the latest sample is
        returned, with ``st=0`` all of them.

        Returns
        -------
        timestamps : numpy.ndarray of float64, shape (n,)
            Seconds since 1970.
        values : numpy.ndarray, shape (n, ...)
            Numbers in their own dtype (bool, int64, float64 or complex128 for Python's); arrays of
            equal shape, stacked; otherwise objects, shape (n,). Numbers of different dtypes have one
            that represents all of them exactly (float64 for integers and floats), or are objects.
            Without samples: float64, shape (0,).

        Examples
        --------
        >>> ts = TelescopeState()
        >>> ts.add_many("gain", [1.5, 2.0], [100.0, 110.0])
        >>> timestamps, values = ts.get_range_arrays("gain", st=0)
        >>> timestamps.tolist(), values.tolist(), values.dtype.name
        ([100.0, 110.0], [1.5, 2.0], 'float64')
        """
        return self._run(
            read.get_range_arrays(self._view, key, st, et, include_previous, include_end)
        )

    def to_pandas(
        self,
        key: Key,
        st: Time | None = 0.0,
        et: Time | None = None,
        include_previous: bool | None = None,
        include_end: bool = False,
    ) -> pandas.Series:
        """Return the samples of a mutable key as a pandas series; needs the extra ``pandas``.

        Parameters and errors are those of `get_range`, except that `st` is 0 by default: without a
        range all samples are returned. For several keys, or a glob, use `to_dataframe`.

        Returns
        -------
        series : pandas.Series
            Named like the key, indexed by time (UTC, in nanoseconds); the values are those of
            `get_range_arrays`, or objects where they are arrays.

        Raises
        ------
        ImportError
            If pandas is not installed.
        InvalidTimestampError
            If a sample is from the year 2261 or later, which pandas cannot represent in nanoseconds.
        """
        from telstate._pandas import advising_table, load_pandas, make_series

        load_pandas()  # fails before anything is requested
        with advising_table(key):
            arrays = self.get_range_arrays(key, st, et, include_previous, include_end)
        return make_series(key, arrays)

    def to_dataframe(
        self,
        keys: Key | Iterable[Key],
        st: Time | None = 0.0,
        et: Time | None = None,
        include_previous: bool | None = None,
        include_end: bool = False,
    ) -> pandas.DataFrame:
        """Return the samples of several mutable keys as a pandas table; needs the extra ``pandas``.

        All keys are read in one exchange with the store.

        Parameters
        ----------
        keys
            A key or several. One with glob characters that does not exist is a Redis glob of full names, such as
            ``"m000_*"``, and selects all mutable keys that match, in every namespace.
        st, et, include_previous, include_end
            As for `to_pandas`; with `include_previous` each column begins with its value at `st`.

        Returns
        -------
        table : pandas.DataFrame
            A column for each key, and a row for each time at which one of them has a sample; NaN where
            the others have none (``.ffill()`` fills in the value at that time). Of several samples of
            one key at one time, the last.

        Raises
        ------
        KeyError
            If keys are missing, or no mutable key matches a glob.
        ImmutableKeyError
            If keys are of another kind; it names all of them.
        BatchError
            If samples cannot be decoded: an `ExceptionGroup` of what `get_range` raises for each key.
        ImportError
            If pandas is not installed.
        InvalidTimestampError
            As for `to_pandas`.
        """
        from telstate import _pandas
        from telstate.pipeline import select_keys

        _pandas.load_pandas()  # fails before anything is requested
        selected = select_keys(keys, self.__contains__, self.key_types, _pandas.select_mutable)
        with self.pipeline(raise_errors=False) as p:
            found = _pandas.queue_ranges(p, selected, (st, et, include_previous, include_end))
        return _pandas.make_frame(_pandas.samples_of(found))
