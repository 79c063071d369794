"""Plain Python values: their bytes, their types, and values without an encoding."""

from __future__ import annotations

import gc
import math
import subprocess
import sys
import threading
from typing import Any

import msgpack
import numpy as np
import pytest
from codec_values import REFUSED, Blob, Listing, Mapping, Pair, Phasor, Text, Triple, describe
from hypothesis import given
from hypothesis import strategies as st

from telstate_codec import (
    ALLOWED_ENCODINGS,
    ENCODING_DEFAULT,
    ENCODING_MSGPACK,
    ENCODING_PICKLE,
    PICKLE_PROTOCOL,
    DecodeError,
    EncodeError,
    PicklePolicy,
    decode_value,
    encode_value,
    equal_encoded_values,
)

TABLE: list[tuple[Any, bytes]] = [
    (None, b"\xc0"),
    (True, b"\xc3"),
    (False, b"\xc2"),
    (0, b"\x00"),
    (127, b"\x7f"),
    (128, b"\xcc\x80"),
    (-1, b"\xff"),
    (-33, b"\xd0\xdf"),
    (2**64 - 1, b"\xcf" + b"\xff" * 8),
    (-(2**63), b"\xd3\x80" + bytes(7)),
    (1.5, b"\xcb\x3f\xf8" + bytes(6)),
    (-0.0, b"\xcb\x80" + bytes(7)),
    ("", b"\xa0"),
    ("caf\xe9", b"\xa5caf\xc3\xa9"),
    ("x" * 32, b"\xd9\x20" + b"x" * 32),
    (b"", b"\xc4\x00"),
    (b"\xff", b"\xc4\x01\xff"),
    (bytes(65536), b"\xc6\x00\x01\x00\x00" + bytes(65536)),
    ([], b"\x90"),
    ([1, [2]], b"\x92\x01\x91\x02"),
    ({}, b"\x80"),
    ({"b": 1, "a": 2}, b"\x82\xa1b\x01\xa1a\x02"),
    ({1: 2, (1,): b"", b"k": None}, b"\x83\x01\x02\xd5\x01\x91\x01\xc4\x00\xc4\x01k\xc0"),
    ((), b"\xd4\x01\x90"),
    ((1,), b"\xd5\x01\x91\x01"),
    ((1, 2), b"\xc7\x03\x01\x92\x01\x02"),
    ((1, (2, [3])), b"\xd7\x01\x92\x01\xd6\x01\x92\x02\x91\x03"),
    ([(), {"a": ()}], b"\x92\xd4\x01\x90\x81\xa1a\xd4\x01\x90"),
    (1 + 2j, b"\xd8\x02\x3f\xf0" + bytes(6) + b"\x40" + bytes(7)),
]


@pytest.mark.parametrize(("value", "encoded"), TABLE)
def test_values_have_these_bytes(value: Any, encoded: bytes) -> None:
    """Each kind of value is written as these bytes, and they are read as that value."""
    assert encode_value(value) == b"\xff" + encoded
    assert describe(decode_value(b"\xff" + encoded)) == describe(value)


plain = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(),
        st.complex_numbers(),
        st.text(),
        st.binary(),
    ),
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.dictionaries(st.one_of(st.text(), st.binary(), st.integers(-99, 99)), inner),
        st.dictionaries(st.tuples(st.text(), st.integers(-99, 99)), inner),
    ),
)


@given(plain)
def test_values_come_back_with_their_types(value: Any) -> None:
    """Plain values are decoded to what was encoded, types, order and NaN included."""
    encoded = encode_value(value)
    assert describe(decode_value(encoded)) == describe(value)
    assert encode_value(decode_value(encoded)) == encoded


@given(st.integers())
def test_integers_are_stored_or_refused(value: int) -> None:
    """Integers from -2**63 to 2**64-1 are stored, and others refused."""
    if -(2**63) <= value < 2**64:
        assert decode_value(encode_value(value)) == value
    else:
        with pytest.raises(EncodeError, match="integer.*range"):
            encode_value(value)


@pytest.mark.parametrize("value", REFUSED, ids=lambda value: type(value).__name__)
def test_values_without_an_encoding_raise_encode_error(value: Any) -> None:
    """Values that cannot be stored are refused, alone and within others."""
    for outer in (value, [value], (value,), {"a": (value, 1)}):
        with pytest.raises(EncodeError):
            encode_value(outer)


