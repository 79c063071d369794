"""Values that stay in their file are what a plain read returns, and a changed file is noticed."""

from __future__ import annotations

import gc
import os
import struct
import tempfile
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdb_data import (
    NO_SAMPLES,
    SAMPLES,
    encode_length,
    encode_string,
    make_file,
    outcome,
    sample_rows,
)
from rdb_strategies import HASHES, SETS, SORTED_SETS, TEXTS

from telstate_rdb import (
    Hash,
    KeyRecord,
    RdbParseError,
    RdbWriter,
    SortedSet,
    StoredValue,
    Value,
    decode_raw,
    lazy,
    read_in_place,
    read_rdb,
    stored,
)

_COMPILED = lazy.walk is not None


@pytest.fixture(
    params=[
        pytest.param(True, marks=pytest.mark.skipif(not _COMPILED, reason="no extension")),
        False,
    ],
    ids=["compiled", "python"],
)
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """With the extension in C, and without."""
    if not request.param:
        monkeypatch.setattr(lazy, "walk", None)
        monkeypatch.setattr(stored, "walk", None)
    return bool(request.param)


def read_and_decode(path: Path) -> list[KeyRecord[Value]]:
    """Read a file in place, and then decode everything."""
    records = []
    for record in list(read_in_place(path)):
        found = record.value
        if isinstance(found, StoredValue):
            assert found.raw.body == b"".join(found.pieces())
            assert len(found.raw.body) == found.size
            value = found.decode()
            assert decode_raw(found.raw) == value
        else:
            value = found
        records.append(KeyRecord(record.database, record.key, value, *record[3:]))
    return records


