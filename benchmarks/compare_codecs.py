"""What telstate-codec, msgpack-numpy and pickle keep of values, with sizes and speed, as tables in Markdown.

Run ``python benchmarks/compare_codecs.py`` in an environment with telstate-codec and msgpack-numpy. The page
docs/packages/telstate-codec.md shows what it prints.
"""

from __future__ import annotations

import collections
import datetime
import importlib
import pickle
import platform
import sys
import time
import timeit
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from telstate_codec import decode_value, encode_value

#: They have no types of their own.
msgpack: Any = importlib.import_module("msgpack")
msgpack_numpy: Any = importlib.import_module("msgpack_numpy")

Codec = tuple[Callable[[Any], bytes], Callable[[bytes], Any]]
CODECS: dict[str, Codec] = {
    "telstate-codec": (encode_value, decode_value),
    # Without strict_map_key=False, msgpack refuses keys that are not texts.
    "msgpack-numpy": (
        lambda value: bytes(msgpack.packb(value, default=msgpack_numpy.encode)),
        lambda data: msgpack.unpackb(data, object_hook=msgpack_numpy.decode, strict_map_key=False),
    ),
    "pickle": (lambda value: pickle.dumps(value, protocol=5), pickle.loads),
}
STRUCTURE = np.dtype([("name", "U8"), ("gain", ">c8", (2,))])
FORTRAN = np.asfortranarray(np.arange(12.0).reshape(3, 4))
KEPT: list[tuple[str, Any]] = [
    ("`int`, `float`, `bool`, `None`, `str`, `bytes`", [1, 1.5, True, None, "é", b"\xff"]),
    ("NaN, infinity, -0.0", [float("nan"), float("-inf"), -0.0]),
    ("`int` of 100 bits", 1 << 99),
    ("`complex`", 1 + 2j),
    ("`list`", [1, [2]]),
    ("`tuple`, also inside a list", [(1, (2.5, "x"))]),
    ("`dict` with texts, numbers and tuples as keys", {"a": 1, 2: "b", ("m000", 3): 4.5}),
    ("`set`", {1, 2}),
    ("`datetime`", datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)),
    ("`OrderedDict`", collections.OrderedDict(a=1)),
    ("`np.float64`", np.float64(1.5)),
    ("`np.float32`, `np.int16`, `np.bool_`", [np.float32(1.5), np.int16(3), np.bool_(True)]),
    ("`np.complex64`", np.complex64(1 + 2j)),
    ("`np.str_`, `np.bytes_`", [np.str_("track"), np.bytes_(b"track")]),
    ("`np.datetime64`", np.datetime64("2026-01-01T00:00:00", "ms")),
    ("NumPy scalar of a structured dtype", np.zeros(1, STRUCTURE)[0]),
    ("array of numbers", np.arange(6.0).reshape(2, 3)),
    ("array of the other byte order", np.arange(3, dtype=">i4")),
    ("array in Fortran order", FORTRAN),
    ("array of no dimensions", np.array(1.5)),
    ("array of no elements, shape (0, 3)", np.zeros((0, 3), "f4")),
    ("array of every second element", np.arange(10)[::2]),
    ("array of texts", np.array(["m000h", "m063v"])),
    ("array of times", np.zeros(2, "M8[us]")),
    ("array of a structured dtype with sub-arrays", np.zeros(2, STRUCTURE)),
    ("array of objects", np.array([1, "x", None], object)),
    ("masked array", np.ma.masked_array([1, 2], [True, False])),
]
TIMED: list[tuple[str, Any]] = [
    ("float", 1.75),
    ("dict of 10 floats", {f"key{number}": number * 0.7 for number in range(10)}),
    ("tuple of 3", ("J1939-6342", 17, 14.9)),
    ("list of 1,000 floats", [number * 0.7 for number in range(1000)]),
    ("`np.float32`", np.float32(1.5)),
    ("array of 8 floats", np.arange(8.0)),
    ("4 × 4 `complex64`", np.ones((4, 4), np.complex64)),
    ("array of 8,000 floats", np.arange(8000.0)),
    ("array of a million floats", np.arange(1e6)),
]


