"""What exported files look like, and what happens when they cannot be written."""

from __future__ import annotations

import datetime
import gzip
import json
import logging
import pickle
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakeredis import FakeRedis

from telstate import (
    DecodeError,
    ExportReport,
    InvalidTimestampError,
    RdbWriteError,
    RedisBackend,
    TelescopeState,
    export,
    set_allow_pickle,
)
from telstate_backends import Load, Samples, SetImmutable

OPAQUE = b"\x80\x02cposix\nsystem\nq\x00."
EVERY_SUFFIX = ["csv", "csv.gz", "jsonl", "jsonl.gz", "parquet"]


@pytest.fixture
def ts() -> TelescopeState:
    """A telescope state with a key of each kind, and values of many types."""
    ts = TelescopeState()
    ts["n_chans"] = 4096
    ts["bands"] = ["l", b"\xff"]
    ts["name"] = 'caf\xe9, "x"'
    ts["on"] = True
    ts[b"\xff"] = None
    ts["rate"] = np.float32(0.5)
    ts.add("gain", 1.5, ts=1.6e9 + 0.25)
    ts.add("gain", float("nan"), ts=1.6e9 + 1.0000005)
    ts.add("gain", 2, ts=1e12)
    ts.set_indexed("peak", ("J1939-6342", 17), 14.9)
    return ts


CSV = '''\
key,time,value,sub_key
bands,,"[""l"", {""$bytes"": ""/w==""}]",
gain,%s,1.5,
gain,%s,nan,
gain,1000000000000.0,2,
n_chans,,4096,
name,,"caf\xe9, ""x""",
on,,true,
peak,,14.9,"{""$tuple"": [""J1939-6342"", 17]}"
rate,,0.5,
"{""$bytes"": ""/w==""}",,null,
'''


@pytest.mark.parametrize(
    ("unix", "times"),
    [
        (False, ("2020-09-13T12:26:40.250000Z", "2020-09-13T12:26:41.000000Z")),
        (True, ("1600000000.25", "1600000001.0000005")),
    ],
)
def test_csv(ts: TelescopeState, tmp_path: Path, unix: bool, times: tuple[str, str]) -> None:
    """A table for spreadsheets: numbers and text as such, times in UTC or in seconds."""
    path = tmp_path / "out.csv"
    assert export(ts, path, unix=unix) == ExportReport(keys=8, rows=10)
    assert path.read_bytes().decode().replace("\r\n", "\n") == CSV % times


def test_json_lines(ts: TelescopeState, tmp_path: Path) -> None:
    """An object on each line, that any reader of JSON takes, with exact times."""
    path = tmp_path / "out.JSONL"
    assert export(ts, path) == ExportReport(keys=8, rows=10)
    assert path.read_text() == (
        '{"key": "bands", "value": ["l", {"$bytes": "/w=="}]}\n'
        '{"key": "gain", "time": 1600000000.25, "value": 1.5}\n'
        '{"key": "gain", "time": 1600000001.0000005, "value": {"$float": "nan"}}\n'
        '{"key": "gain", "time": 1000000000000.0, "value": 2}\n'
        '{"key": "n_chans", "value": 4096}\n'
        '{"key": "name", "value": "caf\\u00e9, \\"x\\""}\n'
        '{"key": "on", "value": true}\n'
        '{"key": "peak", "sub_key": {"$tuple": ["J1939-6342", 17]}, "value": 14.9}\n'
        '{"key": "rate", "value": {"$scalar": {"dtype": "<f4", "value": 0.5}}}\n'
        '{"key": {"$bytes": "/w=="}, "value": null}\n'
    )


def test_parquet(ts: TelescopeState, tmp_path: Path) -> None:
    """Typed columns for numbers and text, the text form for the rest, and two columns of times."""
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "out.parquet"
    assert export(ts, path) == ExportReport(keys=8, rows=10)
    table = parquet.read_table(path)
    assert {field.name: str(field.type) for field in table.schema} == {
        "key": "string",
        "kind": "string",
        "time": "timestamp[ns, tz=UTC]",
        "unix": "double",
        "sub_key": "string",
        "number": "double",
        "integer": "int64",
        "text": "string",
        "json": "string",
    }
    rows = {
        (row.pop("key"), row.pop("unix")): {
            name: one for name, one in row.items() if one is not None
        }
        for row in table.to_pylist()
    }
    time = rows["gain", 1.6e9 + 0.25].pop("time")
    assert str(time) == "2020-09-13 12:26:40.250000+00:00"
    assert "time" not in rows["gain", 1e12]
    assert rows["gain", 1.6e9 + 0.25] == {"kind": "mutable", "number": 1.5}
    assert rows["gain", 1e12] == {"kind": "mutable", "number": 2.0, "integer": 2}
    assert rows["name", None] == {"kind": "immutable", "text": 'caf\xe9, "x"'}
    assert rows["on", None] == {"kind": "immutable", "number": 1.0, "json": "true"}
    assert rows["rate", None]["number"] == 0.5
    assert rows["peak", None] == {
        "kind": "indexed",
        "sub_key": '{"$tuple": ["J1939-6342", 17]}',
        "number": 14.9,
    }
    assert rows['{"$bytes": "/w=="}', None] == {"kind": "immutable", "json": "null"}


