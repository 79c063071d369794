"""NumPy arrays and scalars: all dtypes, orders and shapes survive, in NumPy's own bytes."""

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
import pytest
from codec_bytes import extension, npy, saved
from codec_values import LONG_DTYPES, PLAIN_DTYPES, Grid, array, describe, dtype, scalar
from hypothesis import given
from hypothesis import strategies as st

from telstate_codec import (
    ENCODING_PICKLE,
    DecodeError,
    EncodeError,
    decode_value,
    encode_value,
)
from telstate_codec._msgpack.format import CODE_ARRAY  # the codes have no public names

seeds = st.integers(0, 2**32).map(random.Random)


def is_what_numpy_saves(file: bytes, value: np.ndarray[Any, Any]) -> bool:
    """Return whether a file has the same bytes as the one that NumPy writes."""
    expected = saved(value)
    if hasattr(np.lib.format, "GROWTH_AXIS_MAX_DIGITS"):
        return file == expected
    # Older releases pad the header less, which readers ignore.
    return b" ".join(file[10:].split()) == b" ".join(expected[10:].split())


def payload(encoded: bytes) -> bytes:
    """Return the payload of an encoded array."""
    return encoded[encoded.index(b"\x93NUMPY") :]


def check(value: np.ndarray[Any, Any]) -> None:
    """Check that an array survives, alone and within other values, in NumPy's bytes."""
    encoded = encode_value(value)
    # Bytes between the fields of scattered elements may or may not be copied, by either side.
    if value.dtype.names is None or value.flags.forc:
        assert is_what_numpy_saves(payload(encoded), value)
    for result in (
        decode_value(encoded),
        decode_value(encode_value([value]))[0],
        decode_value(encode_value((0, {"a": value})))[1]["a"],
    ):
        assert type(result) is np.ndarray
        assert result.dtype == value.dtype
        assert describe(result) == describe(np.load(io.BytesIO(saved(value)), allow_pickle=False))
        assert result.flags.owndata
        assert result.flags.writeable
        assert result.flags.aligned
        assert encode_value(result) == encoded


@pytest.mark.parametrize("text", PLAIN_DTYPES + LONG_DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (0,), (2, 3), (2, 0, 3), (1, 1), (2, 3, 2)])
def test_every_dtype_survives(text: str, shape: tuple[int, ...]) -> None:
    """Arrays of every dtype and shape, in both orders, come back equal and writable."""
    value = np.zeros(shape, text)
    for ordered in (value, np.asfortranarray(value), value.T):
        check(ordered)


@given(seeds)
def test_any_array_survives(source: random.Random) -> None:
    """Arrays of any dtype, structured or not, and with any layout in memory come back equal."""
    check(array(source))


@given(seeds)
def test_any_scalar_survives(source: random.Random) -> None:
    """Scalars of any dtype keep type, dtype and bytes, alone and within other values."""
    value = scalar(source)
    for result in (
        decode_value(encode_value(value)),
        decode_value(encode_value([value]))[0],
        decode_value(encode_value((0, {"a": value})))[1]["a"],
    ):
        assert type(result) is type(value)
        assert describe(result) == describe(value)
        assert encode_value(result) == encode_value(value)
        if isinstance(value, (str, bytes)):
            assert result == value and len(result) == len(value)
        if value.dtype.kind == "V":
            assert result.flags.writeable


@pytest.mark.parametrize(
    "value",
    [
        np.float64(1.5),
        np.float32("nan"),
        np.float16(-0.0),
        np.longdouble(1) / 3,
        np.complex64(1j),
        np.clongdouble(1j),
        np.int8(-1),
        np.uint64(2**64 - 1),
        np.bool_(True),
        np.str_("caf\xe9"),
        np.str_(""),
        np.str_("a\0\0"),
        np.str_("\0"),
        np.bytes_(b"\xff"),
        np.bytes_(b"\0\xff\0\0"),
        np.bytes_(b""),
        np.void(b"\0\1"),
        np.void(b""),
        np.datetime64("NaT", "ms"),
        np.datetime64("2026-11-22", "D"),
        np.frombuffer(b"\7" + bytes(7), "M8[25us]")[0],
        np.frombuffer(bytes(8), "m8")[0],
        np.timedelta64(5, "ns"),
    ],
    ids=lambda value: f"{type(value).__name__} {value!r}",
)
def test_scalars_keep_their_type(value: Any) -> None:
    """Scalars do not become Python numbers or text, even if their type is a subclass."""
    for _ in range(3):  # the second and third time, from the caches
        result = decode_value(encode_value(value))
        assert type(result) is type(value)
        assert result.dtype == value.dtype
        assert result == value or value != value
        assert type(decode_value(encode_value([value]))[0]) is type(value)


