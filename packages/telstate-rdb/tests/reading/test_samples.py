"""The snapshots in the tests of other projects give what those projects expect."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from rdb_data import NO_SAMPLES, SAMPLES, ChunkedReader, by_key, number, sample_rows, text

from telstate_rdb import (
    FunctionLibrary,
    Hash,
    KeyRecord,
    RdbParseError,
    SlotInformation,
    Stream,
    read_rdb,
)

ROWS = sample_rows()

# Broken files: the number of records before the error, its reason, and the number of keys that are
# recovered.
BROKEN = {
    "librdb/future_v19.rdb": (1, "the checksum is", 1),
    "librdb/invalid_chksum_v8.rdb": (3, "the checksum is", 3),
    "redis/corrupt_ziplist.rdb": (15, "a ziplist is truncated", 53),
}

VALID = [row for row in ROWS if row["file"] not in BROKEN]
VERDICTS = {"ok": "ok", "none": "none", "zero": "not computed"}


@NO_SAMPLES
def test_all_samples_are_there() -> None:
    """The list of samples is complete."""
    assert len(ROWS) == 120
    assert {row["file"] for row in ROWS} >= set(BROKEN)


@NO_SAMPLES
@pytest.mark.parametrize("row", VALID or [{"file": "no samples"}], ids=lambda row: row["file"])
def test_valid_samples(row: dict[str, str]) -> None:
    """A valid sample gives all its keys, whole or byte by byte, and its checksum is right."""
    path = SAMPLES / row["file"]
    reader = read_rdb(path)
    records = list(reader)
    assert len(records) == int(row["keys"])
    assert reader.checksum == VERDICTS[row["crc"]]
    assert list(read_rdb(path.read_bytes())) == records
    if path.stat().st_size < 2000:
        assert list(read_rdb(ChunkedReader(path.read_bytes()))) == records
    recovered = read_rdb(path, strict=False)
    assert list(recovered) == records
    assert recovered.losses == []


@NO_SAMPLES
@pytest.mark.parametrize("row", VALID or [{"file": "no samples"}], ids=lambda row: row["file"])
def test_byte_after_the_end(row: dict[str, str]) -> None:
    """A byte after the end is an error, after all records."""
    data = (SAMPLES / row["file"]).read_bytes()
    reader = read_rdb(data + b"!")
    records = [next(reader) for _ in range(int(row["keys"]))]
    assert records == list(read_rdb(data))
    with pytest.raises(RdbParseError, match="more bytes follow the end"):
        next(reader)


@NO_SAMPLES
@pytest.mark.parametrize("name", sorted(BROKEN))
def test_broken_samples(name: str) -> None:
    """A broken file raises an error that says why, after the records before it."""
    count, reason, _ = BROKEN[name]
    records: list[object] = []
    with pytest.raises(RdbParseError, match=reason) as caught:
        records.extend(read_rdb(SAMPLES / name))
    assert len(records) == count
    assert caught.value.file == str(SAMPLES / name)
    assert caught.value.offset is not None


@NO_SAMPLES
@pytest.mark.parametrize("name", sorted(BROKEN))
def test_recovered_samples(name: str) -> None:
    """All valid keys of a broken file are recovered, and the rest is reported."""
    _, reason, count = BROKEN[name]
    reader = read_rdb(SAMPLES / name, strict=False)
    assert len(list(reader)) == count
    assert len(reader.losses) == 1
    assert reason in reader.losses[0].reason


# ---------------------------------------------------------------------- expected: HDT3213/rdb


def _expected_of_hdt(item: dict[str, Any]) -> object:
    """Return the value in an entry of the JSON of HDT3213/rdb."""
    match item["type"]:
        case "string":
            return item["value"]
        case "list":
            return item["values"]
        case "set":
            return sorted(item["members"])
        case "hash":
            return item["hash"]
        case "zset":
            return {entry["member"]: number(float(entry["score"])) for entry in item["entries"]}
        case "stream":
            return {
                message["id"]: message["fields"]
                for node in item["entries"]
                for message in node["msgs"]
                if not message["deleted"]
            }
    raise AssertionError(item["type"])


def _entries(path: Path) -> list[dict[str, Any]]:
    """Read the keys in the expected JSON of HDT3213/rdb."""
    entries: list[dict[str, Any]] = json.loads(path.read_text())
    return [item for item in entries if item["type"] not in ("aux", "functions", "dbsize")]


def _stem(path: Path | None) -> str:
    """Return the name of a test; without the samples there is one, which is skipped."""
    return "no samples" if path is None else path.stem


NOTHING = [None]

HDT_FILES = [
    path
    for path in sorted((SAMPLES / "rdb" / "expected").glob("*.json"))
    if (SAMPLES / "rdb" / f"{path.stem}.rdb").is_file()
]


@NO_SAMPLES
@pytest.mark.parametrize("path", HDT_FILES or NOTHING, ids=_stem)
def test_expected_by_hdt3213(path: Path) -> None:
    """Keys, values and expiries are as expected by the tests of HDT3213/rdb."""
    records = list(read_rdb(SAMPLES / "rdb" / f"{path.stem}.rdb"))
    entries = _entries(path)
    expected = {(item["db"], item["key"]): _expected_of_hdt(item) for item in entries}
    assert by_key(records) == expected
    expiries = {
        item["key"]: datetime.fromisoformat(item["expiration"]).timestamp()
        for item in entries
        if "expiration" in item
    }
    assert {text(r.key): r.expiry / 1000 for r in records if r.expiry is not None} == expiries
    fields = {
        item["key"]: {field: expiry for field, expiry in item["expire"].items() if expiry}
        for item in entries
        if "expire" in item
    }
    assert {
        text(r.key): {text(field): expiry for field, expiry in r.value.expiries.items()}
        for r in records
        if isinstance(r.value, Hash) and r.value.expiries
    } == fields


STREAMS = [path for path in HDT_FILES if '"type":"stream"' in path.read_text()]


@NO_SAMPLES
@pytest.mark.parametrize("path", STREAMS or NOTHING, ids=_stem)
def test_streams_expected_by_hdt3213(path: Path) -> None:
    """Groups, consumers and pending entries are as expected by the tests of HDT3213/rdb."""
    records = {text(r.key): r.value for r in read_rdb(SAMPLES / "rdb" / f"{path.stem}.rdb")}
    for item in _entries(path):
        stream = records[item["key"]]
        assert isinstance(stream, Stream)
        assert str(stream.last_id) == item["lastId"]
        assert _groups(stream) == [
            (
                group["name"],
                group["lastId"],
                [
                    (entry["id"], entry["deliveryTime"], entry["deliveryCount"])
                    for entry in group.get("pending") or []
                ],
                [
                    (consumer["name"], consumer["seenTime"], consumer.get("pending") or [])
                    for consumer in group.get("consumers") or []
                ],
            )
            for group in item.get("groups") or []
        ]
        if "firstId" in item:
            assert str(stream.first_id) == item["firstId"]
            assert str(stream.max_deleted_id) == item["maxDeletedId"]
            assert stream.entries_added == item["addedEntriesCount"]


def _groups(stream: Stream) -> list[object]:
    """Return the groups of a stream as HDT3213/rdb shows them."""
    return [
        (
            text(group.name),
            str(group.last_id),
            [(str(e.id), e.delivery_time, e.delivery_count) for e in group.pending],
            [
                (text(consumer.name), consumer.seen_time, [str(i) for i in consumer.pending])
                for consumer in group.consumers
            ],
        )
        for group in stream.groups
    ]


# ----------------------------------------------------------------------- expected: redis/librdb

LIBRDB = {
    "cluster_slot_info": "cluster_slot_info",
    "function2": "function2",
    "hash_lp_v11": "hash_lp_v11_data",
    "hash_lp_with_hexpire_v12": "hash_lp_ex_v12_data",
    "hash_v3": "hash_data",
    "hash_with_expire_v12": "hash_ex_v12_data",
    "hash_zl_v6": "hash_zl_v6_data",
    "hash_zm_v2": "hash_zm_v2_data",
    "mem_policy_lfu": "mem_policy_lfu",
    "mem_policy_lru": "mem_policy_lru",
    "module_aux": "module_aux_data",
    "multiple_dbs": "multiple_dbs_data",
    "multiple_lists_strings": "multiple_lists_strings_data",
    "plain_list_v6": "plain_list_v6_data",
    "plain_set_v6": "plain_set_v6_data",
    "plain_zset_2_v11": "plain_zset_2_v11_data",
    "plain_zset_v6": "plain_zset_v6_data",
    "quicklist": "quicklist_data",
    "quicklist2_v11": "single_list_data",
    "set_is_v11": "set_is_v11_data",
    "set_lp_v11": "set_lp_v11_data",
    "set_not_expired_v11": "set_not_expired",
    "single_key": "single_key_data",
    "stream_v11": "stream_data",
    "string_int_encoded": "string_int_encoded",
    "ziplist_v3": "ziplist_data",
    "zset_lp_v11": "zset_lp_v11_data",
    "zset_zl_v6": "zset_zl_v6_data",
}


def _librdb_json(name: str) -> Any:
    """Read the expected JSON of librdb, which leaves out the outermost braces."""
    content = (SAMPLES / "librdb" / "expected" / f"{name}.json").read_text().strip().rstrip(",")
    return json.loads(content if content.startswith("[") else f"{{{content}}}")


def _expected_of_librdb(value: Any, actual: object) -> object:
    """Return an expected value like our values: librdb shows sets as lists and scores as text."""
    if isinstance(value, dict) and "entries" in value:
        return {entry["id"]: entry["items"] for entry in value["entries"]}
    if isinstance(value, dict):
        assert isinstance(actual, dict)
        return {k: v if actual.get(k) == v else number(float(v)) for k, v in value.items()}
    return value


@NO_SAMPLES
@pytest.mark.parametrize("name", sorted(LIBRDB))
def test_expected_by_librdb(name: str) -> None:
    """Keys and values are as expected by the tests of redis/librdb."""
    expected = _librdb_json(LIBRDB[name])
    databases = expected if isinstance(expected, list) else [expected]
    records = list(read_rdb(SAMPLES / "librdb" / f"{name}.rdb"))
    numbers = sorted({record.database for record in records})
    actual = by_key(records)
    found: dict[tuple[int, str], object] = {}
    for database, content in zip(numbers or [0], databases, strict=True):
        for key, value in content.items():
            if not key.startswith("__"):
                value = _expected_of_librdb(value, actual.get((database, key)))
                if records and isinstance(value, list) and name.startswith(("plain_set", "set_")):
                    value = sorted(value)
                found[database, key] = value
    assert actual == found


@NO_SAMPLES
def test_slot_information_and_functions() -> None:
    """Slot information and function libraries are returned if they are requested."""
    records = list(read_rdb(SAMPLES / "librdb/cluster_slot_info.rdb", auxiliary=True))
    assert SlotInformation(7638, 1, 0) in records
    functions = [
        text(record.code)
        for record in read_rdb(SAMPLES / "librdb/function2.rdb", auxiliary=True)
        if isinstance(record, FunctionLibrary)
    ]
    assert functions == list(_librdb_json("function2")["__func__"].values())


@NO_SAMPLES
def test_uses() -> None:
    """A key has its idle time and its frequency."""
    (idle,) = read_rdb(SAMPLES / "librdb/mem_policy_lru.rdb")
    (frequent,) = read_rdb(SAMPLES / "librdb/mem_policy_lfu.rdb")
    assert isinstance(idle, KeyRecord)
    assert idle.idle is not None and idle.frequency is None
    assert frequent.frequency is not None and frequent.idle is None


@NO_SAMPLES
def test_module_data() -> None:
    """The value of a module is skipped completely; its name is that of the module's type."""
    (record,) = read_rdb(SAMPLES / "librdb/module.rdb")
    assert by_key([record]) == {(0, "key1"): "test__rdb 9"}
