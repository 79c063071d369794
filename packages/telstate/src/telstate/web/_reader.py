"""Reading a store for the page: what requests may cost, and what is remembered between them.

Rules: nothing here writes. A request first asks how large something is, and is refused if that is too much.
Few requests work at the same time and few more wait, so that their memory is bounded. A request that
takes too long fails, but keeps its place until its work is done.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

from telstate._calls.common import with_key
from telstate._summaries import BATCH, KeySummary, natural, peek_at, summaries_of
from telstate.plot._panels import Bands, Image, Sensor, sensor_of
from telstate_backends import (
    AsyncBackend,
    Get,
    GetRange,
    Immutable,
    Indexed,
    KeyPreview,
    KeyType,
    KeyTypes,
    MemoryBackend,
    Mutable,
    Operation,
    Peek,
)
from telstate_codec import (
    DecodeError,
    SampleArrays,
    decode_sample_arrays,
    decode_timestamp,
    decode_value,
    encode_key,
    key_repr,
    range_bounds,
)

MAX_SAMPLES = 5_000_000
"""The most samples that one request reads."""

MAX_BYTES = 1 << 27
"""The most bytes of samples, as they are stored, that one request reads."""

MAX_VALUE_BYTES = 1 << 26
"""The most bytes of a value, or of all sub-keys and values of an indexed key, that one request reads."""

CACHE_BYTES = 1 << 28
"""The most bytes of decoded samples that are kept for later requests."""

WORKERS = 4
"""The number of requests that work at the same time."""

MAX_WAITING = 100
"""The number of requests that wait for others."""

TIME_LIMIT = 30.0
"""Seconds that a request may take, with the time that it waits."""

_TIME_BYTES = 8
_PROBED = 1000  # samples
_FEW = 10_000  # samples, which are read at once
_DECODED_ONCE = frozenset({str, bytes, list, tuple, dict, type(None)})

Result = TypeVar("Result")
Ends: TypeAlias = tuple[int, bytes, bytes]
"""The number of samples, and the encoded times of the first and the last."""


class RequestError(Exception):
    """A request that is not answered, with the status of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def missing(name: str) -> RequestError:
    """Return the error for a key that does not exist."""
    return RequestError(404, f"There is no key {key_repr(name)}.")


@attrs.frozen(eq=False)
class _Entry:
    """A sensor with all its samples, decoded."""

    sensor: Sensor
    ends: Ends
    size: int


@attrs.frozen(eq=False)
class Samples:
    """Decoded samples of a sensor: those of a range, with the one before it.

    Attributes
    ----------
    sensor : Numbers or Bands or Image
        The samples.
    first, last : float
        The times of the first and the last sample of all.
    """

    sensor: Sensor
    first: float
    last: float


