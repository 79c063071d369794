"""Writing RDB files that every reader accepts, or of a requested version.

* The target is replaced as a whole when everything succeeded, and is not touched otherwise; see
  :mod:`telstate_rdb.atomic_file`.
* Without a requested version the file is of version 6, which every reader accepts. The first value that
  version 6 cannot hold (a stream, a field with an expiry, the value of a module) raises the version of the
  file to the lowest that can hold it; so does a sorted set that is copied from a server's file (8). The keys before stay as they are, because later versions keep every
  form of earlier ones. The version is at the start of the file, so the header is written again at the end
  and its checksum is combined with that of the rest, which needs no second pass (a CRC is linear).
* A raw value (:class:`~telstate_rdb.values.RawValue`, a DUMP payload) is copied as it is if the file's
  version has its type and it is valid; otherwise it is decoded and encoded again, or refused.
* A key that cannot be written raises an error and leaves the file as it was before.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, cast

from telstate_rdb._auxiliary import encode_auxiliary
from telstate_rdb._bulk.encode_strings import encode_length, encode_string
from telstate_rdb._convert import can_copy, convert_value
from telstate_rdb._crc64 import combine_crc64, crc64
from telstate_rdb._record_headers import (
    encode_database,
    encode_expiry,
    encode_header,
    encode_string_records,
    encode_use,
)
from telstate_rdb._types.writers import check_version
from telstate_rdb.atomic_file import AtomicFile
from telstate_rdb.constants import EVERY_READER_VERSION, OPCODE_END, TYPE_VERSIONS
from telstate_rdb.dump import PAYLOAD_NAME, parse_dump
from telstate_rdb.errors import RdbParseError, RdbWriteError
from telstate_rdb.lzf import compress_lzf
from telstate_rdb.records import AuxiliaryRecord, KeyRecord
from telstate_rdb.values import RawValue, Value

if TYPE_CHECKING:
    from telstate_rdb.stored import StoredValue

_FLUSH_BYTES = 1 << 18  # still in the processor's cache when it is written
_BATCH = 256  # strings that are encoded at once
_BATCHED_BYTES = 1 << 12  # the longest of them
_USE_VERSION = 9  # the first with idle time and frequency of a key


class RdbWriter:
    """Write an RDB file, as a context manager.

    The complete file is in place when the ``with`` block ends without an exception. Until then, and
    after an exception, the target is what it was before.

    Parameters
    ----------
    path
        The file to create or to replace. A symbolic link is followed.
    version
        The RDB version to write: 6 to 12, or 80 for Valkey 9. A server reads its own version and those
        before it: 6 is read by every server since Redis 2.6, 9 since Redis 5.0, 10 since Redis 7.0, 11
        since Redis 7.2 and Valkey 7.2, 12 by Redis 7.4 and later, 80 by Valkey 9. Valkey 9 reads no
        version between 11 and 80. By default 6, or the lowest above it that can hold everything that is
        written; hashes with fields that expire need 12, or 80 if they came from Valkey, and sorted sets that
        are copied from the file of a server need 8.
    compress
        Whether to compress strings (LZF), slowly if the extension in C was not built. Every reader can
        decompress them.
    keep_empty
        Whether to write a file without any key. If not, the target is left as it is.

    Raises
    ------
    ValueError
        If the version is not one that can be written.
    OSError
        On entering, if no file can be created there.
    RdbWriteError
        On entering, if the path is not that of a regular file. On leaving, if the file could not be
        finished (for example on a full disk); the target is then what it was before.

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
        self._file = AtomicFile(path)
        self._requested = version
        self._version = EVERY_READER_VERSION if version is None else version
        self._compress = compress_lzf if compress else None
        self._keep_empty = keep_empty
        self._keys: defaultdict[int, set[bytes]] = defaultdict(set)
        self._database: int | None = None
        self._strings: tuple[list[bytes], list[bytes]] = ([], [])  # keys and values to be encoded
        self._chunks: list[bytes] = []
        self._chunk_bytes = 0
        self._was_entered = False
        self._crc = 0  # of everything written after the header
        self._size = 0  # likewise

    @property
    def version(self) -> int:
        """The RDB version of the file as it stands; the values still to come may raise it."""
        return self._version

    @property
    def keys_written(self) -> int:
        """The number of keys written."""
        return sum(map(len, self._keys.values()))

    def write(
        self,
        key: bytes,
        value: Value | RawValue | StoredValue,
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
            The key. It must not have been written to this database before: servers refuse a file
            that has a key twice.
        value
            Its value: bytes for a string, otherwise one of the classes of :mod:`telstate_rdb.values`, or a
            value in another file (:class:`~telstate_rdb.StoredValue`), which is copied from there.
        expiry
            The time at which it expires, in milliseconds since 1970; None for never.
        database
            The number of the database.
        idle, frequency
            The seconds since the key was last used, and its LFU counter (0 to 255). Written only
            if version 9 or later was requested.

        Raises
        ------
        RdbWriteError
            If the key cannot be written (other keys still can), or the file cannot.
        RdbParseError
            If the value is a raw value that is malformed, or a value in a file that was changed.
        TypeError
            If the key, the value or a number has the wrong type.
        """
        if self._strings[0]:
            self._write_strings()
        self._check_open()
        head = b""
        if database != self._database:
            head = encode_database(key, database)
        keys = self._keys[database]
        if not isinstance(key, bytes):
            raise TypeError(f"The key {key!r} must be bytes, not {type(key).__name__}.")
        if key in keys:
            raise RdbWriteError(
                f"Key {key!r} was already written to database {database} of this file. No server "
                "loads a file that has a key twice."
            )
        if expiry is not None:
            head += encode_expiry(key, expiry)
        if idle is not None or frequency is not None:
            use = encode_use(key, idle, frequency)
            if self._requested is not None and self._requested >= _USE_VERSION:
                head += use
        if getattr(value, "is_stored", False):  # few writers need the module of `StoredValue`
            stored = cast("StoredValue", value)
            if self.can_copy(stored):
                self._version = self._version_with(stored)
                self._put(b"%b%c%b" % (head, stored.type, encode_string(key)))
                self._copy(stored)
                self._database = database
                keys.add(key)
                return
            value = stored.decode()
        value = cast("Value | RawValue", value)
        if self._compress is None and type(value) is bytes and len(value) >= _FLUSH_BYTES:
            self._put(head + b"\0" + encode_string(key) + encode_length(len(value)))
            self._flush()
            data = value  # saves two copies
        elif self._compress is None and type(value) is bytes:
            data = head + b"\0" + encode_string(key) + encode_string(value)
        else:
            try:
                type_, body, version = convert_value(
                    value, self._requested, self._compress, self._version
                )
            except RdbWriteError as error:
                raise RdbWriteError(f"Key {key!r} cannot be written: {error}") from error
            except RdbParseError as error:
                error.key = key
                raise
            except TypeError as error:
                raise TypeError(f"Key {key!r} cannot be written: {error}") from error
            self._version = max(self._version, version)
            data = b"%b%c%b" % (head, type_, encode_string(key, self._compress))
            if len(body) >= _FLUSH_BYTES:  # saves a copy
                self._put(data)
                self._flush()
                data = body
            else:
                data += body
        self._database = database
        keys.add(key)
        self._put(data)

    def can_copy(self, value: StoredValue) -> bool:
        """Return whether `write` copies a value in another file as it is, without decoding it."""
        return (
            self._compress is None
            and value.can_be_copied
            and can_copy(value, self._version_with(value))
        )

    def _version_with(self, value: StoredValue) -> int:
        """Return the version of the file if a value is copied to it."""
        return self._requested or max(self._version, TYPE_VERSIONS[value.type])

    def write_dump(
        self, key: bytes, payload: bytes, expiry: int | None = None, database: int = 0
    ) -> None:
        """Write a key whose value is a DUMP payload.

        Parameters
        ----------
        key, expiry, database
            As for `write`. A payload does not contain the expiry of its key.
        payload
            The reply to ``DUMP`` of a server of any version.

        Raises
        ------
        RdbParseError
            If the payload is malformed. The file is as it was before.
        RdbWriteError, TypeError
            As for `write`.
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
        """Write a record of a reader.

        Parameters
        ----------
        record
            A record of `read_rdb`, with or without ``raw=True``. Auxiliary fields and sizes are hints:
            they are left out unless a version that has them was requested.

        Raises
        ------
        RdbWriteError, TypeError
            As for `write`; also if the requested version has no such record.
        """
        if isinstance(record, KeyRecord):
            self.write(
                record.key,
                record.value,
                record.expiry,
                record.database,
                idle=record.idle,
                frequency=record.frequency,
            )
            return
        if self._strings[0]:
            self._write_strings()
        self._check_open()
        version, is_hint, data = encode_auxiliary(record)
        if version > self._version or self._requested is None:
            if is_hint:
                return
            if self._requested is not None:
                raise RdbWriteError(
                    f"RDB version {self._requested} has no {type(record).__name__}: it needs version "
                    f"{version} or later."
                )
        self._version = max(self._version, version)
        self._put(data)

    def write_records(
        self, records: Iterable[KeyRecord[Value] | KeyRecord[RawValue] | AuxiliaryRecord]
    ) -> None:
        """Write the records of a reader, which is faster than one at a time.

        Parameters
        ----------
        records
            The records, as for `write_record`.

        Raises
        ------
        RdbWriteError, TypeError
            As for `write_record`. The records before are written.

        Examples
        --------
        >>> from telstate_rdb.records import KeyRecord
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "example.rdb"
        >>> with RdbWriter(path) as writer:
        ...     writer.write_records([KeyRecord(0, b"n_chans", b"4096")])
        """
        self._check_open()
        is_plain = self._compress is None
        keys, values = self._strings
        try:
            for record in records:
                if not isinstance(record, KeyRecord):
                    self.write_record(record)
                    continue
                database, key, value, expiry, idle, frequency = record
                if (
                    is_plain
                    and type(value) is bytes
                    and type(key) is bytes
                    and expiry is idle is frequency is None
                    and database == self._database
                    and len(value) <= _BATCHED_BYTES
                ):
                    seen = self._keys[database]
                    before = len(seen)
                    seen.add(key)
                    if len(seen) > before:  # with a single look-up
                        keys.append(key)
                        values.append(value)
                        if len(keys) >= _BATCH:
                            self._write_strings()
                        continue
                self.write(key, value, expiry, database, idle=idle, frequency=frequency)
        finally:  # if reading the next record fails, those before are written
            if keys:
                self._write_strings()

    def __enter__(self) -> RdbWriter:
        if self._file.is_open or self._was_entered:
            raise RdbWriteError(
                f"The writer of {self._file.shown} has been used already. Make a new one."
            )
        self._was_entered = True
        self._file.open()
        self._file.write(encode_header(self._version))
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exception is not None or not (self._keep_empty or self.keys_written):
            self._file.discard()
            return
        self._check_open()
        try:
            self._put(bytes((OPCODE_END,)))
            self._flush()
            header = encode_header(self._version)
            crc = combine_crc64(crc64(header), self._crc, self._size)
            self._file.write(crc.to_bytes(8, "little"))
            self._file.rewrite_start(header)
            self._file.commit()
        except BaseException:
            self._file.discard()
            raise

    def _write_strings(self) -> None:
        """Encode the batched strings at once."""
        keys, values = self._strings
        data = encode_string_records(keys, values)
        keys.clear()
        values.clear()
        self._put(data)

    def _copy(self, value: StoredValue) -> None:
        """Copy a value from another file; if that cannot be read, nothing is left of this one."""
        try:
            for piece in value.pieces():
                self._put(piece)
        except RdbParseError:
            self._file.discard()
            raise

    def _check_open(self) -> None:
        if not self._file.is_open:
            raise RdbWriteError(
                f"{self._file.shown} is not open for writing. Use RdbWriter in a with statement, and "
                "a new one after a write error."
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
        self._file.write(data)