def difference(value: Any, other: Any) -> str:
    """Return what is not kept of a value, or an empty text."""
    if type(value) is not type(other):
        return f"becomes `{type(other).__name__}`"
    if isinstance(value, (list, tuple)):
        return next(filter(None, map(difference, value, other)), "")
    if isinstance(value, dict):
        return "" if value == other else "not equal"
    if isinstance(value, np.ndarray):
        if value.dtype != other.dtype:
            return f"dtype becomes `{other.dtype}`"
        if value.shape != other.shape:
            return f"shape becomes {other.shape}"
        if value.ndim > 1 and value.flags.f_contiguous and not other.flags.f_contiguous:
            return "becomes C order"
        if isinstance(value, np.ma.MaskedArray) and not np.array_equal(value.mask, other.mask):
            return "mask is lost"
    same = repr(value) == repr(other)  # of NaN and -0.0 too
    return "" if same else "not equal"


def outcome(codec: Codec, value: Any) -> str:
    """Return what becomes of a value that is encoded and decoded."""
    encode, decode = codec
    try:
        encoded = encode(value)
    except Exception as error:
        return f"`{type(error).__name__}`"
    try:
        return difference(value, decode(encoded)) or "kept"
    except Exception as error:
        return f"decoding: `{type(error).__name__}`"


def is_writable(codec: Codec) -> str:
    """Return whether a decoded array can be changed."""
    encode, decode = codec
    return "yes" if decode(encode(np.arange(3))).flags.writeable else "no"


class Program:
    """An object whose pickle runs code when it is loaded."""

    ran = False

    @classmethod
    def run(cls) -> None:
        """Note that the code ran."""
        cls.ran = True

    def __reduce__(self) -> Any:
        return Program.run, ()


def runs_code(codec: Codec) -> str:
    """Return whether decoding runs code that the bytes ask for."""
    encode, decode = codec
    Program.ran = False
    pickled = pickle.dumps(Program(), protocol=2)
    makers: list[Callable[[], bytes]] = [
        lambda: pickled,
        lambda: encode(np.array([Program()], object)),
    ]
    for make in makers:
        try:
            decode(make())
        except Exception:  # as it should be
            pass
    return "yes" if Program.ran else "no"


def shortest(*calls: Callable[[], object]) -> list[float]:
    """Return the microseconds of processor time of each call: the shortest of rounds in turn."""
    timers = [timeit.Timer(call, timer=time.process_time) for call in calls]
    numbers = []
    for timer in timers:
        number, seconds = timer.autorange()
        numbers.append(max(1, int(number * 0.02 / seconds)))
    rounds = [[t.timeit(n) / n * 1e6 for t, n in zip(timers, numbers)] for _ in range(25)]
    return [min(times) for times in zip(*rounds)]


def print_row(*cells: str) -> None:
    """Print a row of a table."""
    print("|", " | ".join(cells), "|")


def main() -> None:
    """Print the tables."""
    names = [f"{name} {version(name)}" for name in list(CODECS)[:2]] + ["pickle, protocol 5"]
    print_row("value", *names)
    print("|---" * 4 + "|")
    for title, value in KEPT:
        print_row(title, *(outcome(codec, value) for codec in CODECS.values()))
    print_row("decoded arrays can be changed", *map(is_writable, CODECS.values()))
    print_row("decoding can run code that the bytes name", *map(runs_code, CODECS.values()))
    print()
    print_row("bytes", *CODECS)
    print("|---|" + "---:|" * 3)
    times = []
    for title, value in TIMED:
        sizes: list[str] = []
        calls: list[Callable[[], object]] = []
        for encode, decode in CODECS.values():
            data = encode(value)
            sizes.append(f"{len(data):,}")
            calls += [partial(encode, value), partial(decode, data)]
        print_row(title, *sizes)
        taken = [f"{one:,.1f}" for one in shortest(*calls)]
        times.append((title, *map(" + ".join, zip(taken[::2], taken[1::2]))))
    print()
    print_row("µs to encode + decode", *CODECS)
    print("|---|" + "---:|" * 3)
    for row in times:
        print_row(*row)
    cpu = "processor unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
    python = f"{platform.python_implementation()} {platform.python_version()}"
    libraries = f"NumPy {np.__version__}, msgpack {version('msgpack')}"
    print(f"\n{datetime.date.today()}, {cpu}, {python}, {libraries}, {sys.platform}")


if __name__ == "__main__":
    main()
