"""The bytes of a file or payload, wherever they come from, and the lengths and strings in them.

A :class:`Source` holds a window of the bytes, `buffer`, and the place of the next one in it, `position`.

* Fast code takes both into local variables, and sets `position` before it calls a method here. After any
  call that may need more bytes, both have to be fetched again.
* Bytes before `position` may be dropped at any time, once they are part of the checksum; so memory is
  limited by the largest string, not by the file.
* A length is never trusted: if the size of the file is known, one that goes beyond it is an error at
  once, and otherwise memory is only allocated for bytes that have arrived.
* Every error is an :exc:`RdbParseError` with its offset. A failing decompressor raises one too, but
  only after all the output before it has been read.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, Protocol, cast

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
from telstate_rdb.printable import without_credentials

CHUNK_SIZE = 1 << 18
"""The number of bytes to read from a file at once."""

IMPOSSIBLE_SIZE = 1 << 40
"""No value has this many bytes: if a file of unknown size claims it, it is an error at once."""

_MARK_SIZE = 40
_BIG_READ = 1 << 20  # a string from this size on is read in pieces
_BIG_PIECE = 1 << 24  # as its length may be wrong

_INTEGER_SIZES = {STRING_INT8: 1, STRING_INT16: 2, STRING_INT32: 4}

_DECOMPRESSION_ERRORS = {
    ("builtins", "EOFError"),
    ("gzip", "BadGzipFile"),
    ("zlib", "error"),
    ("_lzma", "LZMAError"),
    ("_zstd", "ZstdError"),
}
"""What decompressors raise for broken data: by name, because none of them need be installed."""

Progress = Callable[[int, int | None], object]
"""A function that is called with the number of bytes read so far and the size of the file, or None."""


class BinaryReader(Protocol):
    """Anything with ``read``: a file, a pipe, a decompressor, a socket's ``makefile('rb')``."""

    def read(self, size: int, /) -> bytes | None:
        """Return up to `size` bytes; no bytes at the end."""


RdbSource = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryReader
"""Where a snapshot can come from: a path, the bytes themselves, or an open binary file."""


def open_path(path: str | os.PathLike[str]) -> io.FileIO:
    """Open a file to read; an error does not show the password of a URL."""
    with without_credentials():
        return io.FileIO(os.fspath(path))


def read_from_start(source: RdbSource) -> RdbSource:
    """Return a source that is to be read from its start once more: an open file is rewound."""
    if not isinstance(source, str | os.PathLike | bytes | bytearray | memoryview):
        cast(BinaryIO, source).seek(0)
    return source


def name_source(source: RdbSource, name: str | None) -> str | None:
    """Return the name of a source for errors: the one that is given, or its own."""
    if isinstance(source, str | os.PathLike):
        own: object = os.fsdecode(source)
    else:
        own = getattr(source, "name", None)
    return name or (own if isinstance(own, str) else None) or None


@contextmanager
def name_damage(source: RdbSource, name: str | None) -> Iterator[None]:
    """Name the source in errors about values that were read from it as they are, and decoded later."""
    name = name_source(source, name)
    try:
        yield
    except RdbParseError as error:
        if error.file != name:  # then its offset is that in the value
            error.file, error.offset = name, None
        raise


