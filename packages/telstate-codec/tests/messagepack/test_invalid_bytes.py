"""Decoding any bytes returns a value or raises `DecodeError`, in memory proportional to their size."""

from __future__ import annotations

import gc
import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
from codec_bytes import array, extension, npy
from hypothesis import given
from hypothesis import strategies as st

from telstate_codec import DecodeError, decode_value, encode_value

HUGE = b"\xff\xff\xff\xff"
MEGABYTE = 2**20

EVERYTHING: dict[Any, Any] = {
    "none": [None, True, False],
    "int": [0, -1, 127, -128, 255, -(2**15), 2**16 - 1, 2**32 - 1, 2**63, -(2**63)],
    "float": 1.5,
    "text": "caf\xe9",
    b"bytes": b"\x00\xff",
    ("tuple", (1, ())): ((1, (2,)), [()]),
    "complex": 1 + 2j,
    -1: {2: {3.5: None}},
    "scalars": [np.float64(1.5), np.int8(1), np.str_("a"), np.datetime64(3, "s"), np.bool_(True)],
    "record": np.zeros(1, [("a", "<i2"), ("b", ">f4", (2,))])[0],
    "array": np.arange(2, dtype="<i2"),
    "fortran": np.asfortranarray(np.ones((2, 2), "u1")),
    "structured": np.zeros((), np.dtype("i1,M8[s]", align=True)),
}


def decodes(value: bytes) -> bool:
    """Return whether bytes can be decoded; any exception but DecodeError fails the test."""
    try:
        decode_value(value, allow_pickle=False)
    except DecodeError as error:
        assert str(error)
        return False
    return True


@pytest.mark.parametrize("change", [1, 0x80, 0x40, 0xFF])
def test_changed_bytes_are_a_value_or_a_decode_error(change: int) -> None:
    """A value of all types in which any one byte is changed is decoded or refused."""
    whole = encode_value(EVERYTHING)
    for index in range(len(whole)):
        decodes(whole[:index] + bytes([whole[index] ^ change]) + whole[index + 1 :])


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_every_change_of_every_byte_is_a_value_or_a_decode_error(part: int) -> None:
    """The same holds for all 255 changes of each byte."""
    whole = bytearray(encode_value(EVERYTHING))
    for index in range(part, len(whole), 8):
        right = whole[index]
        for wrong in range(256):
            whole[index] = wrong
            decodes(bytes(whole))
        whole[index] = right


def test_every_truncation_raises_decode_error() -> None:
    """A value of all types is refused if any number of bytes is missing at its end."""
    whole = encode_value(EVERYTHING)
    assert decodes(whole)
    assert [size for size in range(len(whole)) if decodes(whole[:size])] == []


@pytest.mark.parametrize("value", [encode_value(one) for one in EVERYTHING.values()])
def test_bytes_after_the_end_raise_decode_error(value: bytes) -> None:
    """A value of any type with another byte after its end is refused."""
    assert decodes(value)
    assert not decodes(value + b"\0")


@given(st.binary(max_size=300))
def test_random_messagepack_is_a_value_or_a_decode_error(body: bytes) -> None:
    """Any bytes after the header byte are decoded or refused."""
    decodes(b"\xff" + body)


@given(st.integers(1, 4), st.binary(max_size=200))
def test_random_payloads_are_a_value_or_a_decode_error(code: int, payload: bytes) -> None:
    """Any payload of our extension types is decoded or refused."""
    decodes(extension(code, payload))


@given(
    st.recursive(
        st.one_of(
            st.text(max_size=5),
            st.integers(-1, 2**40),
            st.sampled_from(
                ["<f8", "|V0", "<U0", "O", "|b1", "f4,f4", "3i4", "<M8[0s]", "a3", None]
            ),
        ),
        lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple),
        max_leaves=8,
    ),
    st.one_of(st.integers(), st.lists(st.integers(-1, 2**40), max_size=3).map(tuple)),
    st.binary(max_size=20),
)
def test_random_descriptors_are_a_value_or_a_decode_error(
    descr: object, shape: object, raw: bytes
) -> None:
    """Any descriptor of a dtype, in an array's header or in a scalar, is decoded or refused."""
    decodes(array(repr(descr), repr(shape), raw))
    decodes(extension(4, encode_value(descr)[1:] + raw))