def test_byte_orders_of_scalars_are_kept_apart() -> None:
    """Descriptors of the same type in different byte orders are cached separately."""
    for _ in range(3):
        for order, raw in (("<", b"\1\0\0\0\0\0\0\0"), (">", b"\0\0\0\0\0\0\0\1")):
            encoded = b"\xff\xc7\x0c\x04\xa3" + order.encode() + b"u8" + raw
            assert decode_value(encoded) == 1
            assert type(decode_value(encoded)) is np.uint64


def test_structured_dtypes_survive() -> None:
    """Alignment, titles, sub-arrays, nesting, unusual names and empty dtypes come back equal."""
    for kind in (
        np.dtype("i1,f8", align=True),
        np.dtype({"names": ["a"], "formats": ["i4"], "offsets": [4], "itemsize": 16}),
        np.dtype({"names": ["a"], "formats": ["i4"], "titles": ["Title"]}),
        np.dtype([("a", ">i4", (2, 3)), ("b", [("c", "U3"), ("d", "M8[s]", (1,))], (2,))]),
        np.dtype([("a'b", "i4"), ('"', "i4"), ("\\n", "i4"), ("\n", "i4"), ("\u0416", "i4")]),
        np.dtype([(f"field{number}", "i4") for number in range(5000)]),
        np.dtype([]),
        np.dtype([("a", "V0"), ("b", "S0"), ("c", "i4", (0,))]),
        np.dtype((np.record, [("a", "i4")])),
    ):
        for shape in ((), (2,), (0, 3)):
            value = np.zeros(shape, kind)
            result = decode_value(encode_value(value))
            assert result.dtype == kind
            assert result.shape == shape
            assert result.tobytes() == value.tobytes()
        whole = np.zeros(1, kind)[0]
        assert decode_value(encode_value(whole)).dtype == kind
        assert decode_value(encode_value(whole)).tobytes() == whole.tobytes()


def test_bytes_between_fields_are_kept() -> None:
    """The bytes between aligned fields, which equality depends on, survive."""
    raw = bytes(range(32))
    value = np.frombuffer(raw, np.dtype("i1,f8", align=True))
    assert encode_value(value)[-32:] == raw
    assert encode_value(decode_value(encode_value(value))) == encode_value(value)
    assert encode_value([decode_value(encode_value([value]))[0]]) == encode_value([value])


