"""A damaged file leaves a store as it was, and what is left out of a sound one is named once."""

from __future__ import annotations

import gzip
import io
import logging
import pickle
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from state_subjects import Subject

from telstate import DatabaseCollisionError, RdbParseError, TelescopeState, aio
from telstate_rdb import List, RdbWriter, SortedSet
from telstate_testing.files import OneWayFile

Damage = Callable[[bytes], bytes]
PAYLOAD = b"\xff\xc4\xff" + bytes(range(256)) * 30  # longer than what is parsed from a buffer


def truncated(content: bytes) -> bytes:
    """Cut a file in its last third."""
    return content[: len(content) * 7 // 10]


def flipped(content: bytes) -> bytes:
    """Change the length of the last key."""
    place = content.rindex(b"\x03k99")
    return content[:place] + b"\xc7" + content[place + 1 :]


def without_checksum(damage: Damage) -> Damage:
    """Damage a file whose writer computes no checksum, as katsdptelstate."""
    return lambda content: damage(content[:-8] + bytes(8))


def opened_path(content: bytes, path: Path) -> Any:
    """Return a file by its path."""
    path.write_bytes(content)
    return path


def open_gzip(content: bytes, path: Path) -> Any:
    """Return a decompressor, which can seek."""
    return gzip.open(io.BytesIO(gzip.compress(content)))


SEEKABLE = [opened_path, lambda content, path: io.BytesIO(content), open_gzip]


@pytest.fixture
def sound(tmp_path: Path) -> bytes:
    """The contents of a sound file."""
    with RdbWriter(tmp_path / "sound.rdb") as writer:
        for number in range(100):
            writer.write(b"k%02d" % number, PAYLOAD)
    return (tmp_path / "sound.rdb").read_bytes()


@pytest.mark.parametrize("make", SEEKABLE, ids=["path", "bytes", "gzip"])
@pytest.mark.parametrize(
    "damage", [truncated, without_checksum(truncated), without_checksum(flipped), flipped]
)
async def test_nothing_is_loaded(
    subject: Subject,
    make: Callable[[bytes, Path], Any],
    damage: Damage,
    sound: bytes,
    tmp_path: Path,
) -> None:
    """Nothing of a damaged file that can be read twice is loaded, with or without a checksum."""
    await subject.set("k00", "mine")
    with pytest.raises(RdbParseError):
        await subject.load_from_file(make(damage(sound), tmp_path / "damaged.rdb"))
    assert await subject.keys() == ["k00"]
    assert await subject.item("k00") == "mine"
    assert await subject.load_from_file(make(sound, tmp_path / "again.rdb")) == 100


@pytest.mark.parametrize("damage", [truncated, without_checksum(flipped), flipped])
async def test_pipe(subject: Subject, damage: Damage, sound: bytes) -> None:
    """From a pipe, memory has all or nothing, and a server the keys before the damage."""
    await subject.set("k00", "mine")
    with pytest.raises(RdbParseError):
        await subject.load_from_file(OneWayFile(damage(sound)))
    found = await subject.keys()
    if subject.backend.uncached.store is not None:
        assert found == ["k00"] and await subject.item("k00") == "mine"
    else:
        assert found == [f"k{number:02}" for number in range(len(found))]


async def test_warnings(subject: Subject, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Keys of other programs, expired keys and keys of several databases have one warning each."""
    path = tmp_path / "mixed.rdb"
    with RdbWriter(path) as writer:
        for name in (b"a_list", b"b_list"):
            writer.write(name, List((b"x",)))
        writer.write(b"scores", SortedSet((b"12345678x",), array("d", [1.0])))
        for name in (b"old", b"older"):
            writer.write(name, b"\xff\x01", expiry=1000)
        writer.write(b"later", b"\xff\x01", expiry=int(time.time() * 1000) + 10**9)
        for name in (b"one", b"two", b"three"):
            writer.write(name, b"\xff\x01")
        for database in (1, 2):
            writer.write(b"one", b"\xff%c" % (database + 1), database=database)
        writer.write(b"two", b"\xff\x05", database=1)
    with caplog.at_level(logging.WARNING, "telstate"):
        assert await subject.load_from_file(path) == 4
    assert [record.getMessage() for record in caplog.records] == [
        f"3 keys ('a_list', 'b_list', 'scores') were not loaded from {path}, as telstate does not support "
        "the contents: a Redis list, a sorted set with scores that are not 0",
        f"2 keys ('old', 'older') were not loaded from {path}: expired before",
        f"2 keys ('one', 'two') are in several databases of {path}, and the last value was loaded; choose "
        "one with database=",
    ]
    assert [await subject.item(name) for name in ("one", "two", "three")] == [3, 5, 1]
    caplog.clear()
    await subject.clear()
    assert await subject.load_from_file(path, database=1) == 2
    assert [await subject.item(name) for name in ("one", "two")] == [2, 5]
    await subject.clear()
    assert await subject.load_from_file(path, keys=["t*", "later"], database=0) == 3
    assert await subject.keys() == ["later", "three", "two"]
    assert not caplog.records


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "lenient"])
@pytest.mark.parametrize("make", [*SEEKABLE, lambda content, path: OneWayFile(content)])
async def test_collisions_are_refused(
    subject: Subject, make: Callable[[bytes, Path], Any], strict: bool, tmp_path: Path
) -> None:
    """On request, databases with keys of the same name are an error that names them; nothing is loaded."""
    path = tmp_path / "two.rdb"
    with RdbWriter(path) as writer:
        for database in (0, 1, 3):
            writer.write(b"only_%d" % database, b"\xff\x01", database=database)
            writer.write(b"all", b"\xff%c" % database, database=database)
        writer.write(b"other", b"\xff\x01", expiry=1000, database=4)
        writer.write(b"all", List((b"x",)), database=4)
    content = path.read_bytes()
    await subject.set("all", "mine")
    with pytest.raises(
        DatabaseCollisionError, match=r"has key 'all' in .* databases 0, 1 and 3\. Choose one"
    ) as caught:
        await subject.load_from_file(make(content, path), collisions="refuse", strict=strict)
    assert caught.value.databases == (0, 1, 3)
    assert pickle.loads(pickle.dumps(caught.value)).databases == (0, 1, 3)
    assert await subject.keys() == ["all"] and await subject.item("all") == "mine"
    file = make(content, path)
    assert await subject.load_from_file(file, collisions="refuse", database=3, strict=strict) == 2
    assert await subject.item("all") == 3
    file = make(content, path)
    assert (
        await subject.load_from_file(file, collisions="refuse", keys=["only*"], strict=strict) == 3
    )


async def test_no_collision(asynchronous: bool, tmp_path: Path) -> None:
    """Databases without a common name, and a key that is in one of them twice, are not refused."""
    path = tmp_path / "two.rdb"
    with RdbWriter(path) as writer:
        writer.write(b"a", b"\xff\x01")
        writer.write(b"b", b"\xff\x01", database=1)
    if asynchronous:
        found = await (await aio.TelescopeState.from_snapshot(path, collisions="refuse")).keys()
    else:
        found = TelescopeState.from_snapshot(path, collisions="refuse").keys()
    assert found == ["a", "b"]
    wrong: Any = "raise"
    with pytest.raises(ValueError, match="collisions must be 'warn' or 'refuse', not 'raise'"):
        TelescopeState().load_from_file(path, collisions=wrong)


async def test_keys_that_stand_twice(
    subject: Subject, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a key that is in a database twice, as old clients may write it, the last value is loaded."""
    content = b"REDIS0006\xfe\x00" + b"".join(
        b"\x00\x01%c\x02\xff%c" % pair for pair in ((97, 1), (98, 2), (97, 3))
    )
    path = tmp_path / "double.rdb"
    path.write_bytes(content + b"\xff" + bytes(8))
    with caplog.at_level(logging.WARNING, "telstate"):
        assert await subject.load_from_file(path) == 2
    (record,) = caplog.records
    assert record.getMessage().startswith(f"Key 'a' is in a database of {path} more than once")
    assert await subject.item("a") == 3


def test_open_some(tmp_path: Path) -> None:
    """`from_snapshot` opens some keys or one database."""
    with RdbWriter(tmp_path / "two.rdb") as writer:
        writer.write(b"one", b"\xff\x01")
        writer.write(b"one", b"\xff\x02", database=3)
        writer.write(b"two", b"\xff\x02", database=3)
    again = TelescopeState.from_snapshot(tmp_path / "two.rdb", database=3, keys=["one"])
    assert (again.keys(), again["one"]) == (["one"], 2)
    with pytest.raises(TypeError, match="single name"):
        again.load_from_file(tmp_path / "two.rdb", keys="one")