@given(
    st.text(st.sampled_from("{}[]()',:\\\"xuTrueFalsNo0123456789LdecrshapfotR_-< |"), max_size=80)
)
def test_random_headers_are_a_value_or_a_decode_error(text: str) -> None:
    """Any text as the header of an array is decoded or refused."""
    decodes(npy(text))


FORGED = {
    "array32 of 2**32-1": b"\xff\xdd" + HUGE,
    "array16 of 2**16-1": b"\xff\xdc\xff\xff",
    "map32 of 2**32-1": b"\xff\xdf" + HUGE,
    "map16 of 2**16-1": b"\xff\xde\xff\xff",
    "bin32 of 2**32-1": b"\xff\xc6" + HUGE,
    "str32 of 2**32-1": b"\xff\xdb" + HUGE,
    "ext32 of 2**32-1": b"\xff\xc9" + HUGE + b"\x03",
    "ext8 of 255": b"\xff\xc7\xff\x01",
    "lists of a list as long as the value": b"\xff" + b"\xdd\x00\x01\x00\x00" * 30000,
    "lists of a list of 512": b"\xff" + b"\xdc\x02\x00" * 30000,
    "lists of a list of 4096": b"\xff" + b"\xdc\x10\x00" * 1000,
    "lists of a list of floats": b"\xff" + b"\xdc\x10\x00" * 900 + b"\xcb" + bytes(8),
    "maps of a map as long as the value": b"\xff" + b"\xdf\x00\x01\x00\x00\xa1a" * 30000,
    "shape of 2**40": array("'<f8'", "(1099511627776,)"),
    "shape of many axes": array("'<f8'", repr((1,) * 100), bytes(8)),
    "shape whose product overflows": array("'<f8'", f"({2**62}, {2**62})"),
    "shape of a huge number": array("'<f8'", f"({'9' * 5000},)"),
    "negative shape": array("'<f8'", "(-1,)", bytes(8)),
    "shape of booleans": array("'<f8'", "(True,)", bytes(8)),
    "shape that is a list": array("'<f8'", "[1]", bytes(8)),
    "too few elements": array("'<f8'", "(2,)", bytes(8)),
    "too many elements": array("'<f8'", "(2,)", bytes(24)),
    "object dtype": array("'|O'", "(1,)", b"\x80\x02N."),
    "object dtype, no elements": array("'|O'", "(0,)"),
    "object dtype in a structured one": array("[('a', '<i4'), ('b', '|O')]", "(1,)", bytes(12)),
    "string dtype of NumPy 2": array("'|T16'", "(1,)", bytes(16)),
    "comma string as dtype": array("'i4,f8'", "(1,)", bytes(12)),
    "repeated dtype": array("'2i4'", "(1,)", bytes(8)),
    "dtype that warns": array("'a3'", "(1,)", bytes(3)),
    "dtype with a unit of zero": array("'<M8[0s]'", "(1,)", bytes(8)),
    "dtype that overflows": array("'|V99999999999'", "(0,)"),
    "dtype of text that overflows": array("'<U1073741824'", "(0,)"),
    "huge elements": array("'|V1000000000'", "()"),
    "huge text": array("'<U100000000'", "()"),
    "huge field": array("[('a', '<f8', (100000000,))]", "()"),
    "fields that overflow": array("[('a', '|V2147483647'), ('b', '|V2147483647')]", "()"),
    "very many elements without bytes": array("'|V0'", "(1099511627776,)"),
    "very much text without bytes": array("'<U0'", "(1099511627776,)"),
    "very many structures without bytes": array("[]", "(1099511627776,)"),
    "very many rows without bytes": array("'<f8'", "(1099511627776, 0)"),
    "very many elements without bytes in a field": array("[('a', '|V0', (2000000000,))]", "()"),
    "very many rows without bytes in a field": array("[('a', '<f8', (2000000000, 0))]", "()"),
    "fields of the same name": array("[('a', '<i4'), ('a', '<i4')]", "()", bytes(8)),
    "dtype that is a number": array("8", "()", bytes(8)),
    "dtype that is a tuple": array("('<i4', (2,))", "()", bytes(8)),
    "order that is a number": array("'<f8'", "()", bytes(8), order="0"),
    "Python code in the header": npy("__import__('os').system('true')"),
    "Python code in the shape": array("'<f8'", "(__import__('os').getpid(),)"),
    "Python code in the dtype": array("exec('1')", "()"),
    "arithmetic in the header": array("'<f8'", "(2**40,)"),
    "comprehension in the header": array("'<f8'", "[0 for _ in range(10**9)]"),
    "format string in the header": array("f'{9**9**9}'", "()"),
    "header with too many brackets": npy("[" * 50000),
    "header with many minus signs": array("'<f8'", "(" + "-" * 50000 + "1,)"),
    "header with an unknown key": npy(
        "{'descr': '<f8', 'fortran_order': False, 'shape': (), 'x': 1}"
    ),
    "header with the same key twice": npy("{'descr': '<f8', 'descr': '|O', 'shape': ()}"),
    "header that is a list": npy("[1, 2]"),
    "empty header": npy(""),
    "header followed by text": npy(
        "{'descr': '|u1', 'fortran_order': False, 'shape': ()} + 1", b"\0"
    ),
    "header with a null character": array("'<f8\0'", "()", bytes(8)),
    "header with an unknown escape": array(r"'\d'", "()"),
    "header not in its encoding": npy(b"{'descr': [('\xff', '<f8')]}", version=3),
    "huge header": extension(3, b"\x93NUMPY\x02\x00" + HUGE + b"{"),
    "version 9": npy("{'descr': '<f8', 'fortran_order': False, 'shape': ()}", bytes(8), version=9),
    "array that is not a .npy file": extension(3, b"PK\x03\x04" + bytes(200)),
    "array that is a pickle": extension(3, b"\x80\x02]q\x00."),
    "tuple that is not a list": extension(1, b"\x01"),
    "tuple that is a map": extension(1, b"\x80"),
    "tuple followed by another object": extension(1, b"\x90\x90"),
    "tuple with an empty payload": extension(1, b""),
    "complex of 15 bytes": extension(2, bytes(15)),
    "complex of 17 bytes": extension(2, bytes(17)),
    "scalar of objects": extension(4, b"\xa2|O" + bytes(8)),
    "scalar with too few bytes": extension(4, b"\xa3<f8" + bytes(7)),
    "scalar with too many bytes": b"\xff\xc7\x0d\x04\xa3<f8" + bytes(9),
    "scalar without a dtype": extension(4, b""),
    "scalar with a truncated dtype": extension(4, b"\xbf<f8"),
    "scalar of invalid text": extension(4, b"\xa3<U1" + HUGE),
    "extension of an unknown type": extension(5, b"abc"),
    "extension of a negative type": extension(0x80, b"abc"),
    "invalid timestamp": extension(0xFF, b"abc"),
    "text that is not UTF-8": b"\xff\xa2\xc3\x28",
    "byte that MessagePack does not use": b"\xff\xc1",
    "lists 100,000 deep": b"\xff" + b"\x91" * 100_000 + b"\xc0",
    "maps 100,000 deep": b"\xff" + b"\x81\xa1a" * 100_000 + b"\xc0",
    "keys 100,000 deep": b"\xff" + b"\x81" * 100_000 + b"\xc0" * 100_001,
    "list as a key": b"\xff\x81\x90\x01",
    "map as a key": b"\xff\x81\x80\x01",
    "array as a key": b"\xff\x81" + encode_value(np.zeros(1))[1:] + b"\x01",
    "tuple of lists as a key": b"\xff\x81" + encode_value(([],))[1:] + b"\x01",
    "unknown header byte": b"\x90\x01",
    "empty value": b"",
    "header byte alone": b"\xff",
}


