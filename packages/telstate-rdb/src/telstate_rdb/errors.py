"""The errors of this package.

A file or payload that cannot be read raises :exc:`RdbParseError`, whatever is wrong with it; a value that
cannot be written raises :exc:`RdbWriteError`. Errors of the operating system (file not found, disk full)
stay an :exc:`OSError` unless the documentation of a function says otherwise.
"""

from __future__ import annotations

from telstate_rdb.printable import escape_path


class RdbError(Exception):
    """The base class of the errors of this package."""


class RdbParseError(RdbError):
    """An RDB file or DUMP payload is corrupt, truncated, or of an unknown version.

    Parameters
    ----------
    reason
        What is wrong, as a clause without a full stop.
    file
        The name of the file, if it has one.
    offset
        The offset in the file (or payload) at which it was noticed, in bytes.
    key
        The key whose value is malformed, if it is known.

    Examples
    --------
    >>> print(RdbParseError("the file ends here", file="dump.rdb", offset=17, key=b"gain"))
    dump.rdb, byte 17, key b'gain': the file ends here
    """

    def __init__(
        self,
        reason: str = "this is not an RDB file that can be read",
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
        """The same as `file`, under the name that it has in an `OSError`."""
        return self.file

    def __str__(self) -> str:
        place = [] if self.file is None else [escape_path(self.file)]
        if self.offset is not None:
            place.append(f"byte {self.offset}")
        if self.key is not None:
            place.append(f"key {self.key!r}")
        return f"{', '.join(place)}: {self.reason}" if place else self.reason

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (self.reason, self.file, self.offset, self.key)


def _restore(reason: str, file: str | None, offset: int | None, key: bytes | None) -> RdbParseError:
    """Unpickle an error."""
    return RdbParseError(reason, file=file, offset=offset, key=key)


class RdbWriteError(RdbError):
    """A value cannot be written, in the requested version or at all."""
