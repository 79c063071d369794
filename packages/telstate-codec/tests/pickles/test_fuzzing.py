"""The safe policy on random pickles: a value or `DecodeError`, and nothing else.

That means no other exception, no warning and no audit event. Pickles that Python writes of random
plain data are read as that data.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
import gzip
import json
import math
import pathlib
import pickle
import pickletools
import warnings
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

import hypothesis.extra.numpy as numpys
import numpy as np
import pytest
from codec_pickles import AUDIT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from telstate_codec.errors import DecodeError
from telstate_codec.pickles import PicklePolicy, load_pickle

DATA = pathlib.Path(__file__).parent / "data" / "pickles.json.gz"
MERGED = json.loads(gzip.decompress(DATA.read_bytes()))
PICKLES = {
    (name, protocol): b64decode(data)
    for name, protocol, writers, _, data in MERGED["pickles"]
    if MERGED["writers"][writers[0]][0].startswith("2.7")
}


def check_all(pickles: Iterable[bytes]) -> int:
    """Load pickles and return how many have a value; fail on any side effect."""
    good = 0
    with warnings.catch_warnings(record=True) as caught, AUDIT as events:
        warnings.simplefilter("always")
        for data in pickles:
            try:
                load_pickle(data, PicklePolicy.SAFE)
                good += 1
            except DecodeError:
                pass
    assert [str(warning.message) for warning in caught] == []
    assert events == []
    return good


CHANGED = [
    ("obs_params", 0),
    ("dict more keys", 2),
    ("longs", 2),
    ("sets", 1),
    ("datetime", 2),
    ("Decimal", 0),
    ("array object", 2),
    ("array datetime64 25us", 2),
    ("scalar void", 2),
    ("structured nested", 2),
    ("structured titles", 2),
    ("recursive tuple 3", 2),
]


def changes(data: bytes) -> Iterator[bytes]:
    """Yield every change of a single byte."""
    for position in range(len(data)):
        for byte in range(256):
            if byte != data[position]:
                yield data[:position] + bytes([byte]) + data[position + 1 :]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "protocol"), CHANGED)
def test_every_change_of_a_byte(name: str, protocol: int) -> None:
    """A pickle with any one byte changed has a value or raises DecodeError."""
    data = PICKLES[name, protocol]
    # For long pickles, only some values of each byte, to save time.
    few = {0, 1, 0x7F, 0x80, 0xFF, *b".(t2bRhq]}NK\x89"}
    if len(data) <= 250:
        check_all(changes(data))
    else:
        check_all(
            data[:position] + bytes([byte]) + data[position + 1 :]
            for position in range(len(data))
            for byte in few
        )


@pytest.mark.slow
@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_every_truncation(protocol: int) -> None:
    """No pickle without its end has a value, and bytes after the end are ignored."""
    for (name, number), data in PICKLES.items():
        if number == protocol:
            step = max(1, len(data) // 100)
            assert check_all(data[:end] for end in range(0, len(data), step)) == 0, name
            assert check_all([data + b"x", data + b"\x80\x02cposix\nsystem\n"]) == 2, name


@pytest.mark.slow
@pytest.mark.parametrize(("name", "protocol"), CHANGED)
def test_bytes_left_out_or_doubled(name: str, protocol: int) -> None:
    """A pickle with a byte missing or doubled has a value or raises DecodeError."""
    data = PICKLES[name, protocol]
    check_all(data[:place] + data[place + 1 :] for place in range(len(data)))
    check_all(data[:place] + data[place - 1 :] for place in range(1, len(data)))


def pieces() -> list[bytes]:
    """Return all opcodes with small arguments, and all instructions of real pickles."""
    found = {bytes([byte]) for byte in range(256)}
    found |= {opcode + bytes([index]) for opcode in (b"q", b"h") for index in range(4)}
    found |= {b"K\x00", b"K\x01", b"M\x00\x01", b"J\xff\xff\xff\xff", b"G" + bytes(8), b"U\x01a"}
    found |= {b"U\x08abcdefgh", b"\x8a\x01\x05", b"X\x02\x00\x00\x00f8", b"C\x04abcd", b"I01\n"}
    for (name, protocol), data in PICKLES.items():
        if protocol == 2 and len(data) < 1000:
            starts = [
                position for _, _, position in pickletools.genops(data) if position is not None
            ]
            found |= {data[start:end] for start, end in zip(starts, starts[1:], strict=False)}
    return sorted(found)


PIECES = pieces()
FINISHED = [
    b"cnumpy\ndtype\n(U\x02f8K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
    b"cnumpy\ndtype\n(U\x01OK\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
    b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR",
    b"cnumpy.core.multiarray\nscalar\n",
    b"cbuiltins\nset\n",
    b"](K\x01K\x02e",
    b"}(K\x01K\x02u",
    b"(K\x01K\x02t",
    b"2",
    b"\x85R",
    b"\x86R",
    b"tR",
    b"tb",
]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(PIECES) | st.sampled_from(FINISHED), max_size=60))
def test_random_instructions(instructions: list[bytes]) -> None:
    """Any sequence of instructions has a value or raises DecodeError."""
    check_all([b"".join(instructions) + b"."])


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=100))
def test_any_bytes(data: bytes) -> None:
    """Any bytes have a value or raise DecodeError."""
    check_all([data, b"\x80\x02" + data, data + b"."])


def values() -> st.SearchStrategy[Any]:
    """Return a strategy for plain data."""
    numbers = st.integers() | st.integers(-(2**600), 2**600) | st.floats() | st.complex_numbers()
    dates = st.datetimes() | st.dates() | st.times() | st.timedeltas()
    exact = st.fractions() | st.decimals(allow_nan=False)
    keys: st.SearchStrategy[Any] = (
        st.none() | st.booleans() | numbers | st.text() | st.binary() | dates | exact
    )
    keys |= st.tuples(keys, keys) | st.frozensets(st.integers())
    dtypes = numpys.scalar_dtypes() | numpys.unicode_string_dtypes() | numpys.byte_string_dtypes()
    dtypes |= numpys.array_dtypes(allow_subarrays=True)
    arrays = numpys.arrays(dtypes, numpys.array_shapes(min_dims=0, min_side=0, max_dims=4))
    leaves = keys | arrays | arrays.filter(lambda array: array.size).map(lambda a: a.flat[0])
    leaves |= (
        st.binary().map(bytearray) | dtypes | st.sampled_from([int, np.float32, object, range(5)])
    )
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=5)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(keys, inner, max_size=5)
        | st.dictionaries(keys, inner, max_size=3).map(OrderedDict)
        | st.sets(keys, max_size=5),
        max_leaves=8,
    )


def same(one: Any, other: Any) -> bool:
    """Return whether two values have the same types, dtypes and bits."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.dtype):
        return bool(one == other) and one.isalignedstruct == other.isalignedstruct
    if isinstance(one, (np.ndarray, np.generic)):
        if one.shape != other.shape or one.dtype.newbyteorder("=") != other.dtype.newbyteorder("="):
            return False
        if isinstance(one, np.ndarray) and one.flags.fnc != other.flags.fnc:
            return False
        return bool(one.dtype.names or one.astype(other.dtype).tobytes() == other.tobytes())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return len(one) == len(other) and all(map(same, one.items(), other.items()))
    if isinstance(one, (set, frozenset)):
        # By their text, because a NaN in a set is not equal to another and cannot be sorted.
        return sorted(map(repr, one)) == sorted(map(repr, other))
    if isinstance(one, float):
        return one == other or math.isnan(one) and math.isnan(other)
    if isinstance(one, complex):
        return same((one.real, one.imag), (other.real, other.imag))
    return bool(one == other) or repr(one) == repr(other)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(values(), st.integers(0, 5))