class Source:
    """Bytes that are read in order, once."""

    __slots__ = (
        "buffer",
        "position",
        "base",
        "size",
        "name",
        "seek",
        "_crc",
        "_crc_stop",
        "_file",
        "_read",
        "_failure",
        "_owned",
        "_capture",
        "_mark",
        "_progress",
        "hash_templates",
        "announced_end",
        "end_mark",
    )

    def __init__(
        self, source: RdbSource, *, name: str | None = None, progress: Progress | None = None
    ) -> None:
        self.buffer = b""
        self.position = 0
        self.base = 0  # the offset in the file of the first byte of the buffer
        self.size: int | None = None
        self.name = name_source(source, name)
        self.seek: Callable[[int], object] | None = None  # of a file that is read in large pieces
        self._crc = 0
        self._crc_stop = 0  # the offset up to which the checksum goes
        self._file: BinaryReader | None = None
        self._failure: Exception | None = None  # the error that ended reading
        self._owned: io.FileIO | None = None
        self._capture: _Capture | None = None
        self._mark: _Capture | None = None
        self._progress = progress
        self.announced_end: int | None = None  # of a snapshot in a stream, if it was sent before
        self.end_mark = b""  # that follows a snapshot in a stream
        self.hash_templates: dict[int, tuple[bytes, ...]] = {}  # fields that values refer to
        if isinstance(source, bytes | bytearray | memoryview):
            self.buffer = bytes(source)
            self.size = len(self.buffer)
        elif isinstance(source, str | os.PathLike):
            self._owned = self._file = open_path(source)
            self.size = size_of(self._owned)
        elif not hasattr(source, "read"):
            raise TypeError(
                f"A {type(source).__name__} is not an RDB file: pass a path, bytes, or an open binary "
                "file."
            )
        else:
            self._file = source
            self.size = size_of(source)
        if self._file is not None:  # read1 returns what has arrived, without waiting for more
            self._read = getattr(self._file, "read1", self._file.read)

    @property
    def again(self) -> str | bytes | None:
        """The path that was opened here or all the bytes, from which a second source can be made."""
        if self._owned is not None:
            return os.fsdecode(self._owned.name)
        return self.buffer if len(self.buffer) == self.size and not self.base else None

    def close(self) -> None:
        """Close the file if it was opened here."""
        self._file = None
        if self._owned is not None:
            self._owned.close()

    # ------------------------------------------------------------------------- the window

    @property
    def offset(self) -> int:
        """The offset of the next byte in the file."""
        return self.base + self.position

    def error(self, reason: str, offset: int | None = None) -> RdbParseError:
        """Make an error with this reason, here or at an offset of the file."""
        return RdbParseError(
            reason, file=self.name, offset=self.offset if offset is None else offset
        )

    def expect(self, count: int) -> None:
        """Raise an error if `count` more bytes cannot follow, before anything relies on them."""
        if self.size is None:
            if count >= IMPOSSIBLE_SIZE:
                raise self.error(f"{count} bytes should follow, more than any value has")
        elif count > self.size - self.offset:
            raise self.error(
                f"{count} bytes should follow, but the file has only "
                f"{max(self.size - self.offset, 0)} more"
            )

    def fill(self, count: int) -> None:
        """Read on until `count` bytes from `position` on are in the buffer."""
        if self._available(count) < count:
            self.check()
            at_end = self.position == len(self.buffer)
            raise self.error(
                "the file ends here" if at_end else "the file is truncated",
                self.base + len(self.buffer),
            )

    @property
    def has_ended(self) -> bool:
        """Whether the end of the file has been reached: no bytes follow the buffer."""
        return self._file is None and self._failure is None

    def at_end(self) -> bool:
        """Return whether no byte is left."""
        if self.position < len(self.buffer) or self._available(1):
            return False
        self.check()
        return True

    def check(self) -> None:
        """Raise the error that ended reading, if there was one."""
        if self._failure is not None:
            raise self.error(
                f"the source cannot be read further ({self._failure})",
                self.base + len(self.buffer),
            ) from self._failure

    def look_ahead(self, count: int) -> None:
        """Try to have `count` bytes from `position` on in the buffer; the file may have fewer."""
        if len(self.buffer) - self.position < count:
            self._available(count)

    def _available(self, count: int) -> int:
        """Read until `count` bytes are in the buffer, or to the end; return how many there are."""
        have = len(self.buffer) - self.position
        if have >= count or self._file is None:
            return have
        self._drop()
        tail = self.buffer[-_MARK_SIZE:]
        # Reading a few bytes again takes less time than joining large pieces.
        if self.seek is not None:
            self.seek(self.base)
            self.buffer = b""
            have = 0
        parts = [self.buffer] if self.buffer else []
        while have < count:
            size = max(CHUNK_SIZE, min(count - have, _BIG_PIECE))
            try:
                part = self._read(size)
            except Exception as error:
                if not _is_decompression_error(error):
                    if isinstance(error, OSError) and error.filename is None:
                        error.filename = self.name
                    raise
                self._failure = error
                self._file = None
                break
            if not part:
                if part is None:
                    raise BlockingIOError("A file to be read must not be in non-blocking mode.")
                self._file = None
            if not isinstance(part, bytes | bytearray | memoryview):
                raise TypeError(
                    f"{self.name or 'The source'} returns {type(part).__name__} instead of bytes: "
                    "open it in binary mode."
                )
            if not part:
                break
            parts.append(bytes(part))
            have += len(part)
            if self.announced_end is not None or self.end_mark:
                tail = self._find_end(tail + bytes(part), self.base + have)
                if self._file is None:
                    break
        self.buffer = b"".join(parts)
        if self._progress is not None:
            self._progress(self.base + len(self.buffer), self.size)
        return have

    def expect_end(self, end: int | None, mark: bytes) -> None:
        """Expect a snapshot in a stream to end at an offset, or before a mark: nothing is read beyond."""
        self.announced_end = end
        self.end_mark = mark
        self._find_end(self.buffer[self.position :], self.base + len(self.buffer))

    def _find_end(self, data: bytes, offset: int) -> bytes:
        """Stop reading if the data up to an offset have the end of the snapshot; return their last bytes.

        A server that sends a snapshot does not close the connection after it.
        """
        if self.announced_end is not None and offset >= self.announced_end:
            self._file = None
        if self.end_mark and self.end_mark in data:
            self._file = None
        return data[-_MARK_SIZE:]

    def _drop(self) -> None:
        """Drop what was read from the buffer, once it is checksummed and captured."""
        self.take_checksum()
        for capture in (self._capture, self._mark):
            if capture is not None and not capture.is_read_again:
                capture.take(self)
        self.base = self.offset
        self.buffer = self.buffer[self.position :]
        self.position = 0

    def start_checksum(self) -> None:
        """Leave everything before `position` out of the checksum."""
        self._crc = 0
        self._crc_stop = self.offset

    def take_checksum(self) -> int:
        """Return the checksum of everything before `position`."""
        start = self._crc_stop - self.base
        if start < self.position:
            self._crc = crc64(memoryview(self.buffer)[start : self.position], self._crc)
            self._crc_stop = self.offset
        return self._crc

    def mark(self) -> None:
        """Remember this place for :meth:`go_back` and :meth:`read_again`."""
        is_regular_file = self._owned is not None and self.size is not None
        self._mark = _Capture(self.offset, is_read_again=is_regular_file)

    def remove_mark(self) -> None:
        """Forget the place that :meth:`mark` remembered."""
        self._mark = None

    def read_again(self, offset: int) -> bytes:
        """Return the bytes from an offset after the mark up to `position`."""
        mark = self._mark
        if mark is None or offset >= self.base:
            return self.buffer[offset - self.base : self.position]
        if not mark.is_read_again or self._owned is None:
            return mark.end(self)[offset - mark.start :]
        place = self._owned.tell()
        self._owned.seek(offset)
        data = io.BytesIO()
        rest = self.offset - offset
        while rest and (piece := self._owned.read(min(rest, CHUNK_SIZE))):
            data.write(piece)
            rest -= len(piece)
        self._owned.seek(place)
        return data.getvalue()

    def go_back(self) -> None:
        """Go back to the mark, which stays."""
        self._capture = None
        mark = self._mark
        if mark is None:
            return
        if not mark.is_read_again:
            self._rewind(mark)
        elif mark.start >= self.base:
            self.position = mark.start - self.base
        elif self._owned is not None:
            self.take_checksum()
            self._file = self._owned
            self._owned.seek(mark.start)
            self.buffer = b""
            self.base = mark.start
            self.position = 0
        self.mark()

    def start_capture(self) -> None:
        """Keep everything that is read from here on, for :meth:`end_capture`."""
        self._capture = _Capture(self.offset)

    def end_capture(self) -> bytes:
        """Return everything read since :meth:`start_capture`."""
        capture, self._capture = self._capture, None
        return b"" if capture is None else capture.end(self)

    def rewind_capture(self) -> None:
        """Go back to where :meth:`start_capture` was called, to read the same bytes again."""
        capture, self._capture = self._capture, None
        if capture is not None:
            self._rewind(capture)

    def _rewind(self, capture: _Capture) -> None:
        self.take_checksum()
        captured = capture.end(self)
        self.buffer = captured + self.buffer[self.position :]
        self.base = capture.start
        self.position = 0

    # ---------------------------------------------------------------- bytes, lengths, strings

    def read(self, count: int) -> bytes:
        """Read `count` bytes."""
        position = self.position
        stop = position + count
        if stop > len(self.buffer):
            self.expect(count)
            if count >= _BIG_READ and self._file is not None:
                return self._read_big(count)
            self.fill(count)
            position = self.position
            stop = position + count
        self.position = stop
        return self.buffer[position:stop]

    def _read_big(self, count: int) -> bytes:
        """Read bytes without having them in memory twice, as the buffer and a part of it would be."""
        data = io.BytesIO()
        while count:
            if self.position == len(self.buffer):
                self.fill(1)
            piece = memoryview(self.buffer)[self.position : self.position + count]
            data.write(piece)
            self.position += len(piece)
            count -= len(piece)
        return data.getvalue()  # which does not copy them

    def skip(self, count: int) -> None:
        """Skip `count` bytes, without holding more than a chunk of them at once."""
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
        """Read a length; the first byte of a special string is an error."""
        first = self.read_byte()
        if first < LENGTH_14BIT:
            return first
        if first >= LENGTH_SPECIAL:
            self.position -= 1
            raise self.error(f"byte {first:#04x} is not a length")
        return self._length_after(first)

    def _length_after(self, first: int) -> int:
        """Read the rest of a length whose first byte is not the length itself."""
        if first < LENGTH_32BIT:
            return (first & 0x3F) << 8 | self.read_byte()
        if first == LENGTH_32BIT:
            return int.from_bytes(self.read(4), "big")
        if first == LENGTH_64BIT:
            return int.from_bytes(self.read(8), "big")
        self.position -= 1
        raise self.error(f"byte {first:#04x} is not a length")

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
        raise self.error(f"byte {first:#04x} is not a form of a string")

    def skip_string(self) -> None:
        """Skip a string without decoding it."""
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
            raise self.error(f"byte {first:#04x} is not a form of a string")


