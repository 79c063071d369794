"""The methods of the asyncio telescope state that read or write much at once; see `telstate.bulk`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, SupportsFloat, TypeVar

from telstate import calls
from telstate.base import TelescopeStateBase
from telstate.calls import Call
from telstate_backends import AsyncBackend, KeyType
from telstate_codec import ENCODING_DEFAULT, Key, SampleArrays

if TYPE_CHECKING:
    import pandas

    from telstate.aio.pipelines import Pipeline

Result = TypeVar("Result")


class BulkMethods(TelescopeStateBase[AsyncBackend]):
    """Batches, arrays and tables."""

    if TYPE_CHECKING:

        async def _run(self, call: Call[Result]) -> Result: ...

    def pipeline(self, raise_errors: bool = True) -> Pipeline:
        """Queue reads and writes in an ``async with`` block, and send them together at its end.

        What is queued is not awaited: only the end of the block is.

        Examples
        --------
        >>> import asyncio
        >>> from telstate.aio import TelescopeState
        >>> async def main():
        ...     ts = TelescopeState()
        ...     async with ts.pipeline() as p:
        ...         p["n_chans"] = 4096
        ...         n_chans = p["n_chans"]
        ...     return n_chans.value
        >>> asyncio.run(main())
        4096
        """
        from telstate.aio.pipelines import Pipeline

        return Pipeline(self._backend, self._view, raise_errors)

    async def get_many(self, keys: Iterable[Key], return_encoded: bool = False) -> dict[Key, Any]:
        """Get several keys in one exchange with the store; those that are missing are left out."""
        from telstate.batches import MISSING, present, several

        async with self.pipeline() as p:
            found = {key: p.get(key, MISSING, return_encoded) for key in several(keys)}
        return present(found)

    async def key_types(self, filter: Key = "*") -> dict[str, KeyType]:
        """List all keys that match a Redis glob, with their kinds, sorted, in every namespace."""
        return await self._run(calls.key_types(filter))

    async def add_many(
        self,
        key: Key,
        values: Iterable[Any],
        timestamps: Iterable[SupportsFloat],
        encoding: bytes = ENCODING_DEFAULT,
    ) -> None:
        """Add samples to a mutable key, all at once: nobody sees some of them without the others."""
        await self._run(calls.add_many(self._view, key, values, timestamps, encoding))

    async def get_range_arrays(
        self,
        key: Key,
        st: float | None = None,
        et: float | None = None,
        include_previous: bool | None = None,
        include_end: bool = False,
    ) -> SampleArrays:
        """Get the samples of a mutable key in a range of time, as NumPy arrays."""
        return await self._run(
            calls.get_range_arrays(self._view, key, st, et, include_previous, include_end)
        )

    async def to_pandas(
        self,
        key: Key,
        st: float | None = 0.0,
        et: float | None = None,
        include_previous: bool | None = None,
        include_end: bool = False,
    ) -> pandas.Series:
        """Get the samples of a mutable key as a pandas series; needs the extra ``pandas``."""
        from telstate.frames import load_pandas, make_series

        load_pandas()  # Before anything is asked.
        arrays = await self.get_range_arrays(key, st, et, include_previous, include_end)
        return make_series(key, arrays)

    async def to_dataframe(
        self,
        keys: Key | Iterable[Key],
        st: float | None = 0.0,
        et: float | None = None,
        include_previous: bool | None = None,
        include_end: bool = False,
    ) -> pandas.DataFrame:
        """Get the samples of several mutable keys as a pandas table; needs the extra ``pandas``."""
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
            keys, view = sensors_in(await self.key_types(keys), keys), self.root()
        async with view.pipeline(raise_errors=False) as p:
            found = {key: p.get_range_arrays(key, *span) for key in names_in(keys)}
        return make_frame(samples_of(found))
