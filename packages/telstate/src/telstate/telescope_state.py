"""The synchronous telescope state.

Each method is: build the call (pure), execute its operation, finish (pure); see `calls`. Only waiting
and loading need more than one exchange with the store.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self, SupportsFloat, TypeVar

from telstate import calls
from telstate.base import check_cache_size, check_prefixes, warn_is_immutable
from telstate.bulk import BulkMethods
from telstate.calls import Call
from telstate.endpoint import Endpoint
from telstate.opening import open_backend
from telstate.refusals import SyncRefusals
from telstate.suggestions import MissingAttributeError, MissingKeyError
from telstate_backends import Backend, KeyType
from telstate_backends.abc import Closing
from telstate_codec import ENCODING_DEFAULT, Key

if TYPE_CHECKING:
    from telstate.calls import IndexedCondition, KeyCondition, Require
    from telstate.snapshots import Source
    from telstate.watching import Watch
    from telstate_backends._wait import CancelFuture

Result = TypeVar("Result")


class TelescopeState(Closing, BulkMethods, SyncRefusals):
    """Configuration, sensors and lookup tables of a telescope, by key.

    A key is an *immutable* (set once), *mutable* (a sensor: values with timestamps) or *indexed* (a
    dictionary whose entries are set once each). Keys are `str` or `bytes`; values are whatever
    `telstate_codec.encode_value` takes. All methods can be called from any thread.

    Parameters
    ----------
    endpoint
        ``''`` for a new in-memory store, a backend, or where the server is: ``'host'``,
        ``'host:port'``, ``'[v6::address]:port'``, an `Endpoint`, or a URL (``redis://``,
        ``rediss://``, ``unix://``).
    db
        Number of the Redis database (default 0); must be 0 unless there is a server.
    prefixes
        The view: reads try each prefix in turn, writes use the first. Default: the root.
    base
        Another instance, whose backend is to be shared, instead of `endpoint` and `db`. If that is
        read-only, so is this.
    cache_size
        How many immutable keys to remember, so as not to ask the server for them again; default 0,
        none. Those count too that a view looks for in vain before it finds one. Deletions by this
        client, and by others that use this package, are noticed; those by katsdptelstate within a
        minute. `base` shares its cache. See "Caching" in the README.

    Raises
    ------
    ValueError
        If the arguments contradict each other.
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
        endpoint: str | Endpoint | Backend = "",
        db: int = 0,
        prefixes: Iterable[Key] = ("",),
        base: TelescopeState | None = None,
        *,
        cache_size: int = 0,
    ) -> None:
        try:
            if base is not None:
                if endpoint != "" or db != 0 or cache_size != 0:
                    raise ValueError(
                        "base brings its own store and cache: give no endpoint, db or cache_size too."
                    )
                shared = open_backend(base.backend, 0)  # which refuses one for asyncio
                self._setup(shared, check_prefixes(prefixes, base.read_only))
            else:
                view = check_prefixes(prefixes)  # Before anything is opened.
                check_cache_size(cache_size)
                backend = open_backend(endpoint, db)
                if cache_size:
                    from telstate_backends import CachedBackend

                    backend = CachedBackend(backend, cache_size)
                self._setup(backend, view, owner=True)
        finally:
            del endpoint  # It may hold a password, which no traceback should show.

    def _run(self, call: Call[Result]) -> Result:
        """Execute what a call asks for, and finish it."""
        operation, finish = call
        try:
            return finish(self._backend.execute(operation))
        except MissingKeyError as error:
            error.look_in(self._backend)
            raise

    def close(self) -> None:
        """Let go of the store: close the backend that this instance opened, or was given.

        Views, and instances made with ``base=``, share the backend of the one that they were made
        from, and leave it open when they are closed; ``ts.backend.close()`` closes it from
        anywhere. What is in memory stays there. It can be called twice, and is what the end of a
        ``with`` block does.

        Examples
        --------
        >>> with TelescopeState() as ts:  # or TelescopeState("localhost:6379")
        ...     ts["n_chans"] = 4096
        """
        if self._owner:
            self._backend.close()

    # Reading

    def __contains__(self, key: Key) -> bool:
        return self._run(calls.exists(self._view, key))

    def __getitem__(self, key: Key) -> Any:
        return self._run(calls.get_item(self._view, key))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            # Python and its tools probe for special methods; no server is asked about those.
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        try:
            return self[name]
        except KeyError as error:
            # Without the cause: it says the same, and a slip of the finger needs no two tracebacks.
            raise MissingAttributeError.of(error, name) from None

    def get(self, key: Key, default: Any = None, return_encoded: bool = False) -> Any:
        """Get an immutable's value, a mutable's latest value, or an indexed key's `dict`.

        Parameters
        ----------
        key
            The key.
        default
            What to return if there is no such key.
        return_encoded
            Whether to return the stored bytes instead (for an indexed key, a dict of bytes).

        Raises
        ------
        DecodeError
            If the stored bytes are no value, or are a pickle (see `set_allow_pickle`).
        """
        return self._run(calls.get(self._view, key, default, return_encoded))

    def get_indexed(
        self, key: Key, sub_key: Any, default: Any = None, return_encoded: bool = False
    ) -> Any:
        """Get one value of an indexed key, or `default` if there is no such key or sub-key.

        Parameters
        ----------
        key, sub_key
            The key, and whatever it was set with in `set_indexed`.
        default
            What to return if there is no such key or sub-key.
        return_encoded
            Whether to return the stored bytes instead.

        Raises
        ------
        ImmutableKeyError
            If the key is of another kind.
        """
        return self._run(calls.get_indexed(self._view, key, sub_key, default, return_encoded))

    def get_range(
        self,
        key: Key,
        st: float | None = None,
        et: float | None = None,
        include_previous: bool | None = None,
        include_end: bool = False,
        return_encoded: bool = False,
    ) -> list[tuple[Any, float]]:
        """Get the samples of a mutable key in a range of time.

        The bare call gives the latest sample.

        Parameters
        ----------
        key
            The key.
        st, et
            Start and end in seconds since 1970. Default for `et`: the end of time; for `st`: `et`.
        include_previous
            Whether the last sample before `st` comes first, if it is before the end. Default:
            whether `st` was left out.
        include_end
            Whether a sample at `et` itself is in the range.
        return_encoded
            Whether to give the stored bytes of the values.

        Returns
        -------
        samples
            Value and timestamp of each sample, by time (then by the bytes of the value).

        Raises
        ------
        KeyError
            If there is no such key.
        ImmutableKeyError
            If it is not mutable.
        InvalidTimestampError
            If a time is NaN.
        """
        return self._run(
            calls.get_range(self._view, key, st, et, include_previous, include_end, return_encoded)
        )

    def key_type(self, key: Key) -> KeyType | None:
        """Tell what kind of key it is, None if there is no such key."""
        return self._run(calls.key_type(self._view, key))

    def is_immutable(self, key: Key) -> bool:
        """Tell whether a key is immutable. Deprecated: use `key_type`."""
        warn_is_immutable(stacklevel=2)
        return self._run(calls.is_immutable(self._view, key))

    def keys(self, filter: Key = "*") -> list[str]:
        """List the full names of all keys that match a Redis glob, in every namespace, sorted."""
        return self._run(calls.keys(filter))

    def __dir__(self) -> Iterable[str]:
        names = self._ipython_key_completions_()
        return {*super().__dir__(), *(name for name in names if name.isidentifier())}

    # Writing

    def __setitem__(self, key: Key, value: Any) -> None:
        self._run(calls.set_immutable(self._view, key, value))

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
        elif hasattr(type(self), name):
            raise AttributeError(
                f"{name!r} is an attribute of the class; set a key of that name with ts[{name!r}]."
            )
        else:
            self[name] = value

    def add(
        self,
        key: Key,
        value: Any,
        ts: SupportsFloat | None = None,
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
            Time of the sample in seconds since 1970; finite and not negative. Default: now.
        immutable
            Whether to set an immutable key instead.
        encoding
            How to encode the value: `ENCODING_MSGPACK` (default) or `ENCODING_PICKLE`.

        Raises
        ------
        ImmutableKeyError
            If the key is of another kind, or immutable with another value.
        InvalidTimestampError
            If `ts` is negative or not finite.
        EncodeError
            If the value cannot be encoded.
        """
        self._run(calls.add(self._view, key, value, ts, immutable, encoding))

    def set_indexed(
        self, key: Key, sub_key: Any, value: Any, encoding: bytes = ENCODING_DEFAULT
    ) -> None:
        """Set one value of an indexed key, once.

        Parameters
        ----------
        key, sub_key
            The key, and anything hashable that can be encoded: text, a number, a tuple of such.
        value
            The value; setting an equal one again is fine.
        encoding
            How to encode the value: `ENCODING_MSGPACK` (default) or `ENCODING_PICKLE`.

        Raises
        ------
        TypeError
            If `sub_key` is not hashable.
        ImmutableKeyError
            If the key is of another kind, or the sub-key is set to another value.
        """
        self._run(calls.set_indexed(self._view, key, sub_key, value, encoding))

    def delete(self, key: Key) -> None:
        """Delete a key in every prefix of the view."""
        self._run(calls.delete(self._view, key))

    def clear(self) -> None:
        """Delete every key of the store, whatever the view."""
        self._run(calls.clear(self._view))

    # Waiting

    def wait_key(
        self,
        key: Key,
        condition: KeyCondition | None = None,
        timeout: float | None = None,
        cancel_future: CancelFuture | None = None,
    ) -> None:
        """Wait until a key exists, or until a condition holds for it.

        Only updates end a wait: in a view, the deletion of a key that shadows another does not, though
        the other may fulfil the condition.

        Parameters
        ----------
        key
            The key.
        condition
            Called with the value and the timestamp (None unless the key is mutable) now and for
            each update; for an indexed key, with the whole dict as it is when the update is taken:
            what has been deleted by then may never be seen.
        timeout
            Seconds to wait at most. Default: as long as it takes.
        cancel_future
            Give up when this is done.

        Raises
        ------
        TimeoutError
            If the time is over.
        CancelledError
            If `cancel_future` is done.
        TypeError
            If `condition` is no function, or `timeout` no number.
        """
        from telstate.waiting import wait_for  # here: not everybody waits

        wanted = calls.key_wait(self._view, key, condition)
        wait_for(self._backend, wanted, lambda: [key], timeout, cancel_future)

    def wait_indexed(
        self,
        key: Key,
        sub_key: Any,
        condition: IndexedCondition | None = None,
        timeout: float | None = None,
        cancel_future: CancelFuture | None = None,
    ) -> None:
        """Wait until a sub-key exists, or until a condition holds for its value.

        Parameters and errors are those of `wait_key`; the condition is called with the value.

        Raises
        ------
        ImmutableKeyError
            If the key is of another kind, now or once it appears.
        """
        from telstate.waiting import wait_for  # here: not everybody waits

        wanted = calls.indexed_wait(self._view, key, sub_key, condition)
        wait_for(self._backend, wanted, lambda: [key], timeout, cancel_future)

    def wait_keys(
        self,
        keys: Iterable[Key],
        require: Require = "all",
        timeout: float | None = None,
        cancel_future: CancelFuture | None = None,
    ) -> tuple[str, ...]:
        """Wait until several keys exist, or any of them: one wait for all.

        Parameters
        ----------
        keys
            The keys; each is looked for under all prefixes of the view.
        require
            ``"all"`` (default): until all of them exist at once; ``"any"``: until one does.
        timeout
            Seconds to wait at most. Default: as long as it takes.
        cancel_future
            Give up when this is done.

        Returns
        -------
        names
            Those of the keys that exist now, in the order given.

        Raises
        ------
        TimeoutError
            If the time is over; its text names the keys that are missing.
        CancelledError
            If `cancel_future` is done.

        Examples
        --------
        >>> ts = TelescopeState()
        >>> ts["n_chans"] = 4096
        >>> ts.wait_keys(["n_pols", "n_chans"], require="any")
        ('n_chans',)
        >>> ts.wait_keys(["n_pols", "n_chans"], timeout=0.01)
        Traceback (most recent call last):
        telstate_backends.errors.TimeoutError: timed out after 0.01 s: key 'n_pols' did not come, or not as wanted
        """
        from telstate.waiting import wait_for  # here: not everybody waits

        wanted, existing, missing = calls.keys_wait(self._view, keys, require)
        wait_for(self._backend, wanted, missing, timeout, cancel_future)
        return existing()

    def watch(
        self, *keys: Key, patterns: Iterable[Key] = (), timeout: float | None = None
    ) -> Watch:
        """Be told of each update of some keys, in order, none missed and none twice.

        The watch is a context manager, in which every update from its entrance on is told, and an
        iterator, which gives `KeyUpdate`, and `Reconnected` where updates were lost on the way and
        are now made up for from the store. It can be iterated without being entered; then it begins
        where the iteration does.

        Parameters
        ----------
        keys
            What to watch, under all prefixes of the view. As for `wait_key`, updates of a key that
            an earlier prefix shadows at the time are left out.
        patterns
            Redis globs of full names, in every namespace, to watch as well: of these every update
            is told.
        timeout
            Seconds to wait for the next update at most, when iterating. Default: as long as it
            takes. `Watch.next` takes one for each call.

        Returns
        -------
        watch
            What gives the updates; ``close()``, from any thread, ends it.

        Raises
        ------
        TimeoutError
            While iterating: if no update comes in time. One can go on iterating.
        CancelledError
            While iterating: if the backend is closed.
        ConnectionError
            At the beginning: if the server cannot be reached. Later on it is waited for.
        RefusedError
            If the server does not permit it, by the rules for the user.

        Notes
        -----
        So that nothing is missed over a lost connection, what is there is read when the watch begins
        (long samples as digests, a page at a time) and again after a loss; of each sample, sub-key
        and immutable 12 to 24 bytes are kept in memory. Of a million samples the reading takes 2 s of
        the client's processor, and 0.6 s of the server's in pieces of a millisecond. A store in memory
        loses nothing, and so nothing is read or kept. Late samples are found like any others. What is
        not found out: that a key was deleted and set again to the same content while the connection
        was lost. Loading a snapshot tells of the latest sample of each key only. Redis does not say
        in which of its databases something was written: what others write to a key of the same name
        in another one is told as well.

        Whoever takes updates more slowly than they come is cut off by the server when it is 32 MB
        behind (Redis's default; on asyncio at 100,000 updates or 64 MB), and then learns the rest
        from the store, as after any loss. In memory the updates not yet taken are kept, however many.

        Examples
        --------
        >>> ts = TelescopeState()
        >>> with ts.watch("gain", patterns=["cal_*"]) as watch:
        ...     ts.add("gain", 1.5, ts=100.0)
        ...     ts["cal_K"] = 0.25
        ...     watch.next(timeout=5), watch.next(timeout=5)
        (KeyUpdate('gain', KeyType.MUTABLE, 1.5, timestamp=100.0), KeyUpdate('cal_K', KeyType.IMMUTABLE, 0.25))
        """
        # Here, so that who watches nothing need not pay for this import.
        from telstate.watching import Watch

        return Watch(self._backend, self._view, keys, patterns, timeout)

    # Snapshots

    @classmethod
    def from_snapshot(
        cls, file: Source, prefixes: Iterable[Key] = ("",), *, strict: bool = True
    ) -> Self:
        """Make a telescope state in memory of what is in a snapshot.

        Parameters
        ----------
        file, strict
            As for `load_from_file`.
        prefixes
            The view, as for the constructor.

        Raises
        ------
        RdbParseError
            If the file is broken.
        OSError
            If it cannot be opened.

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
        ts = cls(prefixes=prefixes)
        from telstate.snapshots import load_into  # here: many programs never do this

        load_into(ts.backend, file, strict=strict)
        return ts

    def save(self, path: str | os.PathLike[str], keys: Iterable[Key] | None = None) -> int:
        """Save the store, or some keys of it, to a snapshot, whatever the view.

        The file is replaced as a whole when all is written, or left as it was. `RDBWriter` does
        more: several stores in one file, and keys that may be missing.

        Parameters
        ----------
        path
            Path of the file.
        keys
            Full names of the keys, such as ``ts.keys("m000_*")``. Default: all; then the snapshot of
            an empty store is empty, and what is not telstate's (Redis lists, say) is left out and
            logged.

        Returns
        -------
        count
            How many keys were saved.

        Raises
        ------
        KeyError
            If one of `keys` is not there.
        ForeignKeyError
            If one of `keys` is not telstate's.
        RdbWriteError, OSError
            If the file cannot be written.
        """
        from telstate.snapshots import save_store  # here: many programs never do this

        return save_store(self._backend, path, keys)

    def load_from_file(self, file: Source, *, strict: bool = True) -> int:
        """Load a snapshot into the store, whatever the view.

        A key that is in both is replaced by the file's, an immutable one too.

        Parameters
        ----------
        file
            Path of an RDB file of any version, or an open binary file (that need not seek).
        strict
            Whether a damaged file is an error (default). If not, the keys that are whole are loaded,
            and each part that is lost is a warning in the log. Where only the checksum is wrong, any
            value may have been changed. What does not begin as a snapshot is an error all the same.

        Returns
        -------
        count
            How many keys were loaded.

        Raises
        ------
        RdbParseError
            If the file is broken: before anything is loaded, if the file has a checksum and can be
            read twice.
        OSError
            If it cannot be opened.
        """
        self._view.check_writable("no snapshot can be loaded")
        from telstate.snapshots import load_into  # here: many programs never do this

        return load_into(self._backend, file, strict=strict)