@pytest.mark.parametrize("count", [4, 20_000])
def test_bytes_between_scattered_fields_are_kept(count: int) -> None:
    """The bytes between fields also survive where the elements are not in C order."""
    inner = np.dtype("i1,f8", align=True)
    for kind in (inner, np.dtype([("number", "u2"), ("inner", inner)])):
        size = kind.itemsize
        raw = bytes(range(1, 251)) * (count * size // 250 + 1)
        elements = [raw[start : start + size] for start in range(0, count * size, size)]
        value = np.frombuffer(raw, kind, count)
        for scattered, expected in (
            (value[::2], elements[::2]),
            (value[::-1], elements[::-1]),
            (value.reshape(2, -1)[:, ::2], elements[::2]),
        ):
            assert encode_value(scattered).endswith(b"".join(expected))
            assert encode_value([scattered]).endswith(b"".join(expected))
        columns = value.reshape(-1, 2).T
        assert encode_value(columns).endswith(b"".join(elements))
        assert encode_value(decode_value(encode_value(columns))) == encode_value(columns)


@pytest.mark.filterwarnings("ignore:.*matrix.*:PendingDeprecationWarning")
def test_subclasses_become_plain_arrays() -> None:
    """A matrix or an instance of any other subclass, except masked arrays, is stored as an array."""
    plain = np.arange(6.0).reshape(2, 3)
    for value in (
        np.matrix(plain),
        plain.view(Grid),
        plain.view(np.memmap),
    ):
        assert encode_value(value) == encode_value(plain)
        assert encode_value([value]) == encode_value([plain])
    record = np.rec.array([(1, 2.0)], dtype="i4,f8")
    assert type(decode_value(encode_value(record))) is np.ndarray
    assert type(decode_value(encode_value(record[0]))) is np.void


@pytest.mark.parametrize(
    "value",
    [
        np.ma.masked_array([1, 2, 3], [False, True, False]),
        np.ma.masked_array([1, 2, 3]),
        np.ma.masked_array(np.zeros(10_000), True),
        np.ma.masked,
        np.ma.masked_array([(1, 2.0)], [(True, False)], "i4,f8")[0],
    ],
    ids=["masked", "not masked", "large", "constant", "element"],
)
def test_masked_arrays_are_refused(value: Any) -> None:
    """A masked array, alone or in another value, raises EncodeError, which says how to keep the mask."""
    for whole in (value, [value], (value,), {"a": (1, value)}):
        with pytest.raises(EncodeError, match=r"mask would be lost.*\.filled\(\).*\.mask"):
            encode_value(whole)


def test_every_version_of_the_file_format_is_read() -> None:
    """Headers of versions 1 to 3, from Python 2, and in any order and spacing are read."""
    for version in [(1, 0), (2, 0), (3, 0)]:
        stream = io.BytesIO()
        np.lib.format.write_array(stream, np.arange(3.0), version)
        assert decode_value(extension(CODE_ARRAY, stream.getvalue())).tolist() == [0.0, 1.0, 2.0]
    for text in (
        "{'descr': '<f8', 'fortran_order': False, 'shape': (3L,)}",
        '{"shape":(3,),"fortran_order":False,"descr":"float64"}\n',
        "{ 'shape' : ( 3 , ) , 'descr' : ( 'd' ) , 'fortran_order' : True , } ",
        r"{'descr': u'\x3cf8', 'fortran_order': False, 'shape': (3,)}",
    ):
        encoded = npy(text, np.arange(3.0).tobytes())
        assert decode_value(encoded).tolist() == [0.0, 1.0, 2.0]


def test_cached_headers_are_right() -> None:
    """More dtypes and shapes than the cache holds are each written as NumPy writes them."""
    source = random.Random(1)
    kinds = [dtype(source) for _ in range(50)]
    values = [np.zeros(shape, kind) for shape in range(40) for kind in kinds]
    for value in values + values[::-1]:
        encoded = encode_value(value)
        assert is_what_numpy_saves(payload(encoded), value)
        assert decode_value(encoded).dtype == value.dtype


def test_shapes_that_only_cost_time_are_refused() -> None:
    """An array of very many elements without bytes is refused, because visiting them takes hours."""
    for value in (np.zeros(2**40, "V0"), np.zeros((2**40, 0))):
        with pytest.raises(EncodeError, match="without bytes"):
            encode_value(value)


@pytest.mark.skipif(not hasattr(np, "dtypes"), reason="needs NumPy 2")
def test_strings_of_variable_width_are_refused() -> None:
    """NumPy 2's StringDType, which holds pointers, has no encoding."""
    kind = getattr(np.dtypes, "StringDType", None)
    if kind is not None:
        with pytest.raises(EncodeError, match="StringDType"):
            encode_value(np.array(["a"], kind()))


@given(st.text(alphabet=st.characters(), max_size=5) | st.binary(max_size=5))
def test_text_and_bytes_keep_their_zeros(value: str | bytes) -> None:
    """NumPy's text and bytes come back character by character, by MessagePack and by pickles."""
    scalar = np.str_(value) if isinstance(value, str) else np.bytes_(value)
    result = decode_value(encode_value(scalar))
    assert result == scalar == value and len(result) == len(value) and type(result) is type(scalar)
    pickled = encode_value([scalar], ENCODING_PICKLE)
    try:
        (result,) = decode_value(pickled, "safe")
    except DecodeError:
        # Text of no characters that exist, which NumPy itself cannot be given by such a pickle.
        assert isinstance(value, str) and any("\ud800" <= one <= "\udfff" for one in value)
    else:
        assert result == scalar == value and len(result) == len(value)


@pytest.mark.parametrize("dtype", ["<U3", ">U3", "|S3"])
def test_stored_zeros_are_kept(dtype: str) -> None:
    """The zeros that another program stored are part of the value, in either byte order."""
    character = "a".encode("utf-32-le" if dtype[0] == "<" else "utf-32-be")
    raw = b"a\0\0" if dtype[1] == "S" else character + bytes(8)
    result = decode_value(extension(4, b"\xa3" + dtype.encode() + raw))
    assert len(result) == 3 and result == ("a\0\0" if dtype[1] == "U" else b"a\0\0")


@pytest.mark.parametrize("count", [65, 1000, 20_000])
def test_arrays_of_many_dimensions_are_refused_at_once(count: int) -> None:
    """More dimensions than NumPy has are refused before anything is computed from them."""
    for length in (1, 0, 10**19):
        shape = ", ".join([str(length)] * count)
        for text in (
            f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({shape}), }}",
            f"{{'descr': [('a', '<f8', ({shape}))], 'fortran_order': False, 'shape': (), }}",
        ):
            with pytest.raises(DecodeError, match=f"{count} dimensions"):
                decode_value(npy(text, version=2))
