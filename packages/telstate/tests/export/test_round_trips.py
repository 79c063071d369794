"""Files of JSON lines and Parquet give back every store that was exported."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telstate import TelescopeState, compare, export, import_file, set_allow_pickle
from telstate_backends import Export, Keys
from telstate_testing import example_count
from telstate_testing.observations import write_old_observation

#: Formats that lose nothing.
SUFFIXES = [".jsonl", ".jsonl.gz", ".parquet"]

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).map(str.encode)
KEYS = NAMES | st.binary(min_size=1, max_size=4) | st.just(b'{"$bytes": "eA=="}')
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(width=64)
    | st.text(max_size=5)
    | st.binary(max_size=5)
)
#: Other values; `telstate_codec.json_form` has tests of its own.
OTHERS: list[Any] = [
    1 - 2j,
    complex(math.nan, -math.inf),
    (1, ("a", b"b")),
    [],
    {"a": 1, 2: (None,)},
    {"$tuple": []},
    '{"$tuple": []}',
    '{"$encoded": "gA=="}',
    "\0",
    float.fromhex("0x0.0000000000001p-1022"),
    -0.0,
    np.float64(1.5),
    np.float32("nan"),
    np.float16(0.1),
    np.longdouble(1) / 3,
    np.int64(5),
    np.uint64(2**64 - 1),
    np.bool_(True),
    np.str_("text"),
    np.bytes_(b"bytes"),
    np.complex64(1j),
    np.datetime64("2026-11-30T12:00:00.123456789"),
    np.array(7),
    np.arange(6.0).reshape(2, 3),
    np.asfortranarray(np.eye(2, 3, dtype=">c8")),
    np.array([(1, "a")], [("x", "i2"), ("y", "U1")]),
]
SUB_KEYS = SCALARS | st.tuples(SCALARS, SCALARS)
VALUES = SCALARS | st.sampled_from(OTHERS)
TIMES = st.floats(0, 1e10) | st.floats(0, allow_infinity=False) | st.floats(1.5e9, 1.7e9)
CONTENTS = st.dictionaries(
    KEYS,
    st.tuples(st.just("immutable"), VALUES)
    | st.tuples(st.just("mutable"), st.lists(st.tuples(TIMES, VALUES), min_size=1, max_size=5))
    | st.tuples(st.just("indexed"), st.lists(st.tuples(SUB_KEYS, VALUES), min_size=1, max_size=3)),
    max_size=5,
)


def filled(contents: dict[bytes, tuple[str, Any]]) -> TelescopeState:
    """Return a telescope state with contents as above."""
    ts = TelescopeState()
    for key, (kind, content) in contents.items():
        if kind == "immutable":
            ts[key] = content
        elif kind == "mutable":
            ts.add_many(key, [value for _, value in content], [time for time, _ in content])
        else:
            for sub_key, value in content:
                if ts.get_indexed(key, sub_key, return_encoded=True) is None:
                    ts.set_indexed(key, sub_key, value)
    return ts


def stored(ts: TelescopeState) -> dict[bytes, Any]:
    """Return everything that a telescope state holds, as bytes."""
    return {key: ts.backend.execute(Export(key)) for key in ts.backend.execute(Keys())}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("policy", [False, "safe"])
def test_pickles(tmp_path: Path, suffix: str, policy: Literal[False, "safe"]) -> None:
    """Pickles come back as they were, or as their values, if the policy allows to read them."""
    write_old_observation(tmp_path / "old.rdb")
    old, copy = TelescopeState.from_snapshot(tmp_path / "old.rdb"), TelescopeState()
    set_allow_pickle(policy)
    try:
        report = export(old, tmp_path / f"out{suffix}")
        assert import_file(copy, tmp_path / f"out{suffix}").keys == report.keys
        assert compare(old, copy) == []
    finally:
        set_allow_pickle(False)
    if policy:
        assert report.encoded == ("1600000000_obs_catalogue",)
    else:
        assert len(report.encoded) == report.keys
        assert stored(copy) == stored(old)


@given(contents=CONTENTS)
@settings(max_examples=example_count(50))
def test_any_store(contents: dict[bytes, tuple[str, Any]]) -> None:
    """A store comes back byte for byte, whatever it holds."""
    ts = filled(contents)
    with tempfile.TemporaryDirectory() as folder:
        for suffix in SUFFIXES:
            path, copy = Path(folder, f"observation{suffix}"), TelescopeState()
            report = export(ts, path, keep_empty=True)
            assert report.encoded == ()
            assert import_file(copy, path).keys == report.keys == len(contents)
            assert stored(copy) == stored(ts)
            assert compare(ts, copy) == []
