"""Files made of files: servers start from them, and a comparison finds exactly what was changed."""

from __future__ import annotations

import gzip
import io
import json
import os
from array import array
from pathlib import Path

import pytest
from rdb_command import readable_samples, run
from rdb_data import NO_SAMPLES
from rdb_servers import connect, max_version

from telstate_rdb import (
    FunctionLibrary,
    Hash,
    KeyRecord,
    List,
    RdbWriteError,
    RdbWriter,
    Selection,
    Set,
    SortedSet,
    Value,
    read_rdb,
)
from telstate_rdb.convert import Changes, key_slot, split_rdb
from telstate_rdb.diff import Difference, compare_rdb
from telstate_testing import RedisBinary, RedisServer


def write(path: Path, *records: KeyRecord[Value]) -> Path:
    """Write a file."""
    with RdbWriter(path) as writer:
        writer.write_records(records)
    return path


def differences(before: Path, after: Path) -> list[Difference]:
    """Compare two files."""
    return list(compare_rdb(before, after))


# ----------------------------------------------------------------------------------------- convert


def test_server_starts_from_results(
    redis_binary: RedisBinary, server_file: Path, tmp_path: Path
) -> None:
    """A server starts from its file converted, and split and merged again, with the same content."""
    whole, parts, merged = tmp_path / "whole.rdb", tmp_path / "parts", tmp_path / "merged.rdb"
    with read_rdb(server_file) as reader:
        version = str(reader.version)
    assert run("convert", server_file, whole, "--version", version).exit_code == 0
    assert differences(server_file, whole) == []
    result = run("split", whole, "--by", "slot", "--parts", "5", "-o", parts, "--version", version)
    assert result.exit_code == 0
    files = sorted(parts.iterdir())
    assert len(files) == len(result.stdout.splitlines()) == 5
    for file in files:
        low, high = map(int, file.stem.split("-")[1:])
        assert all(low <= key_slot(record.key) <= high for record in read_rdb(file, raw=True))
    assert run("merge", *files, "-o", merged, "--compress", "--version", version).exit_code == 0
    for path in (whole, merged):
        with RedisServer(redis_binary, snapshot=path) as server:
            connect(server).save()
            found = differences(server_file, server.folder / "dump.rdb")
            # The values of some modules are never written alike.
            assert [one for one in found if one.before is None or one.before.type != "module"] == []


def test_file_for_an_older_server(
    redis_binary: RedisBinary, server_file: Path, tmp_path: Path
) -> None:
    """What every server can hold is converted for every server since Redis 2.6."""
    types = [option for name in ("string", "list", "set", "zset") for option in ("--type", name)]
    path = tmp_path / "old.rdb"
    assert run("convert", server_file, path, *types).exit_code == 0
    assert path.read_bytes().startswith(b"REDIS0006")
    selection = Selection(types=["string", "list", "set", "zset"])
    assert list(compare_rdb(server_file, path, selection=selection)) == []
    with RedisServer(redis_binary) as server:
        newest = max_version(server)
    assert run("convert", server_file, path, "--version", str(newest), "--force").exit_code == 0
    assert list(compare_rdb(server_file, path)) == []


@NO_SAMPLES
def test_samples(tmp_path: Path) -> None:
    """Every sample that a server would load is converted and split by prefix without a change."""
    path, parts = tmp_path / "new.rdb", tmp_path / "parts"
    for sample in readable_samples():
        try:
            result = run("convert", sample, path, "--force")
            assert result.exit_code == 0, result.stderr
        except AssertionError:
            assert sample.name == "corrupt_empty_keys.rdb" or "function" in sample.name
            continue
        assert differences(sample, path) == []
        counts = split_rdb(path, parts, by="prefix", separator=b"_", overwrite=True)
        assert sum(counts.values()) == sum(1 for _ in read_rdb(path, raw=True))


def test_convert_chosen_keys(tmp_path: Path) -> None:
    """Keys are chosen, moved to another database, and lose their expiry."""
    source = write(
        tmp_path / "dump.rdb",
        KeyRecord(0, b"a:1", b"x", 4_000_000_000_000),
        KeyRecord(1, b"a:2", b"y"),
        KeyRecord(1, b"b:1", b"z"),
    )
    target = tmp_path / "new.rdb"
    options = ["--keys", "a:*", "--to-db", "3", "--no-expiry"]
    assert run("convert", source, target, *options) == (0, "", "", b"")
    assert list(read_rdb(target)) == [KeyRecord(3, b"a:1", b"x"), KeyRecord(3, b"a:2", b"y")]
    assert run("convert", source, target).stderr == (
        f"{target} exists. Use --force to overwrite it.\n"
    )


