"""Records as JSON and back: every record of every sample, and of files of real servers."""

from __future__ import annotations

import json
from array import array
from pathlib import Path

import pytest
import rdb_strategies as values
from hypothesis import given
from hypothesis import strategies as st
from rdb_command import readable_samples, run
from rdb_data import NO_SAMPLES

from telstate_rdb import Hash, KeyRecord, SortedSet, Value, read_rdb
from telstate_rdb.json_form import JsonFormError, decode_json, encode_json
from telstate_rdb.records import AuxiliaryField, DatabaseSize, SlotInformation

HINTS = (AuxiliaryField, DatabaseSize, SlotInformation)


def check(path: Path, tmp_path: Path) -> None:
    """Check that all records come back from JSON, by the functions and by the command."""
    records = list(read_rdb(path, auxiliary=True))
    for record in records:
        text = "".join(encode_json(record))
        assert text.isascii()
        assert decode_json(text) == record
    output = tmp_path / "dump.json"
    assert run("json", path, "-o", output, "--force").exit_code == 0
    found = [decode_json(line) for line in output.read_bytes().splitlines()]
    assert found == [record for record in records if not isinstance(record, HINTS)]
    assert run("json", path, "--array", "-o", output, "--force").exit_code == 0
    assert len(json.loads(output.read_bytes())) == len(found)


@NO_SAMPLES
def test_samples(tmp_path: Path) -> None:
    """Every record of every sample comes back."""
    for path in readable_samples():
        check(path, tmp_path)


def test_server_files(server_file: Path, tmp_path: Path) -> None:
    """Every record of a file of each server comes back."""
    check(server_file, tmp_path)


@given(
    st.builds(
        KeyRecord,
        st.integers(0, 15),
        st.binary(max_size=9),
        values.PLAIN_VALUES | values.streams() | values.hashes_with_expiries(),
        st.none() | values.NUMBERS,
    )
)
def test_any_record(record: KeyRecord[Value]) -> None:
    """Any record comes back."""
    assert decode_json("".join(encode_json(record))) == record


@pytest.mark.parametrize(
    "value",
    [
        b"\xff" * 500_000,
        ("ö" * 300_000).encode(),
        b"x" + ("✓" * 100_000).encode() + b"\xe2",
        SortedSet((b"a", b"a"), array("d", [1.0, float("nan")])),
        SortedSet((b"a", b"b", b"c"), array("d", [float("inf"), float("-inf"), -0.0])),
        Hash({b"$bytes": b"AA=="}),
        Hash({b"$map": b"", b"\xff": b"\x00"}, {b"\xff": 1}),
    ],
    ids=range(7),
)
def test_special_values(value: Value) -> None:
    """Long strings, special scores, repeated members and names like our marks come back."""
    record = KeyRecord(1, b"$key", value, 5, 6, 7)
    assert decode_json("".join(encode_json(record))) == record


@pytest.mark.parametrize(
    "line",
    ["", "[]", "{}", '{"key":"a"}', '{"key":1,"type":"string","value":""}', '{"type":"no such"}']
    + [
        '{"key":"a","type":"hash","value":[]}',
        '{"key":"a","type":"string","value":{"$bytes":"?"}}',
    ],
)
def test_not_a_record(line: str) -> None:
    """JSON that is not a record raises an error that shows it."""
    with pytest.raises(JsonFormError, match="This is not the JSON of a record"):
        decode_json(line)