@pytest.mark.parametrize("value", [Text("a"), Blob(b"a"), Listing([1]), Mapping(a=1), {1}])
def test_the_error_names_the_type(value: Any) -> None:
    """The message names an unknown type and its module, also for subclasses of known types."""
    with pytest.raises(EncodeError, match=rf"type (codec_values\.)?{type(value).__name__} cannot"):
        encode_value([1, value])


def test_subclasses_of_tuple_and_complex_become_plain() -> None:
    """A named tuple is stored as a tuple, and an instance of a subclass of complex as a complex."""
    for value in (Pair(1, 2), Triple((1, 2))):
        assert encode_value(value) == encode_value((1, 2))
        assert encode_value([value]) == encode_value([(1, 2)])
    assert encode_value([Phasor(1, 2)]) == encode_value([1 + 2j])
    assert encode_value(Phasor(1, 2)) == encode_value(1 + 2j)


def test_other_bytes_like_objects_become_bytes() -> None:
    """A bytearray and a memoryview are stored as their bytes."""
    for value in (bytearray(b"ab"), memoryview(b"ab")):
        assert decode_value(encode_value(value)) == b"ab"


def test_timestamps_of_msgpack_are_passed_through() -> None:
    """msgpack's timestamps are written and read, as every version of the original does."""
    assert decode_value(encode_value(msgpack.Timestamp(1, 2))) == msgpack.Timestamp(1, 2)


class Holder:
    """An instance of a plain class, whose dictionary CPython 3.13 hides from the garbage collector."""

    item: object = None

    def attributes(self, item: object) -> dict[str, object]:
        """Set an attribute, and return the dictionary of all of them."""
        self.item = item
        return vars(self)


holder = Holder()


@given(
    st.integers(0, 127),
    st.binary(max_size=20),
    st.sampled_from(
        [
            lambda one: one,
            lambda one: [one],
            lambda one: [0, "a", [1.5, [one]]],
            lambda one: [*[1.5] * 20, one],
            lambda one: (one,),
            lambda one: {"a": {"b": [one]}},
            lambda one: {one: 1},
            lambda one: {(one,): 1},
            lambda one: [2j, np.float32(1), (), (1, [one])],
            lambda one: [1, Pair("a", {"b": Pair(1, one)})],
            lambda one: [np.zeros(9999), (np.zeros(9999), one)],
            lambda one: (np.zeros(9999), [one]),
            lambda one: [1, holder.attributes(one)],
        ]
    ),
)
def test_extension_types_of_msgpack_are_refused(code: int, data: bytes, wrap: Any) -> None:
    """Nobody could read them again, so they are an `EncodeError`, whatever their code and place."""
    with pytest.raises(EncodeError, match="ExtType"):
        encode_value(wrap(msgpack.ExtType(code, data)))


@given(st.lists(st.integers(0, 255) | st.floats() | st.text() | st.complex_numbers(), max_size=8))
def test_values_that_look_like_extension_types_are_encoded(value: Any) -> None:
    """Bytes with which extension types begin are no reason to refuse a value."""
    assert encode_value(decode_value(encode_value([value]))) == encode_value([value])


def test_a_value_that_contains_itself_is_an_encode_error() -> None:
    """Lists, dictionaries and tuples that contain themselves are refused, also within a named tuple."""
    endless_list: list[Any] = []
    endless_list.append(endless_list)
    endless_dict: dict[str, Any] = {}
    endless_dict["a"] = (endless_dict,)
    for value in (endless_list, endless_dict, (endless_list,), [Pair(endless_list, 1)]):
        with pytest.raises(EncodeError, match="deep"):
            encode_value(value)


def test_encoding_works_after_an_error() -> None:
    """An error leaves no state behind that affects the next value."""
    for value in ([1, 2, {3}], (1, [2, {3}]), [np.zeros(9999), {1}], (np.zeros(9999), {1})):
        with pytest.raises(EncodeError):
            encode_value(value)
        assert encode_value([(1, 2)]) == b"\xff\x91\xc7\x03\x01\x92\x01\x02"


def test_bytes_like_input_is_decoded() -> None:
    """A bytearray and a memoryview are decoded like bytes, and nothing else is."""
    for value in (1, "a", np.float64(1.5), np.arange(3.0), (1, "a"), [1] * 1000):
        encoded = encode_value(value)
        expected = describe(value)
        assert describe(decode_value(bytearray(encoded))) == expected
        assert describe(decode_value(memoryview(encoded))) == expected
        assert describe(decode_value(memoryview(bytearray(encoded)))) == expected
    for wrong in ("text", None, 5, [255, 1]):
        with pytest.raises(TypeError, match="must be bytes"):
            decode_value(wrong)  # type: ignore[arg-type]  # the wrong type is the test