def test_compressed(ts: TelescopeState, tmp_path: Path) -> None:
    """A suffix .gz compresses the same content."""
    for suffix in ("csv", "jsonl"):
        plain, compressed = tmp_path / f"out.{suffix}", tmp_path / f"out.{suffix}.gz"
        export(ts, plain)
        export(ts, compressed)
        assert gzip.decompress(compressed.read_bytes()) == plain.read_bytes()


def test_selected_keys(ts: TelescopeState, tmp_path: Path) -> None:
    """Keys are chosen and left out by name and by pattern, whatever the view and the moment."""
    path, done = tmp_path / "out.jsonl", []
    for consistent in (False, True):
        report = export(ts.view("x"), path, ["n*", "peak"], exclude=["na*"], consistent=consistent)
        assert report.keys == 2
        keys = [json.loads(line)["key"] for line in path.read_text().splitlines()]
        assert sorted(keys) == ["n_chans", "peak"]
    export(ts, path, progress=lambda *counts: done.append(counts))
    assert done[-1] == (8, 8)


@pytest.mark.parametrize("consistent", [False, True])
def test_range(ts: TelescopeState, tmp_path: Path, consistent: bool) -> None:
    """Of sensors there are the samples from the start to before the end, and all other keys."""
    path = tmp_path / "out.jsonl"
    report = export(ts, path, ["gain", "n_chans"], start=1.6e9 + 1, end=1e12, consistent=consistent)
    assert (report.keys, report.rows) == (2, 2)
    assert [json.loads(line).get("time") for line in path.read_text().splitlines()] == [
        1600000001.0000005,
        None,
    ]
    with pytest.raises(InvalidTimestampError, match="The range is empty"):
        export(ts, path, start=1.6e9, end=1.6e9)


@pytest.mark.parametrize("suffix", EVERY_SUFFIX)
def test_old_file_is_kept(ts: TelescopeState, tmp_path: Path, suffix: str) -> None:
    """A file is replaced as a whole, and not at all if keys are missing or cannot be exported."""
    path = tmp_path / f"out.{suffix}"
    path.write_bytes(b"old")
    with pytest.raises(KeyError, match="left as it was.*'n_chanz': there is no such key"):
        export(ts, path, ["n_chans", "n_chanz"])
    with pytest.raises(KeyError, match=r"'x\*': no key matches"):
        export(ts, path, ["x*"])
    with pytest.raises(RdbWriteError, match="no keys to save"):
        export(TelescopeState(), path)
    with pytest.raises(TypeError, match="single name"):
        export(ts, path, "n_chans")
    ts.backend.execute(Load(b"short", Samples([b"\0" * 7])))
    with pytest.raises(DecodeError, match="Key 'short': .*8 bytes"):
        export(ts, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_suffixes(ts: TelescopeState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other suffixes are refused, and Parquet without pyarrow, before anything is written."""
    with pytest.raises(ValueError, match=r"suffix of .*out\.xls is not known\. Use \.csv"):
        export(ts, tmp_path / "out.xls")
    with pytest.raises(ValueError, match="suffix of .*out is not known"):
        export(ts, tmp_path / "out")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match="Install telstate with its extra 'parquet'"):
        export(ts, tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_pickles(tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str) -> None:
    """What the policy refuses is exported as stored bytes and logged; what it reads as an ordinary value."""
    ts, path = TelescopeState(), tmp_path / f"out.{suffix}"
    ts.backend.execute(SetImmutable(b"config", pickle.dumps({"a": (1,)}, 2)))
    ts.backend.execute(SetImmutable(b"opaque", OPAQUE))
    ts.backend.execute(SetImmutable(b"when", pickle.dumps(datetime.date(2026, 11, 30), 2)))
    with caplog.at_level(logging.WARNING):
        assert export(ts, path).encoded == ("config", "opaque", "when")
    assert "3 keys ('config', 'opaque', 'when') could not be decoded" in caplog.text
    assert "$encoded" in path.read_text().splitlines()[suffix == "csv"]
    set_allow_pickle("safe")
    try:
        assert export(ts, path).encoded == ("opaque", "when")  # no encoding has dates
    finally:
        set_allow_pickle(False)
    assert "$tuple" in path.read_text().splitlines()[suffix == "csv"]


def test_values_that_are_nested_deeply(tmp_path: Path) -> None:
    """What is nested too deeply for JSON is exported as stored bytes."""
    value: Any = 1
    for _ in range(400):
        value = [value]
    ts, path = TelescopeState(), tmp_path / "out.jsonl"
    ts["deep"] = value
    ts["shallow"] = 1
    assert export(ts, path).keys == 2


def test_keys_of_other_programs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They are left out and logged, unless they are named."""
    client = FakeRedis()
    client.rpush("queue", "a")
    ts, path = TelescopeState(RedisBackend(client)), tmp_path / "out.csv"
    ts["n_chans"] = 4096
    with caplog.at_level(logging.WARNING):
        assert export(ts, path).keys == 1
    assert "'queue'" in caplog.text
    with pytest.raises(Exception, match="'queue'"):
        export(ts, path, ["queue"])


def test_memory_is_bounded(tmp_path: Path) -> None:
    """Neither many keys nor a long sensor are in memory as text at once."""
    ts = TelescopeState()
    array = np.arange(50_000.0)
    for number in range(100):
        ts.add("sensor", array + number, ts=number)
        ts.backend.execute(
            SetImmutable(
                b"k%d" % number, b"\xff\xc6" + (400_000).to_bytes(4, "big") + bytes(400_000)
            )
        )
    stored = 80e6
    tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        export(ts, tmp_path / "out.jsonl")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < stored / 2
