"""Encoding and decoding of single values, of the kinds that telescopes store."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from harness import Side, Timed, row

NUMBERS = [number * 0.7 for number in range(100)]
NESTED = ((1, 2.5), ("J1939-6342", (17, 14.9)), (), ((), ((1,),)))

# The values, and the required ratios to the peer's speed for encoding and for decoding.
VALUES: list[tuple[str, Any, float, float]] = [
    ("int", 4096, 1, 1),
    ("float", 1.75, 1, 1),
    ("bool", True, 1, 1),
    ("str", "track", 1, 1),
    ("bytes of 1 kB", bytes(1000), 1, 1),
    ("complex", 1 + 2j, 1, 1),
    ("list of 100 floats", NUMBERS, 1, 1),
    ("list of 1,000 floats", NUMBERS * 10, 1, 1),
    ("list of 10,000 floats", NUMBERS * 100, 1, 1),
    ("list of 10,000 strings", [f"m{number:03}h" for number in range(10000)], 1, 1),
    ("dict of 10 floats", {f"key{number}": number * 0.7 for number in range(10)}, 1, 1),
    ("dict of 1,000 strings", {f"key{number}": f"value{number}" for number in range(1000)}, 1, 1),
    ("tuple of 3", ("J1939-6342", 17, 14.9), 1, 1),
    ("nested tuples", NESTED, 2, 2),
    ("list of 100 tuples", [(number, number * 0.7) for number in range(100)], 2, 1),
    ("float64 scalar", np.float64(1.75), 5, 10),
    ("float32 scalar", np.float32(1.75), 5, 10),
    ("int32 scalar", np.int32(17), 5, 10),
    ("bool scalar", np.bool_(True), 5, 10),
    ("complex64 scalar", np.complex64(1 + 2j), 5, 10),
    ("str scalar", np.str_("track"), 2, 2),
    ("datetime64 scalar", np.datetime64("2026-11-22T08:00:00", "s"), 2, 2),
    ("structured scalar", np.zeros(1, "i4,f8")[0], 2, 1),
    ("array of 8 floats", np.arange(8.0), 5, 10),
    ("array of no axes", np.array(1.75), 5, 10),
    ("array of 4 x 4 complex, Fortran", np.zeros((4, 4), "c8", order="F"), 5, 10),
    ("array of 8 of every second", np.arange(16.0)[::2], 5, 10),
    ("array of 4 structures", np.zeros(4, "i4,f8"), 5, 10),
    ("array of 64 names", np.array(["m000h"] * 64), 5, 10),
    ("array of 8 times", np.zeros(8, "M8[s]"), 5, 10),
    ("array of 64 kB", np.arange(8192.0), 5, 5),
    ("array of 8 MB", np.arange(1e6), 5, 1),
    ("array of 8 MB, Fortran", np.zeros((1000, 1000), order="F"), 5, 1),
    ("array of 8 MB, scattered", np.zeros((1000, 2000))[:, ::2], 5, 1),
    ("array of 8 MB in a dict", {"gains": np.arange(1e6)}, 1, 1),
    ("array of 8 MB in a tuple", (1, np.arange(1e6)), 1, 1),
    ("dict of 10 arrays of 8", {f"m{number:03}h": np.arange(8.0) for number in range(10)}, 5, 10),
    ("list of 100 float64 scalars", [np.float64(number) for number in NUMBERS], 2, 2),
]


def add_rows(name: str, value: Any, encoding: float, decoding: float) -> None:
    """Register the two rows of a value."""

    @row(f"codec: encode {name}", at_least=encoding)
    def encode(side: Side) -> Timed:
        encode_value, _ = functions(side)
        encode_value(value)  # The first value loads modules.
        return partial(encode_value, value)

    @row(f"codec: decode {name}", at_least=decoding)
    def decode(side: Side) -> Timed:
        encode_value, decode_value = functions(side)
        encoded = encode_value(value)
        decode_value(encoded)
        return partial(decode_value, encoded)


def add_kept_rows(name: str, value: Any) -> None:
    """Register the rows of a value whose results are kept, so that memory is not used again at once."""

    @row(f"codec: encode {name} 1,000 times and keep the results", at_least=1)
    def encode(side: Side) -> Timed:
        encode_value, _ = functions(side)
        return lambda: [encode_value(value) for _ in range(1000)]

    @row(f"codec: decode {name} 1,000 times and keep the results", at_least=1)
    def decode(side: Side) -> Timed:
        encode_value, decode_value = functions(side)
        encoded = encode_value(value)
        return lambda: [decode_value(encoded) for _ in range(1000)]


def functions(side: Side) -> tuple[Callable[[object], bytes], Callable[[bytes], Any]]:
    """Import the functions of a side."""
    if side.is_ours:
        from telstate_codec import decode_value, encode_value

        return encode_value, decode_value
    from katsdptelstate import encoding

    return encoding.encode_value, encoding.decode_value


for one in VALUES:
    add_rows(*one)
for one in VALUES:
    if one[0] in (
        "float",
        "nested tuples",
        "float64 scalar",
        "array of 8 floats",
        "array of 64 kB",
    ):
        add_kept_rows(one[0], one[1])
