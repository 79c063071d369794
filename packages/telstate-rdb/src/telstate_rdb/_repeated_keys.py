"""The search for keys that occur twice in a database, in limited memory however many keys there are.

Keys are kept in a set for each database. When these get large, a hash of 64 bits of each key goes to a
temporary file, in sorted runs; at the end, the hashes of one range after the other are compared, from all
runs. What is found are suspects: the caller counts them to be certain.
"""

from __future__ import annotations

import tempfile
from array import array
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from itertools import chain, islice, repeat
from operator import xor
from typing import IO

MAX_KEYS = 310_000
"""The number of keys in memory; with this many, a set of them does not have to grow once more."""

MAX_BYTES = 28_000_000
"""The memory for keys, as far as it can be estimated."""

_KEY_BYTES = 61  # besides the key itself
_RUN = 1 << 16  # hashes that are sorted at once
_COMPARED = 1 << 17  # hashes that are compared at once
_RANGES = 1024
_BOUNDS = [(place << 54) - (1 << 63) for place in range(1, _RANGES)]  # of signed 64-bit integers


class RepeatedKeys:
    """The keys of a file so far."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._count = 0
        self._keys: defaultdict[int, set[bytes]] = defaultdict(set)
        self._bytes = 0
        self._suspects: set[int] = set()  # hashes
        self._file: IO[bytes] | None = None
        self._runs: list[array[int]] = (
            []
        )  # where each range of each run begins in the file, and its end

    def add(self, database: int, keys: Collection[bytes]) -> None:
        """Add keys, which are at most a few thousand."""
        seen = self._keys[database]
        before = len(seen)
        seen.update(keys)
        if len(seen) < before + len(keys):
            self._suspects.update(hash_of(database, key) for key in keys)
        self._bytes += _KEY_BYTES * len(keys) + sum(map(len, keys))
        self._count += len(keys)
        if self._bytes >= self._max_bytes or self._count >= MAX_KEYS:
            self._move_to_file()

    def find(self) -> set[int]:
        """Return the hashes of keys that may occur twice. Nothing can be added afterwards."""
        found = self._suspects
        if self._file is not None:
            self._move_to_file()
            step = max(_RANGES * _COMPARED // (_RUN * len(self._runs)), 1)
            for start in range(0, _RANGES, step):
                hashes = self._read(start, min(start + step, _RANGES))
                if len(set(hashes)) < len(hashes):
                    found |= {number for number, count in Counter(hashes).items() if count > 1}
            self._file.close()
        return found

    def _move_to_file(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()
        for hashes in self._sorted_runs():
            start = self._file.tell()
            bounds = [0, *(bisect_left(hashes, bound) for bound in _BOUNDS), len(hashes)]
            self._runs.append(array("Q", [start + 8 * bound for bound in bounds]))
            self._file.write(hashes)
        self._keys.clear()
        self._bytes = self._count = 0

    def _sorted_runs(self) -> Iterator[array[int]]:
        hashes = chain.from_iterable(
            map(xor, map(hash, keys), repeat(number)) for number, keys in self._keys.items()
        )
        while run := sorted(islice(hashes, _RUN)):
            yield array("q", run)

    def _read(self, start: int, stop: int) -> array[int]:
        """Read the hashes of some ranges."""
        assert self._file is not None
        hashes = array("q")
        for run in self._runs:
            self._file.seek(run[start])
            hashes.frombytes(self._file.read(run[stop] - run[start]))
        return hashes


def hash_of(database: int, key: bytes) -> int:
    """Return the hash of a key in a database."""
    return hash(key) ^ database