def test_encodings() -> None:
    """MessagePack is the default, pickle is possible, and any other encoding is an error."""
    assert (ENCODING_DEFAULT, ENCODING_MSGPACK, ENCODING_PICKLE) == (b"\xff", b"\xff", b"\x80")
    assert ALLOWED_ENCODINGS == {ENCODING_MSGPACK, ENCODING_PICKLE}
    assert PICKLE_PROTOCOL == 2
    pickled = encode_value((1, "a"), ENCODING_PICKLE)
    assert pickled[:2] == b"\x80\x02"
    assert decode_value(pickled, "safe") == (1, "a")
    assert decode_value(pickled, PicklePolicy.TRUST) == (1, "a")
    with pytest.raises(DecodeError, match="KATSDPTELSTATE_ALLOW_PICKLE=1"):
        decode_value(pickled, False)
    with pytest.raises(ValueError, match="not known"):
        encode_value(1, b"\x01")


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (b"\xff\x01", b"\xff\x01", True),
        (b"", b"", True),
        (encode_value("caf\xe9"), encode_value("caf\xe9".encode()), True),
        (encode_value("caf\xe9"), encode_value("caf\xe9".encode("latin-1")), False),
        (b"\xff\xa1a", b"\xff\xd9\x01a", True),
        (b"\xff\x01", b"\xff\xcc\x01", False),
        (encode_value(1), encode_value(1.0), False),
        (encode_value(0.0), encode_value(-0.0), False),
        (encode_value(["a"]), encode_value([b"a"]), False),
        (encode_value("a"), encode_value(np.str_("a")), True),
        (encode_value("a"), encode_value(np.array("a")), False),
        (encode_value(1.5), encode_value(np.float64(1.5)), False),
        (encode_value(None), encode_value("None"), False),
    ],
)
def test_equality_of_encoded_values(a: bytes, b: bytes, equal: bool) -> None:
    """Equal bytes are equal, text is equal to the bytes of its UTF-8, and nothing else is equal."""
    assert equal_encoded_values(a, b) is equal
    assert equal_encoded_values(b, a) is equal


def test_equality_of_invalid_values_raises_decode_error() -> None:
    """Different bytes, of which one is not a value, raise DecodeError."""
    with pytest.raises(DecodeError):
        equal_encoded_values(b"\x90", b"\xff\x01")


def test_import_does_not_load_numpy() -> None:
    """NumPy is loaded with the first array or scalar, and not for plain values."""
    program = """
import sys
from telstate_codec import EncodeError, decode_value, encode_value
value = {"a": [1, (2.5, 1j), b"c"], "t": "x"}
assert decode_value(encode_value(value)) == value
try:
    encode_value({1})
except EncodeError:
    pass
assert "numpy" not in sys.modules
scalar = decode_value(bytes.fromhex("ffc70c04a33c6638000000000000f83f"))
assert "numpy" in sys.modules
assert type(scalar).__name__ == "float64" and scalar == 1.5
assert encode_value([scalar]) == bytes.fromhex("ff91") + encode_value(scalar)[1:]
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_threads_do_not_disturb_each_other() -> None:
    """Threads that encode and decode nested values at the same time get their own results."""
    failures: list[object] = []
    start = threading.Barrier(8)

    def work(number: int) -> None:
        value = [(number, ("x" * number, (float(number), [np.float64(number)]))), {"k": number}]
        large = (number, [np.full(5000, number)])
        encoded, encoded_large = encode_value(value), encode_value(large)
        start.wait()
        for _ in range(300):
            if encode_value(value) != encoded or decode_value(encoded) != value:
                failures.append(number)
            if encode_value(large) != encoded_large or encode_value(number) != encode_value(number):
                failures.append(number)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert failures == []


def test_deep_tuples_in_a_thread_with_a_small_stack() -> None:
    """Tuples of the greatest depth fit on a C stack of half a megabyte."""
    value: Any = math.pi
    for _ in range(128):
        value = (value,)
    results: list[object] = []
    size = threading.stack_size(2**19)
    gc.disable()  # so that objects of other tests are not finalised on this small stack
    try:
        thread = threading.Thread(target=lambda: results.append(decode_value(encode_value(value))))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(size)
        gc.enable()
    assert results == [value]