class Reader:
    """Reads a store, within limits.

    Parameters
    ----------
    backend
        The store.
    prefixes
        Only keys that begin with one of these are listed. Default: all keys.
    """

    def __init__(self, backend: AsyncBackend, prefixes: Sequence[bytes] = ()) -> None:
        self._backend = backend.uncached
        self.prefixes = tuple(prefixes)
        # A store in memory is read in threads, because unpacking a long sensor takes long.
        self._memory = None if backend.store is None else MemoryBackend(backend.store)
        self._pool = ThreadPoolExecutor(WORKERS, "telstate web")
        self._slots = asyncio.Semaphore(WORKERS)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._cache: OrderedDict[bytes, _Entry] = OrderedDict()
        self._cached = 0

    @property
    def backend(self) -> AsyncBackend:
        """The store."""
        return self._backend

    def close(self) -> None:
        """Let threads end; the backend stays open."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    # Limits

    async def work(self, job: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Do the work of a request as soon as few others are at work."""
        if len(self._tasks) >= WORKERS + MAX_WAITING:
            raise RequestError(503, "Too many requests are being answered. Try again later.")
        task = asyncio.create_task(self._work_in_slot(job))
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        limit = asyncio.timeout(TIME_LIMIT)
        try:
            async with limit:
                # A thread cannot be cancelled, so the work goes on and keeps its place.
                return await asyncio.shield(task)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise RequestError(503, f"The answer takes longer than {TIME_LIMIT:g} s.") from error

    async def _work_in_slot(self, job: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        async with self._slots:
            return await job()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # which nobody may be waiting for

    async def compute(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call a function in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, function, *arguments)

    # Operations

    async def execute_many(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        """Execute operations that read; the error of a failed one is its result."""
        assert not any(operation.writes for operation in operations)
        if self._memory is not None:
            return await self.compute(self._memory.execute_many, operations)
        return await self._backend.execute_many(operations)

    async def execute(self, operation: Operation[Result]) -> Result:
        """Execute an operation that reads."""
        (result,) = await self.execute_many([operation])
        if isinstance(result, Exception):
            raise result
        found: Result = result
        return found

    async def kinds(self) -> dict[bytes, KeyType]:
        """Return the kinds of all keys that are shown."""
        found = await self.execute(KeyTypes())
        if not self.prefixes:
            return found
        return {key: kind for key, kind in found.items() if self.shows(key)}

    def shows(self, key: bytes) -> bool:
        """Return whether a key is listed."""
        return not self.prefixes or key.startswith(self.prefixes)

    async def summaries(self, keys: Sequence[bytes]) -> list[KeySummary]:
        """Summarise keys, in natural order; those that do not exist or are foreign are left out."""
        found: list[KeySummary] = []
        for start in range(0, len(keys), BATCH):
            batch = keys[start : start + BATCH]
            previews = await self.execute_many(peek_at(batch))
            found += await self.compute(summaries_of, batch, previews)
        return sorted(found, key=lambda summary: natural(summary.name))

    async def preview(self, name: str) -> KeyPreview:
        """Return the beginning of what a key holds."""
        found = await self.execute(Peek(encode_key(name), 0))
        if found is None:
            raise missing(name)
        return found

    async def contents(self, name: str) -> Immutable | Mutable | Indexed:
        """Return the value of a key, the latest sample of a mutable one, or all of an indexed one."""
        preview = await self.preview(name)
        size = preview.size if preview.kind is KeyType.MUTABLE else size_of(preview)
        if size > MAX_VALUE_BYTES:
            raise RequestError(
                413, f"Key {key_repr(name)} holds {size:,} bytes, too many for one request."
            )
        found = await self.execute(Get((encode_key(name),)))
        if found is None:
            raise missing(name)
        return found

    # Samples

    async def members(self, name: str, begin: float, end: float, previous: bool) -> Sequence[bytes]:
        """Return the encoded samples from `begin` to `end`, perhaps with the one before."""
        preview = await self._sensor_preview(name)
        self._check_range(name, preview, begin, end)
        found = await self.execute(_range(name, begin, end, previous))
        if found is None:
            raise missing(name)
        return found

    async def page_of_samples(
        self, name: str, begin: float, end: float, offset: int, limit: int
    ) -> tuple[Sequence[bytes], int]:
        """Return some of the encoded samples from `begin` to `end`, and the number of all of these.

        The times of a long sensor are known from its plot, so that only a part of it need be read.
        """
        times = await self._times_of_long_sensor(name)
        if times is None:
            members = await self.members(name, begin, end, False)
            return members[offset : offset + limit], len(members)
        start, stop = np.searchsorted(times, begin), np.searchsorted(times, end, "right")
        total = max(0, int(stop - start))
        shown = times[start:stop][offset : offset + limit]
        if not len(shown):
            return [], total
        members = await self.members(name, float(shown[0]), float(shown[-1]), False)
        # Several samples may have the time of the first one.
        skipped = int(start) + offset - int(np.searchsorted(times, shown[0]))
        return members[skipped : skipped + len(shown)], total

    async def _times_of_long_sensor(self, name: str) -> NDArray[np.float64] | None:
        preview = await self._sensor_preview(name)
        if not _FEW < preview.count <= MAX_SAMPLES or size_of(preview) > MAX_BYTES:
            return None
        if preview.first is None or preview.last is None:
            return None
        try:
            sensor = await self._whole_sensor(name, (preview.count, preview.first, preview.last))
        except DecodeError:  # such as a pickle
            return None
        return sensor.times if len(sensor.times) >= preview.count else None

    async def members_of_all(
        self, names: Sequence[str], begin: float, end: float
    ) -> list[Sequence[bytes]]:
        """Return the encoded samples of several sensors, which are limited in all."""
        found, size = [], 0
        for name in names:
            members = await self.members(name, begin, end, False)
            size += sum(map(len, members))
            if size > MAX_BYTES:
                raise RequestError(
                    413, f"These sensors have more than {MAX_BYTES:,} bytes in this range."
                )
            found.append(members)
        return found

    async def samples(self, name: str, begin: float, end: float) -> Samples:
        """Return the decoded samples from `begin` to `end`, with the one before."""
        preview = await self._sensor_preview(name)
        if preview.first is None or preview.last is None:
            raise RequestError(
                413, f"The samples of key {key_repr(name)} are too long to be plotted."
            )
        first, last = decode_timestamp(preview.first), decode_timestamp(preview.last)
        if preview.count > MAX_SAMPLES or size_of(preview) > MAX_BYTES:
            members = await self.members(name, begin, end, True)
            sensor = await self.compute(decode_sensor, name, members)
        else:
            ends = preview.count, preview.first, preview.last
            sensor = await self._whole_sensor(name, ends)
            times = sensor.times  # of a corrupt store, those of the preview may be infinite
            first, last = (float(times[0]), float(times[-1])) if len(times) else (0.0, 0.0)
        return Samples(await self.compute(cut, sensor, begin, end), first, last)

    async def _sensor_preview(self, name: str) -> KeyPreview:
        preview = await self.preview(name)
        if preview.kind is not KeyType.MUTABLE:
            kind = preview.kind.name.lower()
            raise RequestError(400, f"Key {key_repr(name)} is {kind} and has no samples.")
        return preview

    def _check_range(self, name: str, preview: KeyPreview, begin: float, end: float) -> None:
        """Refuse a range that is likely to hold too much."""
        part = 1.0
        if preview.first is not None and preview.last is not None:
            first, last = decode_timestamp(preview.first), decode_timestamp(preview.last)
            if last > first:
                part = max(0.0, min(end, last) - max(begin, first)) / (last - first)
        count, size = part * preview.count, part * size_of(preview)
        if count > MAX_SAMPLES or size > MAX_BYTES:
            raise RequestError(
                413,
                f"Key {key_repr(name)} has about {count:,.0f} samples ({size:,.0f} bytes) in this range, "
                "too many for one request. Choose a shorter range.",
            )

    async def _whole_sensor(self, name: str, ends: Ends) -> Sensor:
        """Return a sensor with all its samples, of which only those since the last request are read."""
        key = encode_key(name)
        entry = self._cache.get(key)
        if entry is not None and entry.ends == ends:
            self._cache.move_to_end(key)
            return entry.sensor
        sensor = None
        if entry is not None and ends[0] > entry.ends[0] and ends[1] == entry.ends[1]:
            sensor, ends = await self._read_tail(name, entry)
        if sensor is None:
            members = await self.execute(_range(name, -math.inf, math.inf, False))
            if members is None:
                raise missing(name)
            if members:
                ends = (len(members), members[0][:_TIME_BYTES], members[-1][:_TIME_BYTES])
            sensor = await self.compute(decode_sensor, name, members)
        self._remember(key, _Entry(sensor, ends, _size_in_memory(sensor)))
        return sensor

    async def _read_tail(self, name: str, entry: _Entry) -> tuple[Sensor | None, Ends]:
        """Add new samples to a sensor; None if samples came that are older than its last one."""
        last = decode_timestamp(entry.ends[2])
        kept = int(np.searchsorted(entry.sensor.times, last))
        now, tail = await self.execute_many(
            [Peek(encode_key(name), 0), _range(name, last, math.inf, False)]
        )
        if not isinstance(now, KeyPreview) or not isinstance(tail, list) or not tail:
            return None, entry.ends
        if kept + len(tail) != now.count or now.first != entry.ends[1]:
            return None, entry.ends
        more = await self.compute(decode_sensor, name, tail)
        ends = (now.count, entry.ends[1], tail[-1][:_TIME_BYTES])
        return await self.compute(_join, _slice(entry.sensor, 0, kept), more), ends

    def _remember(self, key: bytes, entry: _Entry) -> None:
        previous = self._cache.pop(key, None)
        self._cached += entry.size - (0 if previous is None else previous.size)
        self._cache[key] = entry
        while self._cached > CACHE_BYTES:
            _, dropped = self._cache.popitem(last=False)
            self._cached -= dropped.size


def size_of(preview: KeyPreview) -> int:
    """Return the bytes of all that a key holds; estimated if the server does not say."""
    if preview.kind is KeyType.IMMUTABLE:
        return preview.size
    own = _TIME_BYTES if preview.kind is KeyType.MUTABLE else len(preview.sub_key)
    return max(preview.total_size or 0, preview.count * (preview.size + own))


def _range(name: str, begin: float, end: float, previous: bool) -> GetRange:
    """Return the operation that reads the samples from `begin` to `end`, which are included."""
    bounds = range_bounds(max(begin, 0.0), end, include_end=math.isfinite(end))
    return GetRange((encode_key(name),), *bounds, include_previous=previous)


def decode_sensor(name: str, members: Sequence[bytes]) -> Sensor:
    """Decode samples."""
    try:
        if _are_columns(members):
            return sensor_of(name, decode_sample_arrays(members), -math.inf)
        return _decode_distinct(name, members)
    except DecodeError as error:
        raise with_key(error, name) from error


def _are_columns(members: Sequence[bytes]) -> bool:
    """Return whether samples are likely to be of one numeric type, which is decoded at once."""
    some = members[:: len(members) // _PROBED + 1]
    types = {type(decode_value(member[_TIME_BYTES:])) for member in some}
    if len(types) > 1:
        return types <= {int, float}
    return types.isdisjoint(_DECODED_ONCE)


def _decode_distinct(name: str, members: Sequence[bytes]) -> Sensor:
    """Decode each value that occurs once, which is faster where few different ones do."""
    lookup: dict[bytes, int] = {}
    encoded = (member[_TIME_BYTES:] for member in members)
    codes = np.fromiter(
        (lookup.setdefault(one, len(lookup)) for one in encoded), np.int64, len(members)
    )
    times = np.frombuffer(b"".join([member[:_TIME_BYTES] for member in members]), ">f8")
    values = np.empty(len(lookup), object)
    for place, one in enumerate(lookup):
        values[place] = decode_value(one)
    sensor = sensor_of(name, SampleArrays(np.arange(float(len(values))), values), -math.inf)
    times = times.astype(np.float64)
    if isinstance(sensor, Bands):
        return attrs.evolve(sensor, times=times, codes=sensor.codes[codes])
    return attrs.evolve(sensor, times=times, values=sensor.values[codes])


def cut(sensor: Sensor, begin: float, end: float) -> Sensor:
    """Return the samples from `begin` to `end`, with the one that is held at `begin`."""
    first = max(0, int(np.searchsorted(sensor.times, begin, "right")) - 1)
    stop = int(np.searchsorted(sensor.times, end, "right"))
    return _slice(sensor, first, max(first, stop))


def _slice(sensor: Sensor, first: int, stop: int) -> Sensor:
    part = slice(first, stop)
    if isinstance(sensor, Bands):
        return attrs.evolve(sensor, times=sensor.times[part], codes=sensor.codes[part])
    return attrs.evolve(sensor, times=sensor.times[part], values=sensor.values[part])


def _join(before: Sensor, after: Sensor) -> Sensor | None:
    """Return the samples of both, None if they are of different kinds."""
    times = np.concatenate([before.times, after.times])
    if isinstance(before, Bands) and isinstance(after, Bands):
        lookup = {label: code for code, label in enumerate(before.labels)}
        labels = list(before.labels)
        if len(lookup) < len(labels):  # different values with one label
            return None
        for label in after.labels:
            if label not in lookup:
                lookup[label] = len(labels)
                labels.append(label)
        renumbered = np.array([lookup[label] for label in after.labels], np.int64)
        codes = np.concatenate([before.codes, renumbered[after.codes]])
        return Bands(before.name, times, codes, labels)
    if isinstance(before, Bands) or isinstance(after, Bands):
        return None
    if type(before) is not type(after) or before.values.dtype != after.values.dtype:
        return None
    if isinstance(before, Image) and isinstance(after, Image) and before.shape != after.shape:
        return None
    return attrs.evolve(before, times=times, values=np.concatenate([before.values, after.values]))


def _size_in_memory(sensor: Sensor) -> int:
    if isinstance(sensor, Bands):
        return int(sensor.times.nbytes + sensor.codes.nbytes) + sum(map(len, sensor.labels)) * 4
    return int(sensor.times.nbytes + sensor.values.nbytes)
