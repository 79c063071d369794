"""Joining snapshots and telescope states into one snapshot."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from state_contents import CONTENTS, filled

from telstate import (
    ENCODING_PICKLE,
    KeyType,
    MergeConflictError,
    RdbParseError,
    RdbWriteError,
    TelescopeState,
    compare,
    merge,
    set_allow_pickle,
)
from telstate_testing import example_count

M = KeyType.MUTABLE


@settings(max_examples=example_count(50))  # files are written to the disk
@given(CONTENTS, CONTENTS)
def test_nothing_is_lost(
    tmp_path_factory: pytest.TempPathFactory, first: dict[str, Any], second: dict[str, Any]
) -> None:
    """Every sample, sub-key and value of the sources is in the result, but for those that lose a conflict."""
    a, b = filled(first), filled(second)
    out = tmp_path_factory.mktemp("merge") / "out.rdb"
    if not first and not second:
        return
    merged = merge([a, b], out, prefer="first")
    both = TelescopeState.from_snapshot(out)
    names = [conflict.name for conflict in merged.conflicts]
    # All of the first is there, and all of the second that does not conflict with it.
    assert all(one.only[0] == one.changed == 0 for one in compare(a, both) if one.kinds[0])
    lost = [one for one in compare(b, both) if one.kinds[0] and (one.only[0] or one.changed)]
    lost += [one for one in compare(b, both) if one.kinds[0] not in (None, one.kinds[1])]
    assert sorted({one.name for one in lost}) == names
    # And nothing else.
    assert both.keys() == sorted(first.keys() | second.keys())
    for key in both.keys():
        if both.key_type(key) is M:
            samples = {
                pair for ts in (a, b) if ts.key_type(key) is M for pair in ts.get_range(key, 0)
            }
            assert sorted(map(repr, both.get_range(key, 0))) == sorted(map(repr, samples))
    assert merge([b, a], out, prefer="last").keys == merged.keys
    assert compare(TelescopeState.from_snapshot(out), both) == []
    if names:
        out.write_bytes(b"old")
        with pytest.raises(MergeConflictError) as caught:
            merge([a, b], out)
        assert [conflict.name for conflict in caught.value.conflicts] == names
        assert out.read_bytes() == b"old"
    else:
        assert merge([a, b], out) == merged


@settings(max_examples=example_count(50))
@given(CONTENTS)
def test_merging_with_itself(
    tmp_path_factory: pytest.TempPathFactory, contents: dict[str, Any]
) -> None:
    """A source merged with itself, or alone, is itself."""
    if not contents:
        return
    ts = filled(contents)
    out = tmp_path_factory.mktemp("merge") / "out.rdb"
    for sources in ([ts], [ts, ts], [ts, ts, ts]):
        assert merge(sources, out).conflicts == ()
        assert compare(ts, TelescopeState.from_snapshot(out)) == []


def test_real_snapshot(real_snapshot: Path, tmp_path: Path) -> None:
    """The real snapshot, cut in two by time and merged again, is what it was."""
    whole = TelescopeState.from_snapshot(real_snapshot)
    early, late = (TelescopeState.from_snapshot(real_snapshot) for _ in range(2))
    for key, kind in whole.key_types().items():
        if kind is M:
            samples = whole.get_range(key, 0)
            middle = len(samples) // 2
            for ts, part in ((early, samples[: middle + 1]), (late, samples[middle:])):
                ts.delete(key)
                for value, timestamp in part:
                    ts.add(key, value, timestamp)
    early.save(tmp_path / "early.rdb")
    late.save(tmp_path / "late.rdb")
    merged = merge([tmp_path / "early.rdb", tmp_path / "late.rdb"], tmp_path / "out.rdb")
    assert merged.keys == 199
    assert merged.conflicts == ()
    assert compare(whole, TelescopeState.from_snapshot(tmp_path / "out.rdb")) == []


def test_kinds_of_sources(newest_port: int, tmp_path: Path) -> None:
    """A server, a file that is open, a path and a state in memory are merged into one file."""
    server = TelescopeState(f"127.0.0.1:{newest_port}")
    filled({"n_chans": 4096, "gain": {(1.0, 1): M}}, server)
    server["n_pols"] = 2
    filled({"gain": {(2.0, 2): M}, "a": 1}).save(tmp_path / "a.rdb")
    filled({"gain": {(2.0, 2): M, (3.0, 3): M}}).save(tmp_path / "b.rdb")
    file = io.BytesIO((tmp_path / "b.rdb").read_bytes())
    out = tmp_path / "a.rdb"  # which is one of the sources
    memory = filled({"gain": {(0.0, 0): M}})
    assert merge([server, out, file, memory.view("x")], out).keys == 4
    expected = {
        "n_chans": 4096,
        "n_pols": 2,
        "a": 1,
        "gain": {(float(i), i): M for i in range(4)},
    }
    assert compare(filled(expected), TelescopeState.from_snapshot(out)) == []
    assert compare(filled({"n_chans": 4096, "n_pols": 2, "gain": {(1.0, 1): M}}), server) == []
    server.close()


A = {"n_chans": 4096, "x_kind": 1, "product": {1: "a", 2: "b", 3: "c"}, "same": 1}
B = {"n_chans": 32768, "x_kind": {(1.0, 1): M}, "product": {2: "B", 3: "C", 4: "d"}, "same": 1}
C = {"n_chans": 4096, "x_kind": {(2.0, 2): M}, "product": {3: "c", 5: "e"}}


def test_refusal(tmp_path: Path) -> None:
    """Conflicts are all named, and nothing is written."""
    with pytest.raises(MergeConflictError) as caught:
        merge([filled(A), filled(B)], tmp_path / "out.rdb")
    assert [str(conflict) for conflict in caught.value.conflicts] == [
        "n_chans: 4096 / 32768",
        "product[2]: 'b' / 'B', and 1 more sub-key",
        "x_kind: immutable / mutable",
    ]
    assert str(caught.value) == (
        f"Cannot merge into {tmp_path}/out.rdb, which was left as it was: 3 keys differ (n_chans: 4096 / "
        "32768; product[2]: 'b' / 'B', and 1 more sub-key; x_kind: immutable / mutable). Choose the source "
        "that decides with prefer='first' or 'last'."
    )
    assert list(tmp_path.iterdir()) == []
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.conflicts) == (str(caught.value), caught.value.conflicts)
    many = {f"k{number}": number for number in range(9)}
    with pytest.raises(MergeConflictError, match="9 keys differ .*; k4: 4 / 5; and 4 more[)]"):
        merge([filled(many), filled({k: v + 1 for k, v in many.items()})], tmp_path / "out.rdb")


@pytest.mark.parametrize(
    ("prefer", "expected"),
    [
        (
            "first",
            {"n_chans": 4096, "x_kind": 1, "product": {1: "a", 2: "b", 3: "c", 4: "d", 5: "e"}},
        ),
        (
            "last",
            {
                "n_chans": 4096,
                "x_kind": {(1.0, 1): M, (2.0, 2): M},
                "product": {1: "a", 2: "B", 3: "c", 4: "d", 5: "e"},
            },
        ),
    ],
)
def test_preference(
    prefer: Literal["first", "last"], expected: dict[str, Any], tmp_path: Path
) -> None:
    """The first or the last source that has a key decides its kind, its value, and each sub-key."""
    sources = [filled(one) for one in (A, B, C)]
    merged = merge(sources, tmp_path / "out.rdb", prefer=prefer)
    both = TelescopeState.from_snapshot(tmp_path / "out.rdb")
    assert compare(both, filled({**expected, "same": 1})) == []
    assert [conflict.name for conflict in merged.conflicts] == ["n_chans", "product", "x_kind"]
    assert [kind and kind.name for kind in merged.conflicts[2].kinds] == [
        "IMMUTABLE",
        "MUTABLE",
        "MUTABLE",
    ]


def test_nothing_to_write(tmp_path: Path) -> None:
    """Where names or globs match nothing, the file that is there stays."""
    out = tmp_path / "out.rdb"
    out.write_bytes(b"old")
    ts = filled({"gain": 1, "n_chans": 1})
    for keys, problem in (
        (["gian*"], "no key matches"),
        (["gain", "gian"], "there is no such key"),
        ([], "There are no keys"),
    ):
        with pytest.raises(KeyError, match=problem):
            merge([ts, ts], out, keys=keys)
    with pytest.raises(RdbWriteError, match="There are no keys to save"):
        merge([TelescopeState()], out)
    with pytest.raises(ValueError, match="no sources"):
        merge([], out)
    with pytest.raises(TypeError, match="not the string 'a.rdb'"):
        merge("a.rdb", out)
    with pytest.raises(ValueError, match="not 'frist'"):
        merge([ts], out, prefer="frist")  # type: ignore[arg-type]  # what this is about
    assert out.read_bytes() == b"old"
    assert merge([ts, filled({"gain": 1, "mode": "c"})], out, keys=["g*", "mode"]).keys == 2
    assert TelescopeState.from_snapshot(out).keys() == ["gain", "mode"]


def test_damaged_file(real_snapshot: Path, tmp_path: Path) -> None:
    """A file that is cut off or missing is an error that names it, and nothing is written."""
    content = real_snapshot.read_bytes()
    (tmp_path / "cut.rdb").write_bytes(content[: len(content) // 2])
    with pytest.raises(RdbParseError, match="cut.rdb"):
        merge([real_snapshot, tmp_path / "cut.rdb"], tmp_path / "out.rdb")
    with pytest.raises(FileNotFoundError, match="none.rdb"):
        merge([real_snapshot, tmp_path / "none.rdb"], tmp_path / "out.rdb")
    assert not (tmp_path / "out.rdb").exists()


def test_pickles(tmp_path: Path) -> None:
    """A pickle is no conflict with the same value in MessagePack if it may be read, and otherwise is one."""
    old, new = TelescopeState(), TelescopeState()
    value = {"a": [1, 2.5]}
    old.add("config", value, immutable=True, encoding=ENCODING_PICKLE)
    old.add("sensor", "x", ts=1.0, encoding=ENCODING_PICKLE)
    filled({"sensor": {(1.0, "x"): M, (2.0, "y"): M}}, new)
    new["config"] = value
    with pytest.raises(MergeConflictError, match=r"config: \(not read, .*\) / {'a': \[1, 2.5\]}"):
        merge([old, new], tmp_path / "out.rdb")
    set_allow_pickle("safe")
    try:
        assert merge([old, new], tmp_path / "out.rdb").conflicts == ()
        both = TelescopeState.from_snapshot(tmp_path / "out.rdb")
        assert both.get_range("sensor", 0) == [("x", 1.0), ("y", 2.0)]
        assert both["config"] == value
    finally:
        set_allow_pickle(False)
