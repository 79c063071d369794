"""The methods of the synchronous telescope state that read or write much at once.

They are part of `telstate.TelescopeState`; what they mean is in `telstate.pipelines`, `telstate.calls` and
`telstate.frames`, which are loaded when they are first needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, SupportsFloat, TypeVar

from telstate import calls
from telstate.base import TelescopeStateBase
from telstate.calls import Call
from telstate_backends import Backend, KeyType
from telstate_codec import ENCODING_DEFAULT, Key, SampleArrays

if TYPE_CHECKING:
    import pandas

    from telstate.pipelines import Pipeline

Result = TypeVar("Result")


class BulkMethods(TelescopeStateBase[Backend]):
    """Batches, arrays and tables."""

    if TYPE_CHECKING:

        def _run(self, call: Call[Result]) -> Result: ...

    def pipeline(self, raise_errors: bool = True) -> Pipeline:
        """Queue reads and writes in a ``with`` block, and send them together at its end.

        In the block, the methods `get` (and ``p[key]``), `get_indexed`, `get_range`,
        `get_range_arrays`, `exists`, `key_type`, `keys`, `key_types`, `set` (and ``p[key] = value``),
        `add`, `add_many`, `set_indexed`, `delete`, `clear`, `view` and `root` have the parameters that
        they have here, but only queue. Each gives a handle, whose ``value`` is there after the block.

        They are done in order, in one exchange with the store (in one for each 10,000 items or
        16 MB of written values, if there are more). Each item is atomic; other clients may come in
        between. If the block is left by an exception, nothing is sent.

        Parameters
        ----------
        raise_errors
            Whether items that failed are raised at the end of the block. If not, they are only in
            the handles: ``handle.error``, which ``handle.value`` raises.

        Returns
        -------
        pipeline
            What is to be used in a ``with`` block, once.

        Raises
        ------
        BatchError
            At the end of the block, if items failed: an `ExceptionGroup` of all their errors.
        ConnectionError
            At the end of the block, if the store cannot be reached; what is then done is not known.
        EncodeError, InvalidTimestampError, TypeError, ReadOnlyError
            At once, if an item makes no sense.

        Examples
        --------
        >>> from telstate import TelescopeState
        >>> ts = TelescopeState()
        >>> with ts.pipeline() as p:
        ...     p["n_chans"] = 4096
        ...     p.add("gain", 1.5, ts=100.0)
        ...     n_chans, gain = p["n_chans"], p.get_range("gain")
        <Queued add 'gain': not there yet>
        >>> n_chans.value, gain.value
        (4096, [(1.5, 100.0)])
        """
        from telstate.pipelines import Pipeline

        return Pipeline(self._backend, self._view, raise_errors)

    def get_many(self, keys: Iterable[Key], return_encoded: bool = False) -> dict[Key, Any]:
        """Get several keys in one exchange with the store.

        Parameters
        ----------
        keys
            The keys.
        return_encoded
            Whether to return the stored bytes instead of the values.

        Returns
        -------
        values
            What `get` gives for each key that there is, in the order of `keys`; others are left out.

        Raises
        ------
        BatchError
            If some cannot be decoded: an `ExceptionGroup` of what `get` raises for each.

        Examples
        --------
        >>> from telstate import TelescopeState
        >>> ts = TelescopeState()
        >>> ts["n_chans"], ts["n_pols"] = 4096, 2
        >>> ts.get_many(["n_pols", "nope", "n_chans"])
        {'n_pols': 2, 'n_chans': 4096}
        """
        from telstate.batches import MISSING, present, several

        with self.pipeline() as p:
            found = {key: p.get(key, MISSING, return_encoded) for key in several(keys)}
        return present(found)

    def key_types(self, filter: Key = "*") -> dict[str, KeyType]:
        """List all keys that match a Redis glob, with their kinds, sorted, in every namespace.

        A server is asked about some 2,000 keys at a time, however many match. What others than
        telescope states wrote is left out.

        Examples
        --------
        >>> from telstate import TelescopeState
        >>> ts = TelescopeState()
        >>> ts["n_chans"] = 4096
        >>> ts.add("gain", 1.5)
        >>> ts.key_types()
        {'gain': <KeyType.MUTABLE: 2>, 'n_chans': <KeyType.IMMUTABLE: 1>}
        """
        return self._run(calls.key_types(filter))

    def add_many(
        self,
        key: Key,
        values: Iterable[Any],
        timestamps: Iterable[SupportsFloat],
        encoding: bytes = ENCODING_DEFAULT,
    ) -> None:
        """Add samples to a mutable key, all at once: nobody sees some of them without the others.

        Parameters
        ----------
        key
            The key.
        values
            A list, an array or any iterable; an array of shape (n, ...) is n values, each a NumPy
            scalar or array as ``for value in values`` gives it.
        timestamps
            As many times in seconds since 1970, in any order; finite and not negative.
        encoding
            How to encode the values, as for `add`.

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
        >>> from telstate import TelescopeState
        >>> ts = TelescopeState()
        >>> ts.add_many("gain", [1.5, 2.0, 1.75], [100.0, 110.0, 105.0])
        >>> ts.get_range("gain", st=0)
        [(1.5, 100.0), (1.75, 105.0), (2.0, 110.0)]
        """
        self._run(calls.add_many(self._view, key, values, timestamps, encoding))

    def get_range_arrays(
        self,
        key: Key,
        st: float | None = None,
        et: float | None = None,
        include_previous: bool | None = None,
        include_end: bool = False,
    ) -> SampleArrays:
        """Get the samples of a mutable key in a range of time, as NumPy arrays.

        Parameters, defaults and errors are those of `get_range`: the bare call gives the latest sample,
        ``st=0`` all of them.

        Returns
        -------
        timestamps : numpy.ndarray of float64, shape (n,)
            Seconds since 1970.
        values : numpy.ndarray, shape (n, ...)
            Numbers, in the dtype that they have (bool, int64, float64 or complex128 for Python's);
            arrays of equal shape, stacked; or else objects, shape (n,). Where dtypes of numbers differ
            it is one that holds all exactly (float64 of integers and floats); if there is none, objects.
            Without samples: float64, shape (0,).

        Examples
        --------
        >>> from telstate import TelescopeState
        >>> ts = TelescopeState()
        >>> ts.add_many("gain", [1.5, 2.0], [100.0, 110.0])
        >>> timestamps, values = ts.get_range_arrays("gain", st=0)
        >>> timestamps.tolist(), values.tolist(), values.dtype.name
        ([100.0, 110.0], [1.5, 2.0], 'float64')
        """
        return self._run(
            calls.get_range_arrays(self._view, key, st, et, include_previous, include_end)
        )

    def to_pandas(
        self,
        key: Key,
        st: float | None = 0.0,
        et: float | None = None,
        include_previous: bool | None = None,
        include_end: bool = False,
    ) -> pandas.Series:
        """Get the samples of a mutable key as a pandas series; needs the extra ``pandas``.

        Parameters and errors are those of `get_range`, but for `st`, which is 0 unless it is given, so
        that the bare call gives all samples.

        Returns
        -------
        series : pandas.Series
            Named like the key, indexed by time (UTC, in nanoseconds); the values as in
            `get_range_arrays`, or as objects where they are arrays.

        Raises
        ------
        ImportError
            If pandas is not installed.
        InvalidTimestampError
            If a sample is of the year 2261 or later, which pandas cannot count in nanoseconds.
        """
        from telstate.frames import load_pandas, make_series

        load_pandas()  # Before anything is asked.
        return make_series(key, self.get_range_arrays(key, st, et, include_previous, include_end))

    def to_dataframe(
        self,
        keys: Key | Iterable[Key],
        st: float | None = 0.0,
        et: float | None = None,
        include_previous: bool | None = None,
        include_end: bool = False,
    ) -> pandas.DataFrame:
        """Get the samples of several mutable keys as a pandas table; needs the extra ``pandas``.

        All are read in one exchange with the store.

        Parameters
        ----------
        keys
            The keys, or a Redis glob of full names, such as ``"m000_*"``: then all mutable keys that
            match, in every namespace.
        st, et, include_previous, include_end
            As for `to_pandas`; `include_previous` has each column begin with what was so at `st`.

        Returns
        -------
        table : pandas.DataFrame
            A column for each key, and a row for each time at which one of them has a sample; NaN where
            the others have none (``.ffill()`` says what was so). Of samples of one key at
            one time, the last.

        Raises
        ------
        KeyError
            If keys are missing, or no mutable key matches the glob.
        ImmutableKeyError
            If keys are of another kind; it names them all.
        BatchError
            If samples cannot be decoded: an `ExceptionGroup` of what `get_range` raises for each key.
        ImportError
            If pandas is not installed.
        InvalidTimestampError
            As for `to_pandas`.
        """
        from telstate.frames import (
            is_glob,
            load_pandas,
            make_frame,
            names_in,
            samples_of,
            sensors_in,
        )

        load_pandas()  # Before anything is asked.
        view, span = self, (st, et, include_previous, include_end)
        if is_glob(keys):
            keys, view = sensors_in(self.key_types(keys), keys), self.root()
        with view.pipeline(raise_errors=False) as p:
            found = {key: p.get_range_arrays(key, *span) for key in names_in(keys)}
        return make_frame(samples_of(found))