def test_version_that_cannot_hold_a_value(tmp_path: Path) -> None:
    """A value that the version cannot hold is an error, and no file is left."""
    source = write(
        tmp_path / "dump.rdb", KeyRecord(0, b"h", Hash({b"a": b"1"}, {b"a": 4_000_000_000_000}))
    )
    target = tmp_path / "new.rdb"
    result = run("convert", source, target, "--version", "9")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "Key b'h' cannot be written" in result.stderr
    assert not target.exists()
    assert run("convert", source, target, "--version", "5").exit_code == 2


# --------------------------------------------------------------------------------- merge and split


def test_merge(tmp_path: Path) -> None:
    """A key that is in several files is refused, or taken from the first or the last."""
    first = write(tmp_path / "1.rdb", KeyRecord(0, b"a", b"1"), KeyRecord(0, b"b", b"1"))
    second = write(tmp_path / "2.rdb", KeyRecord(0, b"a", b"2"), KeyRecord(1, b"b", b"2"))
    third = write(tmp_path / "3.rdb", KeyRecord(0, b"a", b"3"))
    target = tmp_path / "all.rdb"
    refused = run("merge", first, second, third, "-o", target)
    assert refused[:3] == (
        2,
        "",
        "Several of the files have the key b'a' in database 0. Choose which to prefer.\n",
    )
    assert not target.exists()
    for prefer, value in (("first", b"1"), ("last", b"3")):
        options: list[str | Path] = ["--prefer", prefer, "-o", target, "--force"]
        result = run("merge", first, second, third, *options)
        assert result.exit_code == 0
        assert result.stderr == f"Taken from the {prefer} file: a in database 0.\n"
        found = {(record.database, record.key): record.value for record in read_rdb(target)}
        assert found == {(0, b"a"): value, (0, b"b"): b"1", (1, b"b"): b"2"}
    assert run("merge", first, second, "--db", "1", "-o", target, "--force").exit_code == 0
    assert run("merge", first, "-", "-o", target, "--force").exit_code == 2


