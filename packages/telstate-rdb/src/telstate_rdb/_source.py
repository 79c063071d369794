"""The bytes of a file or payload, from wherever they come, and the strings and lengths in them.

A :class:`Source` holds a window of the bytes, `buffer`, and the place of the next one in it,
`position`. Its rules:

* Whoever reads quickly takes both into local variables, and puts `position` back before calling a
  method here. After any call that may need more bytes both have to be fetched anew.
* What is behind `position` may be dropped at any time, after it has gone into the checksum; so
  memory is bounded by the largest string, not by the file.
* A length is never believed: where the size of the whole is known, one that goes beyond it is an
  error at once, and otherwise memory is taken only for bytes that have really come.
* Every error here is :exc:`RdbParseError` with the offset filled in. Where a decompressor cannot go
  on, that is the error too, but not before all that came out of it has been read.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from telstate_rdb._crc64 import crc64
from telstate_rdb.constants import (
    LENGTH_14BIT,
    LENGTH_32BIT,
    LENGTH_64BIT,
    LENGTH_SPECIAL,
    STRING_INT8,
    STRING_INT16,
    STRING_INT32,
    STRING_LZF,
)
from telstate_rdb.errors import RdbParseError
from telstate_rdb.lzf import decompress

CHUNK_SIZE = 1 << 18
"""How many bytes are asked of a file at once."""

IMPOSSIBLE_SIZE = 1 << 40
"""So many bytes no value has: said of a file whose size is not known, it is refused at once."""

_BIG_READ = 1 << 24  # a long string is read in pieces of this size: its length may be a lie

_INTEGER_SIZES = {STRING_INT8: 1, STRING_INT16: 2, STRING_INT32: 4}

_DAMAGE = {
    ("builtins", "EOFError"),
    ("gzip", "BadGzipFile"),
    ("zlib", "error"),
    ("_lzma", "LZMAError"),
    ("_zstd", "ZstdError"),
}
"""What decompressors raise for broken data: by name, for none of them need be there."""

Progress = Callable[[int, int | None], object]
"""Called with the number of bytes read so far and the size of the whole, if it is known."""


class BinaryReader(Protocol):
    """Anything with ``read``: a file, a pipe, a decompressor, a socket's ``makefile('rb')``."""

    def read(self, size: int, /) -> bytes | None:
        """Give up to `size` bytes; none at the end."""