def test_plain_data_of_this_python(value: Any, protocol: int) -> None:
    """Plain data that this Python and NumPy pickle with any protocol come back equal."""
    loaded = load_pickle(pickle.dumps(value, protocol), PicklePolicy.SAFE)
    assert same(loaded, pickle.loads(pickle.dumps(value, protocol), encoding="latin1"))


def test_types_of_plain_data_of_this_python() -> None:
    """Bytes, sets, long text and arrays are read, for which newer protocols have their own opcodes."""
    everything = {
        "text": ["", "x" * 300, "\u20ac" * 300, "\ud800"],
        "bytes": [b"", b"x" * 300, bytearray(b"x"), bytearray()],
        "sets": [set(), {1}, frozenset(), frozenset({1, 2})],
        "numbers": [2**4000, -1, 1e-5, True, ...],
        "exact": [fractions.Fraction(1, 3), decimal.Decimal("1.5")],
        "times": [datetime.datetime(2020, 1, 1, fold=1), datetime.timezone.utc],
        "slices": [slice(1, 2), range(3)],
        "keys": {(1, "a"): None, frozenset({1}): None, 2**90: None},
    }
    for protocol in range(6):
        data = pickle.dumps(everything, protocol)
        assert same(load_pickle(data, PicklePolicy.SAFE), pickle.loads(data))


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_this_numpy(protocol: int, order: Any) -> None:
    """Arrays own their memory, also in protocol 5, where they are read from a buffer."""
    array = np.array(np.arange(6, dtype=np.float32).reshape(2, 3), order=order)
    loaded: Any = load_pickle(pickle.dumps(array, protocol), PicklePolicy.SAFE)
    assert same(loaded, array)
    assert loaded.flags.owndata and loaded.flags.writeable


def test_keys_of_the_same_hash_do_not_warn() -> None:
    """NumPy's times are keys only among their own type, because old releases warn on comparison."""
    dates = [np.datetime64(5, "s"), np.datetime64(5, "D"), np.timedelta64(5, "s")]
    keys = [5, 5.0, 5 + 0j, np.int8(5), np.float64(5), np.longdouble(5), np.complex64(5), *dates]
    dumped = [pickletools.optimize(pickle.dumps(key, 2))[2:-1] for key in keys]
    inside = [key + b"\x85" for key in dumped]
    pairs = [(one, other) for dump in (dumped, inside) for one in dump for other in dump]
    check_all(b"}" + one + b"Ns" + other + b"Ns." for one, other in pairs)
    check_all(b"\x8f(" + one + other + b"\x90." for one, other in pairs)
    alike = b"}" + dumped[-1] + b"Ns" + dumped[-1] + b"Ns."
    assert load_pickle(alike, PicklePolicy.SAFE) == {keys[-1]: None}
    with pytest.raises(DecodeError, match="NumPy times cannot be keys together with"):
        load_pickle(b"}" + dumped[-1] + b"Ns" + dumped[0] + b"Ns.", PicklePolicy.SAFE)
