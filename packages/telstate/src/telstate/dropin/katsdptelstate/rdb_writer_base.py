"""Writing RDB files with the old API: the file is open from the beginning, and `close` finishes it.

`telstate.RDBWriter` requires a ``with`` statement; programs for katsdptelstate may not have one. It is still
recommended: a file that is never closed does not come into existence. A key that is written again has the
later value, where `telstate` counts it as failed: katsdptelstate writes both and reads the last one, but
no server loads such a file.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Final, Self

from telstate import snapshots
from telstate_backends.errors import translate_rdb_errors
from telstate_rdb import RawValue, RdbWriter, StoredValue, Value, parse_dump, read_rdb
from telstate_rdb.constants import DUMP_FOOTER_SIZE
from telstate_rdb.dump import crc64, encode_length

__all__ = ["RDBWriterBase", "RDB_CHECKSUM", "RDB_HEADER", "RDB_TERMINATOR", "encode_item"]

RDB_HEADER: Final = b"REDIS0006\xfe\x00"
RDB_TERMINATOR: Final = b"\xff"
RDB_CHECKSUM: Final = bytes(8)

_CHECKSUM_SIZE = len(RDB_CHECKSUM)


class RDBWriterBase(snapshots.RDBWriterBase):
    """Write keys to an RDB file, one at a time; without a ``with`` statement, `close` it.

    Parameters
    ----------
    filename
        The path of the file. An existing file is replaced when this one is closed.

    Examples
    --------
    >>> import os, tempfile
    >>> import telstate
    >>> telstate.install_as_katsdptelstate()
    >>> from katsdptelstate import TelescopeState, encode_value, rdb_utility
    >>> from katsdptelstate.rdb_writer_base import RDBWriterBase
    >>> ts = TelescopeState()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "observation.rdb")
    ...     with RDBWriterBase(path) as writer:
    ...         writer.write_key(b"n_chans", rdb_utility.dump_string(encode_value(4096)))
    ...     count = ts.load_from_file(path)
    >>> ts["n_chans"]
    4096
    """

    def __init__(self, filename: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> None:
        super().__init__(os.fsdecode(filename))
        self._later: dict[bytes, Value | RawValue | StoredValue] = {}
        self._open()

    @translate_rdb_errors()
    def write_key(self, key: bytes, dumped_value: bytes | None) -> None:
        """Write a key from a DUMP payload, with or without a checksum; None is counted as failed."""
        if dumped_value is None:
            self._fail(key, "there is no such key")
        elif key in self._names:
            self._repeat(key, parse_dump(with_checksum(dumped_value)))
        else:
            super().write_key(key, with_checksum(dumped_value))

    def close(self) -> None:
        """Finish the file; a file without keys is not written."""
        self._close(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close(exception)

    def _repeat(self, key: bytes, value: Value | RawValue | StoredValue) -> None:
        self._check_open()
        self._later[key] = value
        self.keys_written += 1

    def _close(self, error: BaseException | None) -> None:
        super()._close(error)
        if error is None and self._later:
            _replace_values(self.filename, self._later)


@translate_rdb_errors()
def _replace_values(path: str, values: dict[bytes, Value | RawValue | StoredValue]) -> None:
    """Replace the values of some keys of a file."""
    with RdbWriter(path) as writer, read_rdb(path, raw=True) as reader:
        for record in reader:
            if record.key not in values:
                writer.write_record(record)
        for key, value in values.items():
            writer.write(key, value)


@translate_rdb_errors()
def encode_item(key: bytes, dumped_value: bytes) -> bytes:
    """Return a key and its value as in an RDB file.

    Examples
    --------
    >>> encode_item(b"n_chans", b"\\x00\\x02\\xff\\x10\\x06\\x00" + bytes(8))
    b'\\x00\\x07n_chans\\x02\\xff\\x10'
    """
    raw = parse_dump(with_checksum(dumped_value))
    return b"%c%b%b%b" % (raw.type, encode_length(len(key)), key, raw.body)


def with_checksum(dumped: bytes) -> bytes:
    """Return a payload with a checksum if it has none, which zeros indicate."""
    if len(dumped) > DUMP_FOOTER_SIZE and dumped.endswith(RDB_CHECKSUM):
        content = dumped[:-_CHECKSUM_SIZE]
        return content + crc64(content).to_bytes(_CHECKSUM_SIZE, "little")
    return dumped
