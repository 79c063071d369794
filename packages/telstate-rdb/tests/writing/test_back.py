"""What was read is written for the server that it came from, unless another version is requested."""

from __future__ import annotations

from pathlib import Path

import pytest
from rdb_servers import FIELD_EXPIRY, assert_holds, connect, max_version

from telstate_rdb import (
    Array,
    Hash,
    KeyRecord,
    RawValue,
    RdbWriteError,
    RdbWriter,
    Stream,
    StreamGroup,
    StreamId,
    Value,
    decode_dump,
    encode_dump,
    read_rdb,
    without_counters,
)
from telstate_testing import RedisBinary, RedisServer

FIELDS = {b"a": b"1", b"b": b"2"}
EXPIRIES = {b"a": FIELD_EXPIRY}
OF_REDIS = Hash(FIELDS, EXPIRIES)
OF_VALKEY = Hash(FIELDS, EXPIRIES, is_valkey=True)
LATEST = 2**63 - 1


def raw(value: Value, version: int) -> RawValue:
    """Return a value as it is in a file of a version."""
    payload = encode_dump(value, version)
    return RawValue(payload[0], payload[1:-10], version)


def write(path: Path, *values: Value | RawValue, version: int | None = None) -> int:
    """Write values under numbered keys; return the version of the file."""
    with RdbWriter(path, version) as writer:
        for number, value in enumerate(values):
            writer.write(b"%d" % number, value)
    assert [decode(record.value) for record in read_rdb(path, raw=True)] == list(
        map(decode, values)
    )
    return writer.version


def decode(value: Value | RawValue) -> Value:
    """Decode a raw value."""
    return decode_dump(value.dump()) if isinstance(value, RawValue) else value


def test_payloads_of_expiring_fields() -> None:
    """Fields that expire are in the form of the server that they came from, or of the requested version."""
    for version in (12, 80):
        payload = encode_dump(OF_REDIS, version)
        value = decode_dump(payload)
        assert isinstance(value, Hash) and value == OF_REDIS == OF_VALKEY
        assert value.is_valkey == (version == 80)
        assert encode_dump(value) == payload
        assert decode_dump(encode_dump(value, 92 - version)) == value


@pytest.mark.parametrize(
    ("values", "version"),
    [
        ((OF_REDIS,), 12),
        ((OF_VALKEY,), 80),
        ((raw(OF_REDIS, 12),), 12),
        ((raw(OF_VALKEY, 80),), 80),
        ((OF_REDIS, OF_VALKEY, raw(OF_VALKEY, 80)), 12),
        ((OF_VALKEY, OF_REDIS, raw(OF_REDIS, 12)), 80),
        ((b"x", raw(OF_VALKEY, 80), raw(OF_REDIS, 12), b"y"), 80),
        ((Hash(FIELDS, {b"a": LATEST}),), 80),
        ((Hash(FIELDS, is_valkey=True),), 6),
    ],
)
def test_files_of_expiring_fields(
    tmp_path: Path, values: tuple[Value | RawValue, ...], version: int
) -> None:
    """A file has one form of fields that expire: that of the first of them."""
    assert write(tmp_path / "a.rdb", *values) == version
    assert write(tmp_path / "a.rdb", *values, version=80) == 80


def test_latest_expiry_of_redis() -> None:
    """A field expiry that only Valkey can hold is refused in a version of Redis."""
    assert encode_dump(Hash(FIELDS, {b"a": 2**48 - 1}))[-10:-8] == b"\x0c\0"
    assert encode_dump(Hash(FIELDS, {b"a": 2**48}))[-10:-8] == b"\x50\0"
    with pytest.raises(
        RdbWriteError, match="RDB version 12 cannot hold this hash. Write version 80"
    ):
        encode_dump(Hash(FIELDS, {b"a": 2**48}), 12)
    with pytest.raises(RdbWriteError, match=r"version 12 \(Redis 7.4\) or 80 \(Valkey 9.0\)\."):
        encode_dump(Hash(FIELDS, {b"a": 1000}), 11)
    with pytest.raises(RdbWriteError, match="above 0 and below 2\\*\\*63"):
        encode_dump(Hash(FIELDS, {b"a": 2**63}))


def test_latest_expiry_on_a_server(redis_binary: RedisBinary, tmp_path: Path) -> None:
    """Valkey 9 starts from a file with the latest field expiry, 2**63 - 1."""
    with RedisServer(redis_binary) as server:
        if max_version(server) < 80:
            pytest.skip("Redis has an earlier limit")
    record = KeyRecord[Value](0, b"0", Hash(FIELDS, {b"a": LATEST, b"b": 2**48}))
    write(tmp_path / "a.rdb", record.value)
    with RedisServer(redis_binary, snapshot=tmp_path / "a.rdb") as server:
        assert_holds(server, [record])


ID = StreamId(5, 0)
NO_ID = StreamId(0, 0)


@pytest.mark.parametrize(
    ("entries_read", "version"), [(None, 10), (0, 9), (1, 10)], ids=["nil", "derived", "other"]
)
def test_counters_of_an_empty_stream(entries_read: int | None, version: int) -> None:
    """A counter that servers would derive from an old file needs no newer version; nil does."""
    group = StreamGroup(b"group", NO_ID, entries_read, (), ())
    stream = Stream((), NO_ID, NO_ID, NO_ID, 0, (group,))
    payload = encode_dump(stream)
    assert int.from_bytes(payload[-10:-8], "little") == version
    assert decode_dump(payload) == stream
    (old,) = without_counters(stream).groups
    assert old.entries_read == 0


def test_nil_counter_on_a_server(redis_server: RedisServer) -> None:
    """The nil counter of a group in an empty stream is still nil after a payload was restored."""
    client = connect(redis_server)
    client.delete("nil", "copy")
    client.xgroup_create("nil", "group", "0", mkstream=True)
    client.restore("copy", 0, encode_dump(decode_dump(client.dump("nil"))))
    assert client.xinfo_groups("copy") == client.xinfo_groups("nil")


def test_what_only_later_servers_hold() -> None:
    """Arrays, and entries that were given back, are refused with a reason."""
    group = StreamGroup(b"group", NO_ID, 0, (), (), returned=(ID,))
    with pytest.raises(RdbWriteError, match="given back, which only Redis 8.8 can hold"):
        encode_dump(Stream((), ID, NO_ID, NO_ID, 0, (group,)))
    with pytest.raises(RdbWriteError, match="array cannot be written"):
        encode_dump(Array({0: b"x"}))