class _Capture:
    """The bytes of a source from an offset on; `data` are those that are not in its buffer any more.

    If `is_read_again`, there are no data, because the file can be read again.
    """

    __slots__ = ("start", "is_read_again", "data", "_stop")

    def __init__(self, start: int, *, is_read_again: bool = False) -> None:
        self.start = start
        self.is_read_again = is_read_again
        self.data: io.BytesIO | None = None  # which gives its bytes away without copying them
        self._stop = start  # of the data

    def take(self, source: Source) -> None:
        """Take what was read, before it is dropped from the buffer."""
        if self.data is None:
            self.data = io.BytesIO()
        self.data.write(memoryview(source.buffer)[self._stop - source.base : source.position])
        self._stop = source.offset

    def end(self, source: Source) -> bytes:
        """Return everything that was read."""
        if self.data is None:
            return source.buffer[self._stop - source.base : source.position]
        self.take(source)
        return self.data.getvalue()


def _is_decompression_error(error: Exception) -> bool:
    """Return whether an error means that the data are corrupt, not that reading failed."""
    if type(error) is OSError:  # as raised by bz2; errors of the operating system have a number
        return error.errno is None
    return any(
        (kind.__module__, kind.__name__) in _DECOMPRESSION_ERRORS for kind in type(error).__mro__
    )


def size_of(file: object) -> int | None:
    """Return how many bytes follow in a file, if that is certain without reading it."""
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