def test_merge_functions(tmp_path: Path) -> None:
    """The same function library is written once; a different one of the same name is a conflict."""
    code = b"#!lua name=lib\nredis.log(1, 'x')"
    paths = [tmp_path / f"{number}.rdb" for number in range(3)]
    for number, path in enumerate(paths):
        with RdbWriter(path) as writer:
            writer.write(b"key %d" % number, b"")
            writer.write_record(FunctionLibrary(code + b" " * (number // 2)))
    target = tmp_path / "all.rdb"
    assert run("merge", *paths[:2], "-o", target).exit_code == 0
    libraries = [r for r in read_rdb(target, auxiliary=True) if isinstance(r, FunctionLibrary)]
    assert libraries == [FunctionLibrary(code)]
    refused = run("merge", *paths, "-o", target, "--force")
    assert "function library b'lib'" in refused.stderr
    assert run("merge", *paths, "-o", target, "--force", "--prefer", "last").exit_code == 0
    assert FunctionLibrary(code + b" ") in read_rdb(target, auxiliary=True)


def test_split(tmp_path: Path) -> None:
    """Keys are divided by database and by prefix, with names that are safe."""
    source = write(
        tmp_path / "dump.rdb",
        KeyRecord(0, b"user:1", b""),
        KeyRecord(0, b"../x:1", b""),
        KeyRecord(2, b"user:2", b""),
        KeyRecord(2, b"plain", b""),
        KeyRecord(2, b":", b""),
    )
    folder = tmp_path / "parts"
    result = run("split", source, "--by", "prefix", "-o", folder)
    assert [line.split("\t") for line in result.stdout.splitlines()] == [
        ["1", f"{folder}/%.rdb"],
        ["1", f"{folder}/%2E%2E%2Fx.rdb"],
        ["2", f"{folder}/user.rdb"],
        ["1", f"{folder}/without prefix.rdb"],
    ]
    again = run("split", source, "--by", "prefix", "-o", folder)
    assert (again.exit_code, again.stderr.count("\n")) == (2, 1)
    rows = run("split", source, "--by", "db", "-o", folder, "--json").stdout.splitlines()
    assert [json.loads(row)["keys"] for row in rows] == [2, 3]
    many = write(tmp_path / "many.rdb", *(KeyRecord(0, b"%d:" % n, b"") for n in range(300)))
    refused = run("split", many, "--by", "prefix", "-o", tmp_path / "none")
    assert "more than 256 files" in refused.stderr
    assert list((tmp_path / "none").iterdir()) == []


# -------------------------------------------------------------------------------------------- diff


def zset(**scores: float) -> SortedSet:
    """Make a sorted set."""
    return SortedSet(tuple(map(str.encode, scores)), array("d", scores.values()))


BEFORE: tuple[KeyRecord[Value], ...] = (
    KeyRecord(0, b"same", List((b"a", b"b"))),
    KeyRecord(0, b"order", Set((b"a", b"b", b"c"))),
    KeyRecord(0, b"removed", b"x"),
    KeyRecord(0, b"string", b"old"),
    KeyRecord(0, b"type", Set((b"a",))),
    KeyRecord(0, b"expiry", b"x", 1_900_000_000_000),
    KeyRecord(0, b"list", List((b"a", b"b", b"c", b"d"))),
    KeyRecord(0, b"zset", zset(a=1, b=2)),
    KeyRecord(0, b"hash", Hash({b"a": b"1", b"b": b"2"})),
    KeyRecord(1, b"moved", b"x"),
)
AFTER: tuple[KeyRecord[Value], ...] = (
    KeyRecord(0, b"order", Set((b"c", b"b", b"a"))),
    KeyRecord(0, b"same", List((b"a", b"b"))),
    KeyRecord(0, b"added", b"x"),
    KeyRecord(0, b"string", b"new!"),
    KeyRecord(0, b"type", List((b"a",))),
    KeyRecord(0, b"expiry", b"x"),
    KeyRecord(0, b"list", List((b"a", b"x", b"d"))),
    KeyRecord(0, b"zset", zset(a=1, b=2.5, c=3)),
    KeyRecord(0, b"hash", Hash({b"a": b"1", b"c": b"3"}, {b"c": 1_900_000_000_000})),
    KeyRecord(2, b"moved", b"x"),
)
EXPECTED = [
    "0\tonly in B\tadded\tstring, 1 byte",
    "0\tvalue\tstring\tstring, 3 -> 4 bytes",
    "0\ttype\ttype\tset -> list",
    "0\texpiry\texpiry\texpires 2030-03-17 17:46:40.000 UTC -> no expiry",
    "0\tvalue\tlist\tlist, 4 -> 3 elements",
    "0\tvalue\tzset\tzset, 2 -> 3 members",
    "0\tvalue\thash\thash, 2 fields",
    "2\tonly in B\tmoved\tstring, 1 byte",
    "0\tonly in A\tremoved\tstring, 1 byte",
    "1\tonly in A\tmoved\tstring, 1 byte",
]
CHANGES = {
    "string": [["-", "old"], ["+", "new!"]],
    "list": [["-", "1", "b"], ["-", "2", "c"], ["+", "1", "x"]],
    "zset": [["-", "b", "2.0"], ["+", "b", "2.5"], ["+", "c", "3.0"]],
    "hash": [["-", "b", "2"], ["+", "c", "3", "expires 1900000000000"]],
}


def test_diff(tmp_path: Path) -> None:
    """Exactly what was changed differs, whatever the encoding, the version and the order."""
    before = write(tmp_path / "before.rdb", *BEFORE)
    after = tmp_path / "after.rdb"
    with RdbWriter(after, 12, compress=True) as writer:
        writer.write_records(AFTER)
    result = run("diff", before, after)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == EXPECTED
    found = [
        json.loads(line)
        for line in run("diff", before, after, "--full", "--json").stdout.splitlines()
    ]
    assert {one["key"]: one["changes"] for one in found if "changes" in one} == CHANGES
    full = run("diff", before, after, "--full").stdout.splitlines()
    assert "0\t-\tlist\t1  b" in full
    assert run("diff", before, after, "--summary").stdout.splitlines() == [
        "2\tonly in B",
        "4\tvalue",
        "1\ttype",
        "1\texpiry",
        "2\tonly in A",
    ]
    assert run("diff", before, after, "--keys", "same", "--keys", "order")[:3] == (0, "", "")
    assert run("diff", before, before)[:3] == (0, "", "")
    assert run("diff", before, tmp_path / "missing").exit_code == 2
    assert run("diff", "-", after, "--full").exit_code == 2


@pytest.mark.parametrize(
    "command", ["memory {}", "convert {} {o}", "merge {s} {} -o {o}", "split {} --by db -o {o}"]
)
def test_damaged_value(tmp_path: Path, command: str) -> None:
    """The error for a damaged value names the file and the key, also where values are copied."""
    damaged, sound = tmp_path / "damaged.rdb", tmp_path / "sound.rdb"
    damaged.write_bytes(b"REDIS0004" b"\x0b\x03set\x08\x03\x00\x00\x00\x00\x00\x00\x00" b"\xff")
    write(sound, KeyRecord(0, b"gain", b"1.5"))
    places = {"{}": damaged, "{s}": sound, "{o}": tmp_path / "out"}
    result = run(*(places.get(word, word) for word in command.split()))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"{damaged}, key b'set': an intset has ")


def test_compressed_files(tmp_path: Path) -> None:
    """Files that are compressed with gzip are compared in full and merged as others are."""
    before = write(tmp_path / "before.rdb", *BEFORE)
    after = write(tmp_path / "after.rdb", *AFTER)
    expected = run("diff", before, after, "--full")
    assert expected.stdout
    for path in (before, after):
        path.with_suffix(".gz").write_bytes(gzip.compress(path.read_bytes()))
    compressed = [path.with_suffix(".gz") for path in (before, after)]
    assert run("diff", *compressed, "--full") == expected
    run("merge", before, after, "--prefer", "last", "-o", tmp_path / "expected.rdb")
    run("merge", *compressed, "--prefer", "last", "-o", tmp_path / "merged.rdb")
    assert differences(tmp_path / "expected.rdb", tmp_path / "merged.rdb") == []


def test_open_files() -> None:
    """Files that can seek are compared in full and merged from their start, and pipes are refused."""
    old = io.BytesIO(b"REDIS0003" b"\x00\x04gain\x031.5" b"\xff")
    new = io.BytesIO(b"REDIS0003" b"\x00\x04gain\x032.5" b"\xff")
    for _ in range(2):
        (found,) = compare_rdb(old, new, full=True)
        assert [change.parts for change in found.changes] == [(b"1.5",), (b"2.5",)]
    reader, writer = os.pipe()
    os.close(writer)
    with open(reader, "rb") as pipe, pytest.raises(OSError):
        compare_rdb(pipe, new, full=True)


def test_expiry_before_1970() -> None:
    """An expiry before 1970 differs from none; servers take -1 as none."""
    plain, second, last = (
        b"REDIS0003" + expiry + b"\x00\x04gain\x031.5" b"\xff"
        for expiry in (b"", b"\xfc\xfe" + b"\xff" * 7, b"\xfc" + b"\xff" * 8)
    )
    (found,) = compare_rdb(plain, second)
    assert found.after is not None and (found.what, found.after.expiry) == ("expiry", -2)
    assert list(compare_rdb(plain, last)) == []


def test_diff_of_a_damaged_file(tmp_path: Path) -> None:
    """A file that cannot be read has exit status 2, which cannot be taken for a difference."""
    path = write(tmp_path / "dump.rdb", KeyRecord(0, b"a", b"b"))
    other = tmp_path / "other.rdb"
    other.write_bytes(path.read_bytes()[:-1])
    assert run("diff", path, other).exit_code == 2
    assert run("diff", other, path).exit_code == 2


@pytest.mark.parametrize(
    ("key", "slot"),
    [(b"123456789", 12739), (b"{user1000}.following", 3443), (b"foo{}{bar}", 8363)]
    + [(b"foo{{bar}}zap", 4015), (b"foo{bar}{zap}", 5061), (b"", 0)],
)
def test_slots(key: bytes, slot: int) -> None:
    """Slots are those of the specification of clusters."""
    assert key_slot(key) == slot


def test_two_keys_of_one_name(tmp_path: Path) -> None:
    """Keys that would have the same name after moving are an error."""
    source = write(tmp_path / "dump.rdb", KeyRecord(0, b"a", b"1"), KeyRecord(1, b"a", b"2"))
    result = run("convert", source, tmp_path / "new.rdb", "--to-db", "0")
    assert result.exit_code == 2
    assert "was already written" in result.stderr
    with pytest.raises(RdbWriteError, match="already written"):
        split_rdb(source, tmp_path, by="prefix", changes=Changes(to_database=0))
