"""Write RDB files that every reader accepts, or of the version that was asked for.

Rules:

* The target is replaced as a whole when all went well, and is not touched otherwise; see
  :mod:`telstate_rdb.atomic_file`.
* Without a version the file is of version 6, which everybody reads, whatever the values came from.
  The first value that version 6 cannot hold (a stream, a field's expiry, a module's value) raises
  the version of the file to the lowest that can hold it; the keys written before stay as they are,
  for every form of a lower version is one of a higher version too. As the version stands at the
  front, the header is written again at the end, and its checksum joined to that of the rest (which
  takes no second look at the file: a CRC is linear).
* A value that comes packed (:class:`~telstate_rdb.values.RawValue`, a DUMP payload) is passed on as
  it is if its type is one that the file's version knows and it is sound; otherwise it is decoded
  and encoded anew, or an error.
* A key that cannot be written is an error that leaves the file as if it had not been tried.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from types import TracebackType

from telstate_rdb._auxiliary import encode_auxiliary
from telstate_rdb._bulk.encode_strings import encode_string
from telstate_rdb._convert import transcode
from telstate_rdb._crc64 import combine_crc64, crc64
from telstate_rdb._record_headers import (
    encode_database,
    encode_expiry,
    encode_header,
    encode_string_records,
    encode_use,
)
from telstate_rdb._types.writers import check_version
from telstate_rdb.atomic_file import Replacement
from telstate_rdb.constants import (
    EVERY_READER_VERSION,
    OPCODE_END,
)
from telstate_rdb.dump import PAYLOAD_NAME, parse_dump
from telstate_rdb.errors import RdbParseError, RdbWriteError
from telstate_rdb.lzf import compress_lzf
from telstate_rdb.records import AuxiliaryRecord, KeyRecord
from telstate_rdb.values import RawValue, Value

_FLUSH_BYTES = 1 << 18  # what fits into a processor's cache is written soonest
_BATCH = 256  # strings that are written at once; none of them longer than this:
_BATCHED_BYTES = 1 << 12
_USE_VERSION = 9  # the first that tells idle time and frequency of a key


class RdbWriter:
    """Writes an RDB file: a context manager.

    The file is there, whole, when the ``with`` block has ended without an exception; until then,
    and after an exception, the target is what it was before.

    Parameters
    ----------
    path
        The file to make or to replace. A symbolic link is followed.
    version
        The RDB version to write: 6 to 12, or 80 for Valkey 9. By default 6, which every reader
        accepts, or the lowest above it that holds all that is written.
    compress
        Whether to compress strings (LZF): by python-lzf if it is installed, else (slowly) in
        Python. Every reader knows how to read them.
    keep_empty
        Whether to write a file if there was no key in it. If not, the target is left as it is.

    Raises
    ------
    ValueError
        If the version is not one that is written.
    OSError
        On entering: if no file can be made there.
    RdbWriteError
        On entering: if the path is not that of a regular file. On leaving: if the file could not
        be finished (a full disk, for example); the target is then what it was before.

    Examples
    --------
    >>> from telstate_rdb.values import Hash
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "example.rdb"
    >>> with RdbWriter(path) as writer:
    ...     writer.write(b"n_chans", b"4096")
    ...     writer.write(b"peak", Hash({b"17": b"14.9"}), expiry=1800000000000)
    >>> writer.keys_written, writer.version
    (2, 6)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        version: int | None = None,
        *,
        compress: bool = False,
        keep_empty: bool = True,
    ) -> None:
        if version is not None:
            check_version(version)
        self._replacement = Replacement(path)
        self._asked = version
        self._version = EVERY_READER_VERSION if version is None else version
        self._compress = compress_lzf if compress else None
        self._keep_empty = keep_empty
        self._keys: defaultdict[int, set[bytes]] = defaultdict(set)
        self._database: int | None = None
        self._strings: tuple[list[bytes], list[bytes]] = ([], [])  # keys, values that wait
        self._chunks: list[bytes] = []
        self._chunk_bytes = 0
        self._used = False
        self._crc = 0  # of all that was written, but for the header
        self._size = 0  # likewise

    @property
    def version(self) -> int:
        """The RDB version of the file, as far as is known by now."""
        return self._version

    @property
    def keys_written(self) -> int:
        """How many keys were written."""
        return sum(map(len, self._keys.values()))

    def write(
        self,
        key: bytes,
        value: Value | RawValue,
        expiry: int | None = None,
        database: int = 0,
        *,
        idle: int | None = None,
        frequency: int | None = None,
    ) -> None:
        """Write a key.

        Parameters
        ----------
        key
            The key. It must not have been written in this database before: servers refuse a
            file that has a key twice.
        value
            Its value: bytes for a string, or see :mod:`telstate_rdb.values`.
        expiry
            When it expires, in milliseconds since 1970; None for never.
        database
            The number of the database.
        idle, frequency
            For how many seconds the key was not used, and its LFU counter (0 to 255). Written
            only if a version of 9 or above was asked for.

        Raises
        ------
        RdbWriteError
            If the key cannot be written (others still can), or the file cannot.
        RdbParseError
            If the value is a packed one that is broken.
        TypeError
            If key, value or a number are not of the types above.
        """
        self._write(database, key, value, expiry, idle, frequency)

    def write_dump(
        self, key: bytes, payload: bytes, expiry: int | None = None, database: int = 0
    ) -> None:
        """Write a key whose value is what ``DUMP`` gave for it.

        Parameters
        ----------
        key, expiry, database
            As in `write`; note that a payload does not say when its key expires.
        payload
            What ``DUMP`` gave: from a server of any version.

        Raises
        ------
        RdbParseError
            If the payload is broken. The file is as if it had not been tried.
        RdbWriteError, TypeError
            As in `write`.
        """
        try:
            self.write(key, parse_dump(payload), expiry, database)
        except RdbParseError as error:
            error.file = PAYLOAD_NAME
            error.key = key
            raise

    def write_record(
        self, record: KeyRecord[Value] | KeyRecord[RawValue] | AuxiliaryRecord
    ) -> None:
        """Write a record as a reader gave it.

        Auxiliary fields and sizes are hints: they are left out unless a version was asked for
        that has them.

        Raises
        ------
        RdbWriteError, TypeError
            As in `write`; also if the version asked for has no such record.
        """
        if isinstance(record, KeyRecord):
            self._write(*record)
            return
        if self._strings[0]:
            self._write_strings()
        self._check_open()
        auxiliary = encode_auxiliary(record)
        if auxiliary.version > self._version or self._asked is None:
            if auxiliary.is_hint:
                return
            if self._asked is not None:
                raise RdbWriteError(
                    f"RDB version {self._asked} has no {type(record).__name__}: it needs version "
                    f"{auxiliary.version} or later."
                )
        self._version = max(self._version, auxiliary.version)
        self._put(auxiliary.data)

    def write_records(
        self, records: Iterable[KeyRecord[Value] | KeyRecord[RawValue] | AuxiliaryRecord]
    ) -> None:
        """Write records as a reader gives them: faster than one at a time.

        Raises
        ------
        RdbWriteError, TypeError
            As in `write_record`. The records before are written then.

        Examples
        --------
        >>> from telstate_rdb.records import KeyRecord
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "example.rdb"
        >>> with RdbWriter(path) as writer:
        ...     writer.write_records([KeyRecord(0, b"n_chans", b"4096")])
        """
        self._check_open()
        plain = self._compress is None
        keys, values = self._strings
        try:
            for record in records:
                if not isinstance(record, KeyRecord):
                    self.write_record(record)
                    continue
                database, key, value, expiry, idle, frequency = record
                if (
                    plain
                    and type(value) is bytes
                    and type(key) is bytes
                    and expiry is idle is frequency is None
                    and database == self._database
                    and len(value) <= _BATCHED_BYTES
                ):
                    seen = self._keys[database]
                    before = len(seen)
                    seen.add(key)
                    if len(seen) > before:  # looked up but once
                        keys.append(key)
                        values.append(value)
                        if len(keys) >= _BATCH:
                            self._write_strings()
                        continue
                self._write(database, key, value, expiry, idle, frequency)
        finally:  # where no further record can be had, those before are written
            if keys:
                self._write_strings()

    def __enter__(self) -> RdbWriter:
        if self._replacement.is_open or self._used:
            raise RdbWriteError(f"The writer of {self._replacement.shown} was used already.")
        self._used = True
        self._replacement.open()
        self._replacement.write(encode_header(self._version))
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exception is not None or not (self._keep_empty or self.keys_written):
            self._replacement.discard()
            return
        self._check_open()
        try:
            self._put(bytes((OPCODE_END,)))
            self._flush()
            header = encode_header(self._version)
            crc = combine_crc64(crc64(header), self._crc, self._size)
            self._replacement.write(crc.to_bytes(8, "little"))
            self._replacement.rewrite_start(header)
            self._replacement.commit()
        except BaseException:
            self._replacement.discard()
            raise

    def _write(
        self,
        database: int,
        key: bytes,
        value: Value | RawValue,
        expiry: int | None,
        idle: int | None,
        frequency: int | None,
    ) -> None:
        """Do what `write` says; the usual (a string, no expiry) comes first."""
        if self._strings[0]:
            self._write_strings()
        self._check_open()
        head = b""
        if database != self._database:
            head = encode_database(key, database)
        keys = self._keys[database]
        if not isinstance(key, bytes):
            raise TypeError(f"A key must be bytes, but {key!r} is of type {type(key).__name__}.")
        if key in keys:
            raise RdbWriteError(
                f"Key {key!r} is in database {database} of this file already: no server loads a "
                "file that has a key twice."
            )
        if expiry is not None:
            head += encode_expiry(key, expiry)
        if idle is not None or frequency is not None:
            use = encode_use(key, idle, frequency)
            if self._asked is not None and self._asked >= _USE_VERSION:
                head += use
        if self._compress is None and type(value) is bytes:
            data = head + b"\0" + encode_string(key) + encode_string(value)
        else:
            try:
                kind, body, version = transcode(value, self._asked, self._compress)
            except RdbWriteError as error:
                raise RdbWriteError(f"Key {key!r} cannot be written: {error}") from error
            except RdbParseError as error:
                error.key = key
                raise
            except TypeError as error:
                raise TypeError(f"Key {key!r} cannot be written: {error}") from error
            self._version = max(self._version, version)
            data = b"%b%c%b" % (head, kind, encode_string(key, self._compress))
            if len(body) >= _FLUSH_BYTES:  # a copy less
                self._put(data)
                self._flush()
                data = body
            else:
                data += body
        self._database = database
        keys.add(key)
        self._put(data)

    def _write_strings(self) -> None:
        """Write the strings that wait, all at once."""
        keys, values = self._strings
        data = encode_string_records(keys, values)
        keys.clear()
        values.clear()
        self._put(data)

    def _check_open(self) -> None:
        if not self._replacement.is_open:
            raise RdbWriteError(
                f"{self._replacement.shown} is not open for writing: use RdbWriter in a with "
                "statement, and only inside of it; after an error of writing, start again."
            )

    def _put(self, data: bytes) -> None:
        self._chunks.append(data)
        self._chunk_bytes += len(data)
        if self._chunk_bytes >= _FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._chunk_bytes = 0
        self._crc = crc64(data, self._crc)
        self._size += len(data)
        self._replacement.write(data)
