"""Errors of telstate_rdb are raised as errors of telstate_backends."""

from __future__ import annotations

import pickle

import pytest

import telstate_backends as tb
import telstate_rdb


def test_a_parse_error_is_translated() -> None:
    """Message, attributes, notes, cause and traceback are kept, also in another process."""
    cause = OSError("cause")
    original = telstate_rdb.RdbParseError("reason", file="x.rdb", offset=3, key=b"k")
    original.add_note("note")
    with pytest.raises(tb.TelstateError, match="x.rdb, byte 3, key b'k': reason") as caught:
        with tb.translate_rdb_errors():
            raise original from cause
    error = caught.value
    assert type(error) is tb.RdbParseError and isinstance(error, telstate_rdb.RdbParseError)
    assert (error.__cause__, error.__notes__) == (cause, ["note"])
    assert str(caught.traceback[-1].statement).strip() == "raise original from cause"
    for each in (error, pickle.loads(pickle.dumps(error))):
        assert type(each) is tb.RdbParseError and str(each) == str(original)
        assert (each.reason, each.file, each.offset, each.key) == ("reason", "x.rdb", 3, b"k")


def test_a_write_error_is_translated() -> None:
    """An error about a value that cannot be written keeps its message."""

    @tb.translate_rdb_errors()
    def write() -> None:
        telstate_rdb.encode_dump(telstate_rdb.Hash({}))

    with pytest.raises(tb.TelstateError, match="empty") as caught:
        write()
    assert type(caught.value) is tb.RdbWriteError
    assert isinstance(caught.value, telstate_rdb.RdbWriteError)


def test_a_translated_error_is_not_translated_again() -> None:
    """Nested translations raise the same error."""
    for kind in (tb.RdbParseError, tb.RdbWriteError):
        error = kind("reason")
        with pytest.raises(kind) as caught, tb.translate_rdb_errors():
            raise error
        assert caught.value is error


def test_broken_records_are_translated() -> None:
    """Records that the caller reads with telstate_rdb raise translated errors while they are loaded."""
    backend = tb.MemoryBackend()
    with pytest.raises(tb.RdbParseError):
        tb.load_records(backend, telstate_rdb.read_rdb(b"REDIS0009\xfe\x00\x00\x01k\x05ab"))
