"""What can go wrong with an RDB file or a DUMP payload.

Rules: a file that is not sound is :exc:`RdbParseError`, whatever is wrong with it; a value or a
request that cannot be written is :exc:`RdbWriteError`. What the operating system says (no such
file, disk full) stays an :exc:`OSError` unless the text says otherwise. Both are errors of
TelescopeState too, so that ``except TelstateError`` catches them.
"""

from __future__ import annotations

from telstate_codec.errors import TelstateError


class RdbParseError(TelstateError):
    """An RDB file or DUMP payload is broken, cut short, or of a version that is not known.

    Parameters
    ----------
    reason
        What is wrong, as a clause without a full stop.
    file
        Name of the file, if it has one.
    offset
        Byte of the file (or payload) at which it was noticed, counted from 0.
    key
        The key whose value is broken, if it is known.

    Examples
    --------
    >>> print(RdbParseError("the file ends here", file="dump.rdb", offset=17, key=b"gain"))
    dump.rdb, byte 17, key b'gain': the file ends here
    """

    def __init__(
        self,
        reason: str = "this is no RDB file that can be read",
        *,
        file: str | None = None,
        offset: int | None = None,
        key: bytes | None = None,
    ) -> None:
        super().__init__(reason, file, offset, key)
        self.reason = reason
        self.file = file
        self.offset = offset
        self.key = key

    @property
    def filename(self) -> str | None:
        """`file`, by the name that it has in an `OSError`."""
        return self.file

    def __str__(self) -> str:
        place = [] if self.file is None else [self.file]
        if self.offset is not None:
            place.append(f"byte {self.offset}")
        if self.key is not None:
            place.append(f"key {self.key!r}")
        return f"{', '.join(place)}: {self.reason}" if place else self.reason

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (self.reason, self.file, self.offset, self.key)


def _restore(reason: str, file: str | None, offset: int | None, key: bytes | None) -> RdbParseError:
    """Make the error again, in another process."""
    return RdbParseError(reason, file=file, offset=offset, key=key)


class RdbWriteError(TelstateError):
    """A value cannot be written: not in the version that was asked for, or not at all."""
