"""Values that RdbWriter refuses: malformed raw values, and values of wrong types."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telstate_rdb import (
    Hash,
    KeyRecord,
    List,
    Module,
    ModuleAuxiliary,
    RawValue,
    RdbParseError,
    RdbWriteError,
    RdbWriter,
    SortedSet,
    encode_dump,
    read_rdb,
)
from telstate_rdb.values import Set

NAN = float("nan")
MALFORMED = {
    "not a ziplist": RawValue(10, b"\x03abc", 6),
    "empty list": RawValue(1, b"\0", 6),
    "empty quicklist": RawValue(14, b"\0", 7),
    "empty set": RawValue(11, b"\x08\2\0\0\0\0\0\0\0", 6),
    "empty sorted set": RawValue(5, b"\0", 8),
    "empty hash": RawValue(4, b"\0", 6),
    "member twice": RawValue(2, b"\2\1a\1a", 6),
    "score twice": RawValue(3, b"\2\1a\0011\1a\0012", 6),
    "score twice, apart": RawValue(3, b"\3\1a\0011\1b\0011\1a\0012", 6),
    "field twice": RawValue(4, b"\2\1a\1b\1a\1c", 6),
    "score of NaN": RawValue(3, b"\1\1a\xfd", 6),
    "binary score of NaN": RawValue(5, b"\1\1a" + array("d", [NAN]).tobytes(), 8),
    "bad compression": RawValue(0, b"\xc3\x02\x14\xff\xff", 6),
    "runs on": RawValue(0, b"\x05ab", 6),
    "runs on, 14 bits": RawValue(0, b"\x40\x05ab", 6),
    "runs on, 32 bits": RawValue(0, b"\x80\0\0\0\x05ab", 6),
    "ends before its bytes": RawValue(0, b"\x01ab", 6),
    "nothing": RawValue(0, b"", 6),
    "unknown type": RawValue(99, b"\0", 6),
    "module": RawValue(7, b"\1\x0a", 8),
    "module with a bad string": RawValue(7, b"\1\5\xc3\x02\x14\xff\xff\0", 8),
    "expiry": RawValue(24, bytes(8) + b"\1\x81" + b"\xff" * 8 + b"\1f\1v", 12),
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED.keys())
@pytest.mark.parametrize("version", [None, 12])
def test_malformed_raw_values(tmp_path: Path, raw: RawValue, version: int | None) -> None:
    """A raw value that no server loads raises an error with its key, whatever method writes it."""
    path = tmp_path / "a.rdb"
    with RdbWriter(path, version) as writer:
        writer.write(b"before", b"1")
        with pytest.raises((RdbParseError, RdbWriteError), match="[Kk]ey b'bad'"):
            writer.write(b"bad", raw)
        with pytest.raises((RdbParseError, RdbWriteError), match="[Kk]ey b'bad'"):
            writer.write_records([KeyRecord(0, b"bad", raw)])
        with pytest.raises((RdbParseError, RdbWriteError), match="[Kk]ey b'bad'"):
            writer.write_dump(b"bad", raw.dump())
        writer.write(b"after", b"2")
    assert [record.key for record in read_rdb(path)] == [b"before", b"after"]


def test_copy_of_a_damaged_file_without_checksum(tmp_path: Path) -> None:
    """Damage in a file without a checksum raises an error, so that its copy gets no valid checksum."""
    damaged = b"REDIS0006\xfe\0\x0a\1k\x03abc\xff" + bytes(8)
    with pytest.raises(RdbParseError, match=r"^raw value, byte 1, key b'k': a ziplist"):
        with RdbWriter(tmp_path / "a.rdb") as writer:
            writer.write_records(read_rdb(damaged, raw=True))
    assert list(tmp_path.iterdir()) == []


@given(size=st.sampled_from([0, 1, 63, 64, 255, 256, 16383, 16384]), form=st.integers(0, 2))
def test_raw_strings_of_every_length(
    tmp_path_factory: pytest.TempPathFactory, size: int, form: int
) -> None:
    """A raw string is copied as it is, in every form of its length."""
    length = [bytes([size & 63]), (size & 0x3FFF | 0x4000).to_bytes(2, "big")][form : form + 1]
    head = length[0] if length else b"\x80" + size.to_bytes(4, "big")
    size = [size & 63, size & 0x3FFF, size][form]
    raw = RawValue(0, head + b"x" * size, 6)
    path = tmp_path_factory.mktemp("written") / "a.rdb"
    with RdbWriter(path) as writer:
        writer.write(b"key", raw)
    assert next(read_rdb(path, raw=True)).value == raw
    assert next(read_rdb(path)).value == b"x" * size


@pytest.mark.parametrize("body", [b"junk", b"", b"\0\0", b"\1\5", b"\x06\0"])
def test_bodies_of_modules(tmp_path: Path, body: bytes) -> None:
    """The body of a module must end where its bytes do, in values and in auxiliary records."""
    with pytest.raises(RdbWriteError, match="is not valid"):
        encode_dump(Module(1 << 60, body))
    with RdbWriter(tmp_path / "a.rdb") as writer:
        with pytest.raises(RdbWriteError, match="is not valid"):
            writer.write_record(ModuleAuxiliary(1 << 60, 2, body))
    assert list(read_rdb(tmp_path / "a.rdb", auxiliary=True)) == []


WRONG: list[Any] = [
    "text",
    List(("a",)),  # type: ignore[arg-type]  # wrong on purpose
    List((b"a", "1")),  # type: ignore[arg-type]  # wrong on purpose
    List(("a" * 100,) * 3),  # type: ignore[arg-type]  # wrong on purpose
    Set(("1", "2")),  # type: ignore[arg-type]  # wrong on purpose
    Hash({"f": b"v"}),  # type: ignore[dict-item]  # wrong on purpose
    Hash({b"f": "12"}),  # type: ignore[dict-item]  # wrong on purpose
    Hash({b"f": 5}),  # type: ignore[dict-item]  # wrong on purpose
    SortedSet(("a", "b"), array("d", [0, 0])),  # type: ignore[arg-type]  # wrong on purpose
    Module(1 << 60, "text"),  # type: ignore[arg-type]  # wrong on purpose
    RawValue(0, "text", 6),  # type: ignore[arg-type]  # wrong on purpose
]


@pytest.mark.parametrize("value", WRONG, ids=str)
def test_values_of_wrong_types(tmp_path: Path, value: Any) -> None:
    """A value with a part that is not bytes where it should be raises TypeError with the key."""
    with RdbWriter(tmp_path / "a.rdb") as writer:
        with pytest.raises(TypeError, match="^Key b'key' cannot be written: .*(bytes|one of)"):
            writer.write(b"key", value)
    assert writer.keys_written == 0


@pytest.mark.parametrize("scores", [array("q", [1, 2]), array("f", [1, 2]), [1.0, 2.0]], ids=str)
def test_scores_of_another_typecode(scores: Any) -> None:
    """Scores that are not an array of float64 raise TypeError."""
    with pytest.raises(TypeError, match="array of typecode 'd'"):
        encode_dump(SortedSet((b"a", b"b"), scores))


@pytest.mark.parametrize("number", [1.5, 1.0, "5", b"5"])
@pytest.mark.parametrize("name", ["expiry", "database", "idle", "frequency"])
def test_numbers_of_wrong_types(tmp_path: Path, name: str, number: Any) -> None:
    """A number that is not an integer raises TypeError with the key and the number."""
    with RdbWriter(tmp_path / "a.rdb") as writer:
        with pytest.raises(TypeError, match=f"^Key b'key' has the {name}.* must be an int"):
            writer.write(b"key", b"value", **{name: number})
    assert writer.keys_written == 0


class Index:
    """An integer that is not an int, as those of NumPy are."""

    def __index__(self) -> int:
        return 7


def test_integers_of_other_types(tmp_path: Path) -> None:
    """Any integer type of Python is accepted as an expiry."""
    seven: Any = Index()
    with RdbWriter(tmp_path / "a.rdb") as writer:
        writer.write(b"key", b"value", seven)
    assert list(read_rdb(tmp_path / "a.rdb")) == [KeyRecord(0, b"key", b"value", 7)]