def nested_tuples(depth: int, filling: bytes = b"\xc0") -> bytes:
    """Return an encoded value of nested tuples, each of which also holds the filling."""
    sizes = [2 + len(filling)]
    for _ in range(depth - 1):
        sizes.append(1 + len(filling) + 6 + sizes[-1])
    headers = [b"\xc9" + struct.pack(">IB", size, 1) + b"\x92" + filling for size in sizes]
    return b"\xff" + b"".join(reversed(headers)) + b"\xc0"


def tuples_of_lists(depth: int, lists: bytes) -> bytes:
    """Return an encoded value of nested tuples, each inside all the lists of the one around it."""
    payload = b"\x91\xc0"
    for _ in range(depth):
        payload = lists + b"\xc9" + struct.pack(">IB", len(payload), 1) + payload
    return extension(1, payload)


FORGED["lists of 512 in small tuples"] = tuples_of_lists(100, b"\xdc\x02\x00" * 20)
FORGED["lists of 512 in large tuples"] = tuples_of_lists(14, b"\xdc\x02\x00" * 500)
FORGED["tuples 100,000 deep"] = nested_tuples(100_000)
FORGED["tuples 100 deep, and large"] = nested_tuples(100, b"\xc4\x80" + bytes(128)) + bytes(
    MEGABYTE
)
FORGED["large tuples 128 deep"] = nested_tuples(128, b"\xc5\xff\xff" + bytes(2**16 - 1))


