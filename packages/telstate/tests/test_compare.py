"""Comparing two telescope states, wherever they are."""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import NEWEST
from fakeredis import FakeRedis
from hypothesis import given, settings
from state_contents import CONTENTS, filled

from telstate import (
    ENCODING_PICKLE,
    KeyDifference,
    KeyType,
    RedisBackend,
    TelescopeState,
    ValueDifference,
    compare,
)
from telstate_backends import Deadline, KeyTypes, MemoryBackend, Operation, SetImmutable
from telstate_codec import PicklePolicy, decode_value, encode_value, set_allow_pickle


@settings(deadline=None)
@given(CONTENTS, CONTENTS)
def test_nothing_is_missed(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Two states have no differences exactly if they are the same, and the reverse has the same in reverse."""
    a, b = filled(first), filled(second)
    there, back = compare(a, b), compare(b, a)
    different = {
        key
        for key in first.keys() | second.keys()
        if a.key_type(key) is not b.key_type(key)
        or a.get(key, return_encoded=True) != b.get(key, return_encoded=True)
        or (
            a.key_type(key) is KeyType.MUTABLE
            and a.get_range(key, 0, return_encoded=True) != b.get_range(key, 0, return_encoded=True)
        )
    }
    assert sorted(difference.name for difference in there) == sorted(different)
    assert [(one.name, one.kinds[::-1], one.only[::-1], one.changed) for one in back] == [
        (one.name, one.kinds, one.only, one.changed) for one in there
    ]
    assert compare(a, a) == []


@pytest.fixture(params=["memory", "fakeredis", *NEWEST, "snapshot"])
def other(
    request: pytest.FixtureRequest, server_port: Callable[[str], int], tmp_path: Path
) -> Callable[[TelescopeState], TelescopeState]:
    """A function that returns a copy of a telescope state of another kind."""

    def copy(ts: TelescopeState) -> TelescopeState:
        path = tmp_path / "copy.rdb"
        ts.save(path)
        if request.param == "fakeredis":
            target = TelescopeState(RedisBackend(FakeRedis()))
        elif request.param == "snapshot":
            return TelescopeState.from_snapshot(path)
        elif request.param == "memory":
            target = TelescopeState()
        else:
            target = TelescopeState(f"127.0.0.1:{server_port(request.param)}")
        target.load_from_file(path)
        request.addfinalizer(target.close)
        return target

    return copy


def test_edits(other: Callable[[TelescopeState], TelescopeState]) -> None:
    """What was changed in a copy is found, and said in words; what was not is left out."""
    before = filled(
        {
            "n_chans": 4096,
            "same": {(float(i), i): KeyType.MUTABLE for i in range(1000)},
            "gain": {(1.0, 1.5): KeyType.MUTABLE, (2.0, 1.5): KeyType.MUTABLE},
            "product": {1: "a", 2: "b", 3: "c"},
            "gone": 1,
            "kind": 1,
        }
    )
    after = other(before)
    assert compare(before, after) == []
    after.delete("n_chans")
    after["n_chans"] = 32768
    after.add("gain", 1.75, ts=3.0)
    after.add("gain", 1.25, ts=5.0)
    after.delete("product")
    for sub_key, value in ((2, "b"), (3, "C"), (4, "d"), (5, "e")):
        after.set_indexed("product", sub_key, value)
    after.delete("gone")
    after.delete("kind")
    after.add("kind", 1, ts=1.0)
    after["new"] = 1
    found = compare(before, after)
    assert [str(one) for one in found] == [
        "gain: 2 samples only in the second",
        "gone: immutable / missing",
        "kind: immutable / mutable",
        "n_chans: another value",
        "new: missing / immutable",
        "product: 1 sub-key only in the first, 2 sub-keys only in the second, 1 sub-key with another value",
    ]
    assert found[0] == KeyDifference(
        "gain", (KeyType.MUTABLE, KeyType.MUTABLE), (0, 2), times=(3.0, 5.0)
    )
    assert [one.name for one in compare(before, after, "n*")] == ["n_chans", "new"]
    assert [one.name for one in compare(before, after, ["n*", "gone"])] == [
        "gone",
        "n_chans",
        "new",
    ]
    assert compare(before, after, []) == []
    full = compare(before, after, full=True)
    assert [len(one.values) for one in full] == [2, 0, 0, 2, 0, 5]
    assert [(one.sign, one.time, one.value) for one in full[0].values] == [
        ("+", 3.0, 1.75),
        ("+", 5.0, 1.25),
    ]
    assert full[3].values == (
        ValueDifference("-", encode_value(4096)),
        ValueDifference("+", encode_value(32768)),
    )
    sub_keys = [decode_value(one.sub_key) for one in full[5].values if one.sub_key is not None]
    signs = [one.sign + one.value for one in full[5].values]
    assert list(zip(sub_keys, signs)) == [
        (1, "-a"),
        (3, "-c"),
        (3, "+C"),
        (4, "+d"),
        (5, "+e"),
    ]


class ChangingBackend(MemoryBackend):
    """A store in which somebody else deletes and replaces keys right after they are listed."""

    def execute(self, operation: Operation[Any], /, *, deadline: Deadline | None = None) -> Any:
        """Execute an operation."""
        result = super().execute(operation, deadline=deadline)
        if isinstance(operation, KeyTypes):
            other = TelescopeState(MemoryBackend(self.store))
            for key in ("gone", "value", "sensor"):
                other.delete(key)
            other.add("value", 1, ts=1.0)
            other.set_indexed("sensor", "x", 1)
        return result


def test_keys_that_change_meanwhile() -> None:
    """A key that is deleted or replaced between listing and reading is compared as it is then."""
    contents = {"gone": 1, "value": 1, "sensor": {(1.0, 1): KeyType.MUTABLE}, "same": 1}
    changing = filled(contents, TelescopeState(ChangingBackend()))
    assert [str(one) for one in compare(changing, filled(contents))] == [
        "gone: missing / immutable",
        "sensor: indexed / mutable",
        "value: mutable / immutable",
    ]


def test_names_are_escaped() -> None:
    """A name that would steer a terminal is printed escaped."""
    (difference,) = compare(filled({"a\x1b[2J\u202e": 1}), TelescopeState())
    assert str(difference) == r"a\x1b[2J\u202e: immutable / missing"


def test_pickles() -> None:
    """A pickle is the same as its value in MessagePack if it may be read; otherwise only if the bytes are."""
    old, new = TelescopeState(), TelescopeState()
    old.backend.execute(SetImmutable(b"config", pickle.dumps({"a": 1}, 2)))
    new["config"] = {"a": 1}
    assert [one.name for one in compare(old, new)] == ["config"]
    assert compare(old, old) == []
    set_allow_pickle(PicklePolicy.SAFE)
    try:
        assert compare(old, new) == []
    finally:
        set_allow_pickle(False)


def nested(depth: int, leaf: object) -> object:
    """Return a value in lists in lists."""
    for _ in range(depth):
        leaf = [leaf]
    return leaf


def doubled(levels: int, leaf: object) -> object:
    """Return a list that holds the same list twice, and so on."""
    for _ in range(levels):
        leaf = [leaf, leaf]
    return leaf


RECORD = np.dtype([("a", "<i4"), ("b", "<f8", (2,))])


@pytest.mark.parametrize(
    ("a", "b", "changes"),
    [
        (1, 1.0, ["1 -> 1.0"]),
        (
            {"a": 1, "b": 2},
            {"b": 3, "c": 4},
            [
                "['a']: only in the first",
                "['b']: 2 -> 3",
                "['c']: only in the second",
            ],
        ),
        ([1, (2, {"x": b"y"})], [1, (2, {"x": b"z"})], ["[1][1]['x']: b'y' -> b'z'"]),
        ([1], [1, 2], ["[1] -> [1, 2]"]),
        (
            {"a": 1, "b": {1: 2}},
            {"b": {1.0: 2}, "a": 1},
            [
                "the same keys, in another order or of other types",
                "['b']: the same keys, in another order or of other types",
            ],
        ),
        (
            np.array([1, np.nan, 0.0]),
            np.array([2, np.nan, -0.0]),
            ["2 of 3 elements (float64, shape (3,))"],
        ),
        (
            np.zeros((2, 2), RECORD),
            np.ones((2, 2), RECORD),
            ["4 of 4 elements ([('a', '<i4'), ('b', '<f8', (2,))], shape (2, 2))"],
        ),
        (np.array(["a", "b"]), np.array(["a", "c"]), ["1 of 2 elements (<U1, shape (2,))"]),
        (
            np.ones((2, 2)),
            np.asfortranarray(np.ones((2, 2))),
            ["the same elements, C order / Fortran order"],
        ),
        (nested(500, 1), nested(500, 2), [f"{'[0]' * 20}: [[[[...]]]] -> [[[[...]]]]"]),
    ],
)
def test_changes(a: object, b: object, changes: list[str]) -> None:
    """The items of a value that differ are described."""
    states = TelescopeState(), TelescopeState()
    states[0]["key"], states[1]["key"] = a, b
    (difference,) = compare(*states)
    assert difference.changes == changes
    assert difference.kinds == (KeyType.IMMUTABLE, KeyType.IMMUTABLE)


def test_changes_of_pickles_that_would_be_endless() -> None:
    """Pickles that hold the same object over and over are neither compared nor described item by item."""
    states = TelescopeState(), TelescopeState()
    for leaf, ts in enumerate(states):
        ts.add("key", doubled(40, leaf), immutable=True, encoding=ENCODING_PICKLE)
    set_allow_pickle(PicklePolicy.SAFE)
    try:
        (difference,) = compare(*states)
        assert len(difference.changes) == 1
        assert compare(states[0], states[0]) == []
    finally:
        set_allow_pickle(False)


def test_archives_with_bounded_memory(tmp_path: Path) -> None:
    """Of two archives, the values of one key are in memory at a time, and those that were read last."""
    paths = [tmp_path / "a.rdb", tmp_path / "b.rdb"]
    for path in paths:
        with TelescopeState() as ts:
            for number in range(40):
                ts[f"array_{number}"] = np.random.default_rng(number).bytes(1_000_000)
            ts["latest"] = path.name
            ts.save(path)
    with TelescopeState.from_snapshot(paths[0]) as a, TelescopeState.from_snapshot(paths[1]) as b:
        tracemalloc.start()
        try:
            found = compare(a, b)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert [difference.name for difference in found] == ["latest"]
    assert peak < 20_000_000