@given(
    st.lists(SORTED_SETS | HASHES | SETS | TEXTS, max_size=4),
    st.sampled_from([6, 7, 8, 9, 10, 11, 12]),
    st.booleans(),
    st.booleans(),
)
def test_every_encoding(
    values: list[Value], version: int, compress: bool, has_checksum: bool
) -> None:
    """A file of any version, with and without checksum, has the same values as in a plain read."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.rdb"
        with RdbWriter(path, version=version, compress=compress) as writer:
            for number, value in enumerate(values):
                writer.write(b"%d" % number, value)
        if not has_checksum:
            path.write_bytes(path.read_bytes()[:-8] + bytes(8))
        assert read_and_decode(path) == list(read_rdb(path))


def test_a_mark_after_a_file_without_checksum(tmp_path: Path, compiled: bool) -> None:
    """A mark of replication is not taken for a checksum: sound values are read, others raise an error."""
    path = tmp_path / "x.rdb"
    members = tuple(b"%06d%b" % (number, bytes(100)) for number in range(1000))
    with RdbWriter(path) as writer:
        writer.write(b"sensor", SortedSet(members, array("d", bytes(8 * 1000))))
    content = bytearray(path.read_bytes()[:-8] + bytes(8) + b"0123456789" * 4)
    path.write_bytes(content)
    assert read_and_decode(path) == list(read_rdb(path))
    content[content.index(b"000500") - 1] = (
        0xFF  # the compressed member refers to what is not there
    )
    path.write_bytes(content)
    with pytest.raises(RdbParseError) as expected:
        list(read_rdb(path))
    with pytest.raises(RdbParseError) as caught:
        list(read_in_place(path))
    assert str(caught.value) == str(expected.value)


@NO_SAMPLES
@pytest.mark.parametrize(
    "row", sample_rows() or [{"file": "no samples"}], ids=lambda row: row["file"]
)
def test_samples(row: dict[str, str], compiled: bool) -> None:
    """Every sample that can be read plainly has the same records in place; others raise an error."""
    path = SAMPLES / row["file"]
    expected, found = outcome(read_rdb, path), outcome(read_and_decode, path)
    assert found == expected or isinstance(expected, str) and isinstance(found, str)


_NOISE = Random(1).randbytes(600_000)
_TIMES = st.integers(0, 3).map(lambda number: struct.pack(">d", 1.6e9 + number))
_MEMBERS = st.lists(
    st.builds(bytes.__add__, _TIMES, st.binary(max_size=20))
    | st.binary(max_size=9)
    | st.integers(0, 70_000).map(b"%d".__mod__),
    min_size=1,
    unique=True,
)


@given(
    _MEMBERS,
    st.integers(0, 40),
    st.randoms(use_true_random=False),
    st.sampled_from([6, 9]),
    st.sampled_from(["up", "down", "neither"]),
    st.booleans(),
)
def test_ends(
    members: list[bytes], more: int, random: Random, version: int, order: str, compress: bool
) -> None:
    """The smallest and the largest member are found; an order is noticed if there is one."""
    members += [struct.pack(">d", 1e9 * number) + b"same length" * 3 for number in range(more)]
    members.append(struct.pack(">d", 2e9) + bytes(70_000))
    members.append(struct.pack(">d", 2e9) + bytes(70_000) + _NOISE)
    members = list(dict.fromkeys(members))
    random.shuffle(members)
    if order != "neither":
        members.sort(reverse=order == "down")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.rdb"
        with RdbWriter(path, version=version, compress=compress) as writer:
            writer.write(b"k", SortedSet(tuple(members), array("d", bytes(8 * len(members)))))
        (record,) = read_in_place(path)
    assert isinstance(record.value, StoredValue)
    assert (record.value.count, record.value.score) == (len(members), 0.0)
    assert record.value.find_ends() == (min(members), max(members))
    if record.value.is_ordered:
        assert members == sorted(members, reverse=record.value.order == -1)


def sensor(order: int, count: int = 60_000, width: int = 50) -> SortedSet:
    """Return samples at every second number, in an order."""
    members = [struct.pack(">d", 2.0 * number) + b"v" * (number % width) for number in range(count)]
    return SortedSet(tuple(members[::order]), array("d", bytes(8 * count)))


def bound(time: float) -> bytes:
    """Return a time as the beginning of a sample."""
    return struct.pack(">d", time)


@pytest.mark.skipif(not _COMPILED, reason="no extension")
@pytest.mark.parametrize(("order", "version"), [(1, 6), (-1, 9)])
def test_ranges(tmp_path: Path, order: int, version: int) -> None:
    """The members around a range are read, with the one before it, and few more."""
    value = sensor(order)
    with RdbWriter(tmp_path / "x.rdb", version=version) as writer:
        writer.write(b"k", value)
    (record,) = read_in_place(tmp_path / "x.rdb")
    table = record.value
    assert isinstance(table, StoredValue) and table.has_ranges and table.order == order
    members = sorted(value.members)
    random = Random(5)
    times = [-5.0, 0.0, 1.0, 119_998.0, 119_999.0, 1e9, *random.choices(range(120_000), k=6)]
    for start in times:
        for stop in random.choices(times, k=4):
            found = table.read_range(bound(start), bound(stop))
            first = bisect_left(members, found[0])
            assert found == members[first : first + len(found)]
            begin, end = bisect_left(members, bound(start)), bisect_left(members, bound(stop))
            assert first <= max(begin - 1, 0) and first + len(found) >= max(begin, end)
            assert len(found) - max(end - begin, 0) < 25_000


def write(path: Path, contents: dict[bytes, Value], version: int | None = None) -> Path:
    """Write a file."""
    with RdbWriter(path, version) as writer:
        for key, value in contents.items():
            writer.write(key, value)
    return path


CONTENTS: dict[bytes, Value] = {
    b"text": bytes(range(256)) * 1000,
    b"sensor": sensor(1),
    b"table": Hash({b"%d" % number: b"cell" * 9 for number in range(2000)}),
    b"short": b"1",
}


@pytest.fixture
def values(tmp_path: Path) -> dict[bytes, Value | StoredValue]:
    """The values of a file in place."""
    path = write(tmp_path / "x.rdb", CONTENTS)
    return {record.key: record.value for record in read_in_place(path)}


def test_what_stays(values: dict[bytes, Value | StoredValue], compiled: bool) -> None:
    """Long strings, sorted sets and hashes stay in the file; what is short does not."""
    kinds = {
        key: value.type_name for key, value in values.items() if isinstance(value, StoredValue)
    }
    assert kinds == {b"text": "string", b"sensor": "zset", b"table": "hash"}
    assert values[b"short"] == b"1"


def test_heads(tmp_path: Path) -> None:
    """The beginning of a string is read without the rest, and its length is known."""
    data = bytes(range(256)) * 400
    with RdbWriter(tmp_path / "x.rdb", compress=True) as writer:
        writer.write(b"packed", data)
        writer.write(b"plain", os.urandom(100_000))
    packed, plain = (record.value for record in read_in_place(tmp_path / "x.rdb"))
    assert isinstance(packed, StoredValue) and isinstance(plain, StoredValue)
    assert packed.size < 2000 and packed.read_head(10) == (data[:10], len(data))
    whole = plain.decode()
    assert isinstance(whole, bytes)
    assert plain.read_head(2000) == (whole[:2000], 100_000)
    assert plain.read_head(200_000) == (whole, 100_000)


def reads(value: StoredValue) -> Iterator[object]:
    """Call everything that reads a value from the file."""
    yield value.decode
    yield lambda: value.raw
    yield lambda: list(value.pieces())
    if value.type_name == "string":
        yield lambda: value.read_head(5)
    if value.type_name == "zset":
        yield value.find_ends
    if value.has_ranges:
        yield lambda: value.read_range(bound(5), bound(10))


@pytest.mark.parametrize("change", ["truncated", "rewritten", "longer"])
def test_a_changed_file(
    values: dict[bytes, Value | StoredValue], tmp_path: Path, change: str
) -> None:
    """A file that is changed is an error with its name and the key."""
    path = tmp_path / "x.rdb"
    data = path.read_bytes()
    if change == "truncated":
        os.truncate(path, len(data) // 2)
    elif change == "longer":
        with path.open("ab") as file:
            file.write(b"more")
    else:
        path.write_bytes(bytes(len(data)))
        status = os.stat(path)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10_000_000))
    for key, value in values.items():
        if isinstance(value, StoredValue):
            for read in reads(value):
                with pytest.raises(RdbParseError, match=rf"x\.rdb.*{key.decode()}.*changed"):
                    read()  # type: ignore[operator]  # a function


def test_a_replaced_file(values: dict[bytes, Value | StoredValue], tmp_path: Path) -> None:
    """A file that was replaced or deleted can still be read."""
    write(tmp_path / "x.rdb", {b"other": b"1"})
    decoded = {
        key: value.decode() if isinstance(value, StoredValue) else value
        for key, value in values.items()
    }
    assert decoded == CONTENTS
    (tmp_path / "x.rdb").unlink()
    assert isinstance(values[b"text"], StoredValue)
    assert values[b"text"].decode() == CONTENTS[b"text"]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no list of open files")
def test_the_file_is_closed(tmp_path: Path) -> None:
    """The file is open as long as a value of it is referred to."""
    path = write(tmp_path / "x.rdb", CONTENTS)

    def count() -> int:
        gc.collect()
        links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
        return sum(os.path.realpath(link) == str(path.resolve()) for link in links)

    kept = [record.value for record in read_in_place(path)]
    assert count() == 1
    del kept[1:]
    assert count() == 1
    kept.clear()
    assert count() == 0
    with read_in_place(path) as reader:
        next(reader)
    del reader
    assert count() == 0


def test_an_open_file(tmp_path: Path) -> None:
    """A file that is open is read from its start, and may be closed afterwards."""
    path = write(tmp_path / "x.rdb", CONTENTS)
    with path.open("rb") as file:
        file.read(5)
        records = list(read_in_place(file, name="its name"))
        assert file.tell() == 5
    found = {
        record.key: record.value.decode() if isinstance(record.value, StoredValue) else record.value
        for record in records
    }
    assert found == CONTENTS
    os.truncate(path, 10)
    assert isinstance(records[0].value, StoredValue)
    with pytest.raises(RdbParseError, match="its name, byte .* changed"):
        records[0].value.decode()


SCORES = [
    b"\x05\x01k\x03\x01a" + bytes(8) + b"\x01b" + bytes(8) + b"\x01c" + struct.pack("<d", 1.0),
    b"\x05\x01k\x02" + encode_string(b"a" * 300_000) + bytes(8) + b"\x01b" + struct.pack("<d", 1.0),
    b"\x05\x01k\x02\x01b" + bytes(8) + encode_string(b"a" * 300_000) + struct.pack("<d", -0.0),
    b"\x03\x01k\x03\x01a\x010\x01b\x0217\x01c\xfe",
    b"\x03\x01k\x02\x01a\x010" + encode_string(b"a" * 300_000) + b"\x0217",
    b"\x05\x01k\x00",
    b"\x04\x01k\x00",
]


@pytest.mark.parametrize("body", SCORES)
def test_other_scores(tmp_path: Path, body: bytes, compiled: bool) -> None:
    """Sorted sets with several scores, and empty tables, are decoded, and what follows is read."""
    path = tmp_path / "x.rdb"
    path.write_bytes(make_file(body + b"\x00\x05after\x011"))
    records = list(read_in_place(path))
    assert records == list(read_rdb(path))


@pytest.mark.parametrize("count", [1, 2, 5, 30])
def test_members_of_every_form(tmp_path: Path, count: int, compiled: bool) -> None:
    """Integers, compressed and very long members are found wherever a piece of the file ends."""
    random = Random(count)
    forms = [
        lambda n: encode_string(b"%08d" % n),
        lambda n: encode_string(b"%08d" % n + random.randbytes(random.randint(0, 300))),
        lambda n: b"\xc1" + struct.pack("<h", n),
        lambda n: b"\xc3\x0c\x40\x58" + b"\x07%08d" % n + b"\xe0\x47\x07",
        lambda n: encode_string(b"%08d" % n + random.randbytes(random.randint(16_000, 400_000))),
    ]
    for _ in range(6):
        chosen = random.sample(forms, random.randint(1, len(forms)))
        items = [random.choice(chosen)(number) for number in range(count)]
        if random.random() < 0.5:
            items.reverse()
        body = b"\x05\x01k" + encode_length(count) + b"".join(item + bytes(8) for item in items)
        path = tmp_path / "x.rdb"
        path.write_bytes(make_file(body + b"\x00\x05after\x011"))
        expected = list(read_rdb(path))
        assert read_and_decode(path) == expected
        first, after = read_in_place(path)
        assert after == expected[1]
        if isinstance(first.value, StoredValue):
            members = expected[0].value.members  # type: ignore[union-attr]  # a sorted set
            assert first.value.find_ends() == (min(members), max(members))


TABLES = (
    b"\x05\x01a\x0a"
    + b"".join(b"\x0a%010d" % number + bytes(8) for number in range(10))
    + b"\x04\x01b\x03\x01x\x03one\x01y\xc0\x07\x01z\xc3\x05\x0b\x00a\xe0\x01\x00"
    + b"\x03\x01c\x02\x01x\x010\x01y\x010"
    + b"\x00\x05after\x011"
)


def test_one_wrong_byte(tmp_path: Path) -> None:
    """One wrong byte anywhere under a checksum is an error when everything has been read."""
    data = make_file(TABLES)
    path = tmp_path / "x.rdb"
    for place in range(9, len(data)):
        wrong = data[:place] + bytes((data[place] ^ 0x41,)) + data[place + 1 :]
        if wrong[-8:] == bytes(8):
            continue
        path.write_bytes(wrong)
        with pytest.raises(RdbParseError):
            list(read_in_place(path))


def test_truncated(tmp_path: Path) -> None:
    """A file that is truncated anywhere is an error."""
    data = make_file(TABLES)
    path = tmp_path / "x.rdb"
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(RdbParseError):
            list(read_in_place(path))


def test_a_file_changed_while_it_is_read(tmp_path: Path) -> None:
    """A file that is truncated between two records is an error."""
    path = write(tmp_path / "x.rdb", {b"a": b"1", b"long": bytes(3_000_000), b"b": b"2"})
    reader = read_in_place(path)
    next(reader)
    os.truncate(path, 1_000_000)
    with pytest.raises(RdbParseError, match="changed"):
        list(reader)


# ---------------------------------------------------------------------------------------- copying


def copy(source: Path, target: Path, version: int | None = None) -> None:
    """Write the values of one file to another."""
    with RdbWriter(target, version) as writer:
        for record in read_in_place(source):
            writer.write(record.key, record.value)


@pytest.mark.parametrize(("version", "target"), [(6, None), (6, 12), (9, None), (9, 6), (11, 9)])
def test_copies(tmp_path: Path, version: int, target: int | None) -> None:
    """A file of any version is copied from one that stays in place."""
    path = write(tmp_path / "x.rdb", CONTENTS, version)
    copy(path, tmp_path / "y.rdb", target)
    assert {record.key: record.value for record in read_rdb(tmp_path / "y.rdb")} == CONTENTS


@pytest.mark.skipif(not _COMPILED, reason="no extension")
@pytest.mark.parametrize(("version", "copied"), [(6, 6), (9, 8)])
def test_copies_without_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, copied: int
) -> None:
    """Long strings, and sorted sets in order, are copied byte for byte, to a file of the version they need."""
    contents = {b"text": CONTENTS[b"text"], b"sensor": CONTENTS[b"sensor"]}
    path = write(tmp_path / "x.rdb", contents, version)
    monkeypatch.delattr(StoredValue, "decode")
    copy(path, tmp_path / "y.rdb")
    before, after = path.read_bytes(), (tmp_path / "y.rdb").read_bytes()
    assert after[:-8] == b"REDIS%04d" % copied + before[9:-8]
    assert len(list(read_rdb(after))) == 2


def test_repeated_members_are_not_copied(tmp_path: Path) -> None:
    """A sorted set with a member twice, which servers refuse, is refused, too."""
    members = b"".join(encode_string(b"a" * 300) + bytes(8) for _ in range(2))
    path = tmp_path / "x.rdb"
    path.write_bytes(make_file(b"\x05\x01k\x02" + members))
    with pytest.raises(Exception, match="twice"):
        copy(path, tmp_path / "y.rdb", 9)


def test_a_file_changed_while_it_is_copied(tmp_path: Path) -> None:
    """If the file is changed, the copy is not written, even if the error is caught."""
    path = write(tmp_path / "x.rdb", {b"a": bytes(10_000_000)})
    (record,) = read_in_place(path)
    os.truncate(path, 5_000_000)
    with pytest.raises(Exception, match="not open"):
        with RdbWriter(tmp_path / "y.rdb") as writer:
            with pytest.raises(RdbParseError, match="changed"):
                writer.write(b"a", record.value)
            writer.write(b"b", b"1")
    assert not (tmp_path / "y.rdb").exists()
