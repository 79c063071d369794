"""What a summary says of files that no server starts from, and how it finds repeated keys."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
import rdb_refused
from rdb_data import ChunkedReader, encode_string, make_file

from telstate_rdb import KeyRecord, RdbSource, RdbWriter, read_rdb
from telstate_rdb._repeated_keys import RepeatedKeys, hash_of
from telstate_rdb.summary import RepeatedKey, Summary, as_json, summarise


def summarise_file(source: RdbSource) -> Summary:
    """Summarise a file as the command does."""
    return summarise(read_rdb(source, strict=False, raw=True, auxiliary=True))


def string(key: bytes, expiry: int | None = None) -> bytes:
    """Return the record of a string."""
    head = b"" if expiry is None else b"\xfc" + expiry.to_bytes(8, "little")
    return head + b"\0" + encode_string(key) + b"\1v"


SELECT_0, SELECT_1 = b"\xfe\0", b"\xfe\1"


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([string(b"a"), string(b"b")], []),
        ([string(b"a"), string(b"b"), string(b"a")], [RepeatedKey(0, b"a")]),
        ([SELECT_0, string(b"a"), SELECT_1, string(b"a")], []),
        (
            [SELECT_0, string(b"a"), SELECT_1, string(b"b"), SELECT_0, string(b"a")],
            [RepeatedKey(0, b"a")],
        ),
        ([SELECT_1, string(b"a"), string(b"a"), string(b"a")], [RepeatedKey(1, b"a")]),
        ([string(b"a", expiry=1000), string(b"a")], []),  # a server does not load the first
        ([string(b"a", expiry=1 << 62), string(b"a")], [RepeatedKey(0, b"a")]),
    ],
)
def test_repeated_keys(records: list[bytes], expected: list[RepeatedKey], tmp_path: Path) -> None:
    """A key that occurs twice in a database is named, and the file is not sound."""
    content = make_file(*records)
    path = tmp_path / "dump.rdb"
    path.write_bytes(content)
    for source in (content, path, str(path), os.fsencode(path).decode()):
        assert summarise_file(source).repeated == expected
        assert summarise_file(source).sound == (not expected)
    assert summarise_file(io.BytesIO(content)).sound == (not expected)
    assert (
        summarise_file(ChunkedReader(content, 3)).repeated
        == [RepeatedKey(None, None)][: len(expected)]
    )
    assert len(as_json(summarise_file(path), "dump.rdb")["repeated"]) == len(expected)


@pytest.mark.parametrize("record", rdb_refused.SORTED_SETS, ids=rdb_refused.IDS)
def test_sorted_sets_that_servers_refuse(record: rdb_refused.Refused) -> None:
    """A member twice and a score of NaN are losses that say so; the other keys are counted."""
    content = make_file(string(b"a"), record.data, string(b"b"))
    summary = summarise_file(content)
    (loss,) = summary.losses
    assert (loss.key, loss.reason) == (b"zset", record.reason)
    assert summary.total.keys == 2
    assert not summary.sound


@pytest.mark.parametrize("databases", [1, 3])
def test_keys_beyond_the_memory(databases: int) -> None:
    """Keys are compared with all others, however many there are."""
    keys = RepeatedKeys(max_bytes=20_000)
    for start in range(0, 9000, 100):
        keys.add(start // 100 % databases, [b"%d" % n for n in range(start, start + 100)])
    assert keys.find() == set()
    keys = RepeatedKeys(max_bytes=20_000)
    for start in range(0, 9000, 100):
        keys.add(start // 100 % databases, [b"%d" % n for n in range(start, start + 100)])
    keys.add(0, [b"1"])
    keys.add(databases - 1, [b"8999"])
    assert keys.find() == {hash_of(0, b"1"), hash_of(databases - 1, b"8999")}


def write(path: Path, records: Iterable[KeyRecord[bytes]]) -> None:
    """Write a file."""
    with RdbWriter(path) as writer:
        writer.write_records(records)


def test_sizes_and_biggest_keys(tmp_path: Path) -> None:
    """Keys and bytes are counted by database and type, and the biggest keys are the biggest."""
    path = tmp_path / "dump.rdb"
    write(
        path, [KeyRecord(n % 2, b"key:%05d" % n, b"v" * (n * 7919 % 10_007)) for n in range(2000)]
    )
    records = list(read_rdb(path, raw=True))
    summary = summarise_file(path)
    sizes = {r.key: len(r.key) + len(r.value.body) for r in records}
    assert summary.total.size == sum(sizes.values())
    counts: Counter[tuple[int, str]] = Counter()
    for (database, kind, _), share in summary.shares.items():
        counts[database, kind] += share.keys
    assert counts == {(0, "string"): 1000, (1, "string"): 1000}
    assert [entry.size for entry in summary.biggest] == sorted(sizes.values(), reverse=True)[:10]
    assert all(sizes[entry.key] == entry.size for entry in summary.biggest)
    chosen = summarise(
        read_rdb(path, strict=False, raw=True, auxiliary=True),
        lambda measure: measure[1] < b"key:00003",
    )
    assert {entry.key for entry in chosen.biggest} == {b"key:00000", b"key:00001", b"key:00002"}
    assert chosen.total.keys == 3
