"""The safe policy on real pickles of old Pythons: each is read as the value that was written."""

from __future__ import annotations

import gzip
import importlib.util
import json
import pathlib
import warnings
from base64 import b64decode
from collections import defaultdict
from typing import Any

import numpy as np
import pytest

from telstate_codec.pickles import PicklePolicy, load_pickle

DATA = pathlib.Path(__file__).parent / "data"
MERGED = json.loads(gzip.decompress((DATA / "pickles.json.gz").read_bytes()))


def load_describe() -> Any:
    """Load the module with which the writers described their values."""
    spec = importlib.util.spec_from_file_location("describe", DATA / "describe.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.describe


describe = load_describe()
PICKLES = defaultdict(list)
for _name, _protocol, _writers, _expected, _data in MERGED["pickles"]:
    PICKLES[_name].append((_protocol, _writers, MERGED["expected"][_expected], b64decode(_data)))


def safe(value: bytes) -> Any:
    """Load a pickle with the safe policy."""
    return load_pickle(value, PicklePolicy.SAFE)


def one(name: str, protocol: int = 2) -> Any:
    """Load the value that Python 2 wrote under a name."""
    return safe(next(data for number, _, _, data in PICKLES[name] if number == protocol))


def test_data_hold_pickles_of_all_pythons_and_protocols() -> None:
    """The test data hold pickles of every old Python, NumPy and protocol."""
    pythons = {python.rsplit(".", 1)[0] for python, _, _ in MERGED["writers"]}
    assert pythons == {"2.7", "3.6", "3.7", "3.8", "3.9", "3.10", "3.11"}
    numpys = {numpy for python, numpy, _ in MERGED["writers"] if python.startswith("2")}
    assert numpys == {"1.8.2", "1.10.4", "1.13.3", "1.16.6"}
    assert {protocol for cases in PICKLES.values() for protocol, *_ in cases} == {0, 1, 2}
    assert len(PICKLES) > 150


@pytest.mark.parametrize("name", sorted(PICKLES))
def test_safe_policy_reads_what_was_written(name: str) -> None:
    """The pickles of every writer and protocol are read as the value, without a warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for protocol, writers, expected, data in PICKLES[name]:
            context = f"protocol {protocol}, {[MERGED['writers'][index] for index in writers]}"
            assert describe(safe(data)) == expected, context
    assert caught == []


def test_trust_reads_the_same() -> None:
    """The safe policy returns the same as Python's unpickler, including NumPy's byte order."""
    for name, cases in PICKLES.items():
        if name == "structured aligned":  # NumPy 2 drops this flag of NumPy 1 on Python 2
            continue
        for _, _, _, data in cases:
            trusted = load_pickle(data, PicklePolicy.TRUST)
            assert describe(safe(data)) == describe(trusted), name


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_shared_values_stay_shared(protocol: int) -> None:
    """An object that was in several places is a single object again."""
    first, second, third = one("shared", protocol)
    assert first is second and third["again"] is first
    first, second, third = one("array shared", protocol)
    assert first is second and third["gains"] is first
    pair, again, (inner,), keyed = one("shared tuple", protocol)
    assert pair is again is inner is keyed[pair]


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_recursive_values_contain_themselves(protocol: int) -> None:
    """Lists, dictionaries and tuples that contained themselves do so again."""
    recursive = one("recursive list", protocol)
    assert recursive[0] is recursive
    looped = one("recursive dict", protocol)
    assert looped["self"] is looped
    outer = one("recursive tuple", protocol)
    assert outer[0][0] is outer


@pytest.mark.parametrize("name", sorted(name for name in PICKLES if "array" in name))
def test_arrays_own_their_memory_and_can_be_written(name: str) -> None:
    """No array shares its memory with the pickle or with another array."""
    for _, _, _, data in PICKLES[name]:
        value = safe(data)
        for array in value if isinstance(value, list) else [value]:
            if isinstance(array, np.ndarray):
                assert array.flags.owndata and array.flags.writeable


def test_gaps_in_structures_are_as_written() -> None:
    """The bytes between the fields are those of the pickle, not of uninitialised memory."""
    for _, _, _, data in PICKLES["structured offsets"]:
        array = safe(data)
        assert array.tobytes() == bytes(array.nbytes)