class Source:
    """Bytes to be read in order, once.

    Parameters
    ----------
    source
        The bytes themselves, the path of a file, or an open binary file, which is read from where
        it stands and is not closed.
    name
        What to call it in errors (default: the path or the file's own name).
    progress
        Called now and then.

    Attributes
    ----------
    buffer, position
        The window, and the place of the next byte in it.
    base
        The offset in the file of the buffer's first byte.
    size
        Of the whole, where it is known.
    keep_from
        An offset from which on nothing is to be forgotten, to go back there.
    """

    __slots__ = (
        "buffer",
        "position",
        "base",
        "size",
        "name",
        "keep_from",
        "_crc",
        "_crc_to",
        "_file",
        "_read",
        "_failure",
        "_owned",
        "_capture_from",
        "_captured",
        "_progress",
    )

    def __init__(
        self,
        source: str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryReader,
        *,
        name: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.buffer = b""
        self.position = 0
        self.base = 0  # of the buffer's first byte in the file
        self.size: int | None = None
        self.name = name
        self.keep_from: int | None = None
        self._crc = 0
        self._crc_to = 0  # offset up to which it goes
        self._file: BinaryReader | None = None
        self._failure: Exception | None = None  # why the file cannot be read further
        self._owned: io.FileIO | None = None
        self._capture_from: int | None = None
        self._captured: list[bytes] = []  # what is not in the buffer any more
        self._progress = progress
        if isinstance(source, bytes | bytearray | memoryview):
            self.buffer = bytes(source)
            self.size = len(self.buffer)
        elif isinstance(source, str | os.PathLike):
            self.name = name or os.fspath(source)
            self._owned = self._file = io.FileIO(source)
            self.size = size_of(self._owned)
        elif not hasattr(source, "read"):
            raise TypeError(
                f"A {type(source).__name__} is no RDB file: give a path, bytes, or something open that "
                "reads bytes."
            )
        else:
            file_name = getattr(source, "name", None)
            self.name = name or (file_name if isinstance(file_name, str) else None) or None
            self._file = source
            self.size = size_of(source)
        if self._file is not None:  # what has come so far will do, be it less than asked for
            self._read = getattr(self._file, "read1", self._file.read)

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file if it was opened here."""
        self._file = None
        if self._owned is not None:
            self._owned.close()

    # ------------------------------------------------------------------------- the window

    @property
    def offset(self) -> int:
        """The place of the next byte in the file."""
        return self.base + self.position

    def error(self, reason: str, offset: int | None = None) -> RdbParseError:
        """Make the error that says `reason`, here or at an offset of the file."""
        where = self.offset if offset is None else offset
        return RdbParseError(reason, file=self.name, offset=where)

    def expect(self, count: int) -> None:
        """Check that `count` more bytes can be there at all, before anything relies on it."""
        if self.size is None:
            if count >= IMPOSSIBLE_SIZE:
                raise self.error(f"{count} bytes are said to follow, which cannot be")
        elif count > self.size - self.offset:
            raise self.error(
                f"{count} bytes are said to follow, but the file has only "
                f"{max(self.size - self.offset, 0)} more"
            )

    def need(self, count: int) -> None:
        """See to it that `count` bytes from `position` on are in the buffer."""
        if len(self.buffer) - self.position < count:
            self.fill(count)

    def fill(self, count: int) -> None:
        """Do what :meth:`need` does, where it is known that they are not there yet."""
        if self._available(count) < count:
            self.check()
            raise self.error(
                (
                    "the file ends here"
                    if self.position == len(self.buffer)
                    else "the file is cut short"
                ),
                self.base + len(self.buffer),
            )

    @property
    def ended(self) -> bool:
        """Whether the end of the file has been seen: nothing will come behind the buffer."""
        return self._file is None and self._failure is None

    def at_end(self) -> bool:
        """Tell whether there is not one more byte."""
        if self.position < len(self.buffer) or self._available(1):
            return False
        self.check()
        return True

    def check(self) -> None:
        """Raise what has kept the file from being read further, if anything has."""
        if self._failure is not None:
            raise self.error(
                f"the source cannot be read further ({self._failure})",
                self.base + len(self.buffer),
            ) from self._failure

    def look_ahead(self, count: int) -> None:
        """Try to have `count` bytes in the buffer; there may be fewer left in the file."""
        self._available(count)

    def _available(self, count: int) -> int:
        """Read until `count` bytes are in the buffer, or to the end; give how many there are."""
        have = len(self.buffer) - self.position
        if have >= count or self._file is None:
            return have
        self._drop()
        parts = [self.buffer]
        while have < count:
            wanted = max(CHUNK_SIZE, self.position, min(count - have, _BIG_READ))
            try:
                part = self._read(wanted)
            except Exception as error:
                if not _is_damage(error):
                    raise
                self._failure = error
                self._file = None
                break
            if not part:
                if part is None:
                    raise BlockingIOError("a file to be read must not be in non-blocking mode")
                self._file = None
            if not isinstance(part, bytes | bytearray | memoryview):
                raise TypeError(
                    f"{self.name or 'the source'} gives {type(part).__name__} where bytes are "
                    "needed: open it in binary mode"
                )
            if not part:
                break
            parts.append(bytes(part))
            have += len(part)
        self.buffer = b"".join(parts)
        if self._progress is not None:
            self._progress(self.base + len(self.buffer), self.size)
        return have

    def _drop(self) -> None:
        """Forget what was read, after the checksum has seen it, but for what is to be kept."""
        self.take_checksum()
        if self._capture_from is not None:
            self._captured.append(self.buffer[self._capture_from - self.base : self.position])
            self._capture_from = self.offset
        cut = self.position
        if self.keep_from is not None:
            cut = min(cut, self.keep_from - self.base)
        self.buffer = self.buffer[cut:]
        self.position -= cut
        self.base += cut

    def take_checksum(self) -> int:
        """Give the checksum of everything before `position`."""
        fresh = self._crc_to - self.base
        if fresh < self.position:
            self._crc = crc64(memoryview(self.buffer)[fresh : self.position], self._crc)
            self._crc_to = self.offset
        return self._crc

    def start_capture(self) -> None:
        """Keep what is read from here on, for :meth:`end_capture`."""
        self._capture_from = self.offset
        self._captured.clear()

    def end_capture(self) -> bytes:
        """Give everything read since :meth:`start_capture`."""
        return b"".join(self.end_capture_in_parts())

    def end_capture_in_parts(self) -> tuple[bytes, ...]:
        """Give everything read since :meth:`start_capture`, a long value in several parts."""
        start = self.offset if self._capture_from is None else self._capture_from
        self._capture_from = None
        parts = (*self._captured, self.buffer[start - self.base : self.position])
        self._captured.clear()
        return parts

    def rewind_capture(self) -> None:
        """Go back to where :meth:`start_capture` was called, to read the same again."""
        self.take_checksum()
        size = self.offset
        read = self.end_capture()
        self.buffer = read + self.buffer[self.position :]
        self.base = size - len(read)
        self.position = 0

    # ---------------------------------------------------------------- bytes, lengths, strings

    def read(self, count: int) -> bytes:
        """Read `count` bytes."""
        position = self.position
        stop = position + count
        if stop > len(self.buffer):
            self.expect(count)
            self.fill(count)
            position = self.position
            stop = position + count
        self.position = stop
        return self.buffer[position:stop]

    def skip(self, count: int) -> None:
        """Go `count` bytes on, without holding more than a chunk of them at once."""
        ahead = len(self.buffer) - self.position
        if count > ahead:
            self.expect(count)
            while count > ahead:
                self.position += ahead
                count -= ahead
                self.fill(1)
                ahead = len(self.buffer) - self.position
        self.position += count

    def read_byte(self) -> int:
        """Read a byte as a number."""
        if self.position >= len(self.buffer):
            self.fill(1)
        byte = self.buffer[self.position]
        self.position += 1
        return byte

    def read_unsigned(self, count: int) -> int:
        """Read an unsigned little-endian integer of `count` bytes."""
        return int.from_bytes(self.read(count), "little")

    def read_signed(self, count: int) -> int:
        """Read a signed little-endian integer of `count` bytes."""
        return int.from_bytes(self.read(count), "little", signed=True)

    def read_length(self) -> int:
        """Read a length; what stands for a special string is an error."""
        first = self.read_byte()
        if first < LENGTH_14BIT:
            return first
        if first >= LENGTH_SPECIAL:
            self.position -= 1
            raise self.error(f"byte {first:#04x} is no length")
        return self._length_after(first)

    def _length_after(self, first: int) -> int:
        """Read what follows the first byte of a length that is not in the byte itself."""
        if first < LENGTH_32BIT:
            return (first & 0x3F) << 8 | self.read_byte()
        if first == LENGTH_32BIT:
            return int.from_bytes(self.read(4), "big")
        if first == LENGTH_64BIT:
            return int.from_bytes(self.read(8), "big")
        self.position -= 1
        raise self.error(f"byte {first:#04x} is no length")

    def read_string(self) -> bytes:
        """Read a string of any form."""
        first = self.read_byte()
        if first < LENGTH_14BIT:
            return self.read(first)
        if first < LENGTH_SPECIAL:
            return self.read(self._length_after(first))
        if first == STRING_LZF:
            compressed = self.read_length()
            size = self.read_length()
            start = self.offset
            data = self.read(compressed)
            try:
                return decompress(data, size)
            except RdbParseError as error:
                raise self.error(error.reason, start) from None
        if first in _INTEGER_SIZES:
            return b"%d" % self.read_signed(_INTEGER_SIZES[first])
        self.position -= 1
        raise self.error(f"byte {first:#04x} is no form of a string")

    def skip_string(self) -> None:
        """Go on to behind a string, without decoding it."""
        first = self.read_byte()
        if first < LENGTH_14BIT:
            self.skip(first)
        elif first < LENGTH_SPECIAL:
            self.skip(self._length_after(first))
        elif first == STRING_LZF:
            compressed = self.read_length()
            self.read_length()
            self.skip(compressed)
        elif first in _INTEGER_SIZES:
            self.skip(_INTEGER_SIZES[first])
        else:
            self.position -= 1
            raise self.error(f"byte {first:#04x} is no form of a string")


def _is_damage(error: Exception) -> bool:
    """Tell whether an error says that what is read is broken, not that reading failed."""
    if type(error) is OSError:  # bz2 says no more than that; errors of the system have a number
        return error.errno is None
    return any((kind.__module__, kind.__name__) in _DAMAGE for kind in type(error).__mro__)


def size_of(file: object) -> int | None:
    """Give how many bytes follow in a file, if that is sure and can be had without reading."""
    if isinstance(file, io.BytesIO):
        return max(len(file.getbuffer()) - file.tell(), 0)
    raw = file.raw if isinstance(file, io.BufferedReader) else file
    if not isinstance(raw, io.FileIO):
        return None
    status = os.fstat(raw.fileno())
    if not stat.S_ISREG(status.st_mode):
        return None
    seekable = file if isinstance(file, io.BufferedReader) else raw
    return max(status.st_size - seekable.tell(), 0)
