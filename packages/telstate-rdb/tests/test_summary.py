"""What a summary says of files that no server starts from, and how it finds repeated keys."""

from __future__ import annotations

import io
import os
import subprocess
import sys
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
        ([string(b"a", expiry=0), string(b"a")], []),
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


@pytest.mark.parametrize("way", ["plain", "raw", "recovering", "lazy", "pipe", "summary", "copy"])
def test_long_value_in_memory_once(tmp_path: Path, way: str) -> None:
    """A long value takes its own size in memory and little more, also while a file is copied."""
    size = 1 << 26
    path = tmp_path / "dump.rdb"
    with path.open("wb") as file:
        file.write(b"REDIS0004\0\3key\x80" + size.to_bytes(4, "big"))
        for number in range(64):
            file.write(bytes([number]) * (1 << 20))
        file.write(b"\xff")
    code = (
        "import collections, resource, subprocess, sys\n"
        "from telstate_rdb import RdbWriter, read_lazily, read_rdb\n"
        "from telstate_rdb.summary import summarise\n"
        "path, way = sys.argv[1:]\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "drain = collections.deque(maxlen=0).extend\n"
        "if way == 'plain': drain(read_rdb(path))\n"
        "if way == 'raw': drain(read_rdb(path, raw=True))\n"
        "if way == 'recovering': drain(read_rdb(path, raw=True, strict=False))\n"
        "if way == 'lazy': drain(read_lazily(path))\n"
        "if way == 'pipe': drain(read_rdb(sys.stdin.buffer, raw=True))\n"
        "if way == 'summary': summarise(read_rdb(path, strict=False, raw=True, auxiliary=True))\n"
        "if way == 'copy':\n"
        "    with RdbWriter(path) as writer: writer.write_records(read_rdb(path))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as source:
        output = subprocess.run(
            [sys.executable, "-c", code, path, way],
            stdin=source.stdout,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        assert source.stdout is not None
        source.stdout.close()
    assert int(output) < 1.5 * (size >> 10)
