"""What is known of a store, in few bytes: a set of 64-bit digests of pieces of contents.

Rules: a piece is a value, a sample, or a sub-key with its value; of two different pieces with one
digest the second would be taken for known, which happens once in 10**13 among a million. Digests
hold within one process only: what is short is hashed by Python, with a seed of the process.
"""

from __future__ import annotations

from array import array

from telstate_backends.kinds import KeyType
from telstate_backends.updates import Update
from telstate_codec.timestamps import encode_timestamp

#: Pieces above this length have their SHA-1 taken, which a server can do as well (``survey.lua``).
LONG = 64
_MASK = (1 << 64) - 1


def digest(piece: bytes) -> int:
    """Give the digest of a piece."""
    if len(piece) <= LONG:
        return hash(piece) & _MASK
    # Here, so that who watches nothing need not pay for this import.
    from hashlib import sha1

    return digest_of_long(sha1(piece, usedforsecurity=False).hexdigest())


def digest_of_long(sha1: str | bytes) -> int:
    """Give the digest of a long piece whose SHA-1 is known, in hexadecimal."""
    return int(sha1[:16], 16)


def digest_of_item(sub_key: bytes, value: bytes) -> int:
    """Give the digest of a sub-key with its value."""
    return digest(b"%d\n%b%b" % (len(sub_key), sub_key, value))


def digest_of_update(update: Update) -> int:
    """Give the digest of what an update is about."""
    if update.timestamp is not None:
        return digest(encode_timestamp(update.timestamp) + update.value)
    if update.kind is KeyType.INDEXED:
        return digest_of_item(update.sub_key or b"", update.value)
    return digest(update.value)


class Known:
    """A set of digests, in 12 to 24 bytes each; one of Python's own needs about 70.

    Of each number 63 bits count, all but the lowest; in the place of that one stands whether an
    update of it is awaited.

    Examples
    --------
    >>> known = Known()
    >>> known.add(7)
    >>> 7 in known, 8 in known, len(known)
    (True, False, 1)
    >>> known.add(7, awaited=True)
    >>> known.settle(7), known.settle(7), len(known)
    (True, False, 1)
    """

    __slots__ = ("_count", "_table")

    def __init__(self) -> None:
        # Open addressing: a number stands at its remainder or in the next free place after it.
        self._table = array("Q", bytes(8 * 8))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, number: int) -> bool:
        return self._table[self._place(number)] != 0

    def add(self, number: int, awaited: bool = False) -> None:
        """Put in a number, unless it is there, and if `awaited` note that; zero is taken for two."""
        place = self._place(number)
        if self._table[place] == 0:
            self._count += 1
            if 3 * self._count > 2 * len(self._table):
                self._grow()
                place = self._place(number)
            self._table[place] = number & ~1 or 2
        self._table[place] |= awaited

    def awaits(self, number: int) -> bool:
        """Tell whether an update of this number is awaited."""
        return bool(self._table[self._place(number)] & 1)

    def settle(self, number: int) -> bool:
        """Tell whether an update of this number was awaited, which it is no longer."""
        place = self._place(number)
        awaited = bool(self._table[place] & 1)
        self._table[place] &= ~1
        return awaited

    def _place(self, number: int) -> int:
        table = self._table
        mask = len(table) - 1
        number = number & ~1 or 2
        place = (number >> 1) & mask
        while table[place] and table[place] & ~1 != number:
            place = (place + 1) & mask
        return place

    def _grow(self) -> None:
        old = self._table
        self._table = array("Q", bytes(8 * 2 * len(old)))
        for number in old:
            if number:
                self._table[self._place(number)] = number