@pytest.mark.parametrize("name", FORGED)
def test_forged_values_are_refused_within_the_memory_of_their_input(name: str) -> None:
    """Values that claim to be larger than they are, or are not allowed, are refused early."""
    value = FORGED[name]
    decodes(value)  # so that imports and caches do not count
    gc.collect()
    tracemalloc.start()
    try:
        refused = not decodes(value)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused
    assert peak < 5 * MEGABYTE + 40 * len(value)


def test_the_last_of_equal_keys_wins() -> None:
    """A map with the same key twice is decoded with the last of its values."""
    assert decode_value(b"\xff\x82\xa1a\x01\xa1a\x02") == {"a": 2}
    assert decode_value(b"\xff\x82\x01\x01\x01\x02") == {1: 2}


def test_keys_made_to_have_the_same_hash_are_refused() -> None:
    """A map of thousands of keys with the same hash is refused without being made."""
    # hash(-1) == hash(-2), so these tuples of 14 all have the same hash.
    tuples = [tuple(-1 - (number >> bit & 1) for bit in range(14)) for number in range(2**14)]
    body = b"".join(encode_value(key)[1:] + b"\x00" for key in tuples)
    with pytest.raises(DecodeError, match="same hash"):
        decode_value(b"\xff\xde" + struct.pack(">H", len(tuples)) + body)


def test_tuples_are_read_as_deep_as_they_are_written() -> None:
    """Tuples 128 deep are written and read, with other values inside and around them."""
    value: Any = 1
    for depth in range(128):
        value = (value, [depth])
    assert decode_value(encode_value(value)) == value
    assert decode_value(encode_value({"a": [value]})) == {"a": [value]}


@pytest.mark.parametrize("depth", [2, 127, 128])
@pytest.mark.parametrize("inner", [{1: 2}, [0] * 600])
def test_the_slow_passes_reach_into_tuples(inner: Any, depth: int) -> None:
    """Values that the quick pass does not read are read at any depth of tuples."""
    value = inner
    for _ in range(depth):
        value = (value,)
    assert decode_value(encode_value(value)) == value


@pytest.mark.parametrize("count", [511, 512, 513, 4095, 4096, 4097, 70000])
def test_long_lists_of_any_items_are_read(count: int) -> None:
    """Long lists are decoded, also if their bytes look like lists or mostly like floats."""
    floats: list[Any] = [number * 0.7 for number in range(count)]
    values: list[list[Any]] = [
        floats,
        floats[:-1] + [1],
        [1] + floats[1:],
        [0xDC] * count,
        [0xDC02DD00] * count,
        ["text"] * (count - 1) + [[0] * 600],
    ]
    for value in values:
        assert decode_value(encode_value(value)) == value
        assert decode_value(encode_value(tuple(value))) == tuple(value)


@pytest.mark.parametrize("count", [511, 512, 513, 4095, 4096, 4097, 70000])
def test_lists_of_any_length_are_read(count: int) -> None:
    """Lists on both sides of the limits of each pass are decoded."""
    value = list(range(count))
    for whole in (value, [value], (value,), tuple(value), {"a": value}, {1: value}):
        assert decode_value(encode_value(whole)) == whole


def test_messages_say_what_is_wrong() -> None:
    """The message says which byte, type or size is wrong."""
    for value, text in [
        (b"", "empty"),
        (b"\x90", "0x90.*newer version"),
        (b"\xff", "too early"),
        (b"\xff\xc1", "0xc1"),
        (b"\xff\x01\x01", "after its end"),
        (b"\xff\xd4\x05x", "extension type 5"),
        (FORGED["lists 100,000 deep"], "nested too deeply"),
        (FORGED["tuples 100,000 deep"], "deep"),
        (FORGED["object dtype"], "Python objects"),
        (FORGED["too few elements"], "takes 16 bytes, but 8"),
        (FORGED["Python code in the shape"], "literal.*__import__"),
        (FORGED["list as a key"], "unhashable"),
        (FORGED["text that is not UTF-8"], "utf-8"),
        (FORGED["complex of 15 bytes"], "16 bytes, not 15"),
        (FORGED["version 9"], "version 9.0"),
    ]:
        with pytest.raises(DecodeError, match=text):
            decode_value(value)
