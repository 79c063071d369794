"""Pickles of all kinds of plain values with their descriptions: the test data of one writer.

This program runs on Python 2.7 and on Python 3.6 and later, with NumPy 1.x and nothing else:

    PYTHONPATH=<unpacked NumPy wheel> python2.7 make_pickles.py > 2.7.18-1.16.6.json
    python3.8 make_pickles.py > 3.8.18-1.24.4.json

`merge_pickles.py` merges the parts of all writers into one file, `pickles.json.gz`. The pickles in
the tests are therefore real ones, made without any code of the reader under test. On Python 2 each
value is written by `cPickle` and by `pickle`, which number the memo differently.
"""

# Python 2.7 runs this file too, and Python 2 has no annotations:
# mypy: ignore-errors

import collections
import datetime
import decimal
import fractions
import json
import pickle
import sys
from base64 import b64encode

import numpy as np
from describe import describe

PY2 = sys.version_info[0] == 2
if PY2:  # pragma: no cover - the writers' half
    import cPickle

    PICKLERS = [("cPickle", cPickle), ("pickle", pickle)]
    RANGE = xrange  # noqa: F821 - a builtin of Python 2
else:
    PICKLERS = [("pickle", pickle)]
    RANGE = range

INTEGERS = [0, 1, -1, 255, 256, 65535, 65536, -32769, 2**31 - 1, 2**31, -(2**31), 2**32, 2**53 + 1]
LONGS = [2**63 - 1, -(2**63), 2**63, 2**64, 10**30, -(10**30), 2**200, -(2**1000), 2**2040, 3**2000]
FLOATS = [0.0, -0.0, 1.5, -1.0 / 3, 3.141592653589793, 1e300, 5e-324, 1e22]
NOT_FINITE = [float("inf"), -float("inf"), float("nan")]
SIMPLE = "?bBhHiIlLqQefdgFDG"
UNICODE = b"\\u03c0 \\xe9 \\u2713 \\U0001f52d".decode("unicode_escape")
PI = UNICODE[0]
QUOTES = 'it\'s "quoted" \\ back\tslash\r\n'


class Values(collections.OrderedDict):
    """Name -> value; a name is used once."""

    def put(self, name, value):
        assert name not in self, name
        self[name] = value


def plain(values):
    values.put("none", None)
    values.put("bools", [True, False])
    for value in INTEGERS:
        values.put("int %d" % value, value)
    values.put("longs", LONGS)
    for value in LONGS[:4]:
        values.put("long %d" % value, value)
    for value in FLOATS + NOT_FINITE:
        values.put("float %r" % value, value)
    values.put("str", "M063")
    values.put("str empty", "")
    values.put("str quotes", QUOTES)
    values.put("str long", "J1939-6342 | *PKS 1934-638, radec, 19:39:25.03, -63:42:45.7 " * 6)
    values.put("bytes", b"plain bytes")
    values.put("bytes all", bytes(bytearray(range(256))))
    values.put("bytes long", bytes(bytearray(range(256))) * 2)
    values.put("bytes empty", b"")
    values.put("unicode", UNICODE)
    values.put("unicode empty", UNICODE[:0])
    values.put("unicode ascii", b"i0.antenna-1".decode("ascii"))
    escapes = b"back\\slash \\u0041 new\nline \r\x00\x1a'\""
    values.put("unicode escapes", escapes.decode("ascii"))
    values.put("unicode long", UNICODE * 100)
    values.put("bytearray", bytearray(b"\x00\xff\n"))
    values.put("bytearray empty", bytearray())
    values.put("complex", 1.5 - 2j)
    values.put("complex special", [complex(float("nan"), -float("inf")), -0.0 - 0.0j])
    values.put("slice", [slice(1, 10, 2), slice(None), slice(-5, None)])
    values.put("range", [RANGE(7), RANGE(2, 20, 3), RANGE(9, -3, -4)])
    values.put("object", object())
    values.put("types", [int, float, str, list, dict, tuple, set, bool, complex, object])


def containers(values):
    for size in range(6):
        values.put("tuple %d" % size, tuple(range(size)))
        values.put("list %d" % size, ["x"] * size)
    values.put("tuple nested", ((((((),), 1), (2, (3, (4,)))), "five"), [({},)]))
    values.put("list batches", list(range(1003)))
    values.put("list mixed", [None, True, 1, 2.5, "three", UNICODE, (5,), [6], {"7": 8}, 2**70])
    values.put("dict empty", {})
    values.put("dict one", {"a": 1})
    values.put("dict many", dict((i, None) for i in range(1001)))
    values.put(
        "dict keys",
        {1: "int", 2.5: "float", None: "none", (1, "a", (2,)): "tuple", UNICODE: "text"},
    )
    values.put(
        "dict more keys",
        {frozenset([1, 2]): 1, True: 2, 1j: 3, 2**90: 4, np.int32(7): 5, np.float64(0.5): 6},
    )
    values.put("dict nested", {"a": {"b": {"c": {"d": [{"e": ()}]}}}})
    values.put("sets", [set(), set([1, 2, 3]), set("abc"), frozenset(), frozenset([(1, 2), "x"])])
    values.put("set of frozensets", set([frozenset(), frozenset([frozenset([1])])]))
    values.put("OrderedDict", collections.OrderedDict([("z", 1), ("a", [2]), (3, None)]))
    values.put("OrderedDict empty", collections.OrderedDict())
    values.put("defaultdict list", collections.defaultdict(list, {"a": [1]}))
    values.put("defaultdict int", collections.defaultdict(int))
    values.put("defaultdict none", collections.defaultdict(None, {1: 2, 3: 4}))
    values.put("obs_params", {
        "description": "track", "proposal_id": "SCI-20180516-NN-01", "target": ["A", "B"], "horizon": 20.0,
        "instruments": {"imaging": [1, 2]}, "dump_rate": 0.25, "durations": [{"obs_duration": 300, "target": None}],
    })  # fmt: skip


def identities(values):
    shared = ["shared"]
    values.put("shared", [shared, shared, {"again": shared}])
    text = "telescope " + "state"
    values.put("shared text", [text, text, (text, text)])
    pair = (text, 1.0)
    values.put("shared tuple", [pair, pair, (pair,), {pair: pair}])
    recursive = []
    recursive.append(recursive)
    values.put("recursive list", recursive)
    looped = {"a": 1}
    looped["self"] = looped
    values.put("recursive dict", looped)
    inner = []
    outer = (inner, 2)
    inner.append(outer)
    values.put("recursive tuple", outer)
    for size in (1, 2, 3, 5):
        inner = []
        outer = (inner,) * size
        inner.append(outer)
        values.put("recursive tuple %d" % size, outer)
    values.put("many memos", ["t%d" % i for i in range(260)] * 2)


def library(values):
    values.put("datetime", datetime.datetime(2018, 5, 16, 23, 59, 59, 123456))
    values.put("datetime extremes", [datetime.datetime.min, datetime.datetime.max])
    values.put("date", [datetime.date(2019, 3, 1), datetime.date.min, datetime.date.max])
    values.put("time", [datetime.time(1, 2, 3, 4), datetime.time(), datetime.time.max])
    values.put(
        "timedelta", [datetime.timedelta(-1, 2, 3), datetime.timedelta.max, datetime.timedelta.min]
    )
    values.put(
        "Fraction",
        [fractions.Fraction(1, 3), fractions.Fraction(-7), fractions.Fraction(10**40, 3**50)],
    )
    texts = [
        "1.10",
        "-0",
        "1E+999999",
        "1E-999999",
        "NaN",
        "sNaN",
        "-Infinity",
        "123456789.987654321",
    ]
    values.put("Decimal", [decimal.Decimal(text) for text in texts])
    if not PY2:
        zone = datetime.timezone(datetime.timedelta(hours=2))
        values.put("datetime zone", datetime.datetime(2018, 5, 16, tzinfo=zone))
        values.put("datetime utc", datetime.datetime(2018, 5, 16, tzinfo=datetime.timezone.utc))
        values.put("time zone", datetime.time(1, 2, tzinfo=zone))
        values.put(
            "timezone", [zone, datetime.timezone(-datetime.timedelta(hours=3, minutes=30), "N")]
        )


def scalars(values):
    for char in SIMPLE:
        values.put("scalar %s" % char, np.array([1], char)[0])
    values.put(
        "scalar extremes",
        [np.uint64(2**64 - 1), np.int64(-(2**63)), np.float32("inf"), np.float64("nan")],
    )
    values.put("scalar negative zero", [np.float16(-0.0), np.complex64(complex(-0.0, -0.0))])
    values.put("scalar bytes", [np.string_(b"ab\x00c"), np.string_(b"\xff")])
    values.put("scalar text", [np.unicode_(UNICODE), np.unicode_("a")])
    values.put("scalar empty", [np.unicode_(""), np.string_(b"")])
    values.put(
        "scalar datetime64",
        [np.datetime64("2018-05-16"), np.datetime64("2018-05-16T01:02:03.000004", "us")],
    )
    values.put(
        "scalar timedelta64", [np.timedelta64(5, "s"), np.timedelta64(-1, "ns"), np.timedelta64(7)]
    )
    values.put("scalar NaT", [np.datetime64("NaT"), np.datetime64("NaT", "ms")])
    record = np.array([(1, 2.5, b"abc")], [("a", "<i4"), ("b", ">f8"), ("c", "S5")])
    values.put("scalar void", [record[0], np.array([b"xyz"], "V3")[0]])
    values.put("scalar big-endian text", np.array([PI + "x"], ">U2")[0])
    values.put("scalars in a list", [np.float64(x) for x in range(40)])
    values.put(
        "scalar types",
        [np.float32, np.int64, np.complex64, np.bool_, np.uint8, np.datetime64, np.void],
    )


def arrays(values):
    for char in SIMPLE:
        values.put("array %s" % char, np.arange(6).reshape(2, 3).astype(char))
    values.put(
        "array complex64", (np.arange(24) * (1 - 0.5j)).astype(np.complex64).reshape(4, 2, 3)
    )
    values.put("array fortran", np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4)))
    values.put("array strided", np.arange(20)[::3])
    values.put(
        "array transposed", np.arange(24, dtype=np.int16).reshape(2, 3, 4).transpose(1, 2, 0)
    )
    values.put("array 0-d", np.array(2.5))
    values.put(
        "array empty",
        [np.zeros(0), np.zeros((3, 0, 2), np.int8), np.zeros((0,), "S3"), np.array([])],
    )
    values.put(
        "array big-endian",
        [np.arange(4, dtype=">f8"), np.arange(3, dtype=">u2"), np.ones(2, ">c8")],
    )
    values.put("array strings", [np.array(["a", "bcd", ""]), np.array([b"a", b"bc\xff"], "S7")])
    values.put("array text", [np.array([UNICODE, PI, PI[:0]]), np.array([PI], ">U4")])
    values.put("array datetime64", np.array(["2018-05-16", "NaT"], "datetime64[D]"))
    values.put("array datetime64 25us", np.array([1, -2], "datetime64[25us]"))
    values.put(
        "array timedelta64",
        [np.array([1, 2], "timedelta64[h]"), np.array([1], ">m8[s]"), np.array([3], "m8")],
    )
    values.put("array void", np.array([b"ab", b"cd"], "V2"))
    values.put("array nan", np.array([np.nan, np.inf, -np.inf, -0.0]))
    values.put("array 1.5 kB", np.arange(400, dtype=np.float32))
    values.put("array many dimensions", np.arange(4).reshape((1, 2) * 2 + (1,) * 20))
    values.put("array object", np.array([None, 1, "two", (3.0,), [4], {"five": 5}], dtype=object))
    values.put(
        "array object fortran", np.array([[1, 2, PI], ["a", None, ()]], dtype=object, order="F")
    )
    values.put("array object 0-d", [np.array({"a": 1}, dtype=object), np.zeros(0, object)])
    values.put("array of bools", np.array([True, False, True]))
    shared = np.arange(3.0)
    values.put("array shared", [shared, shared, {"gains": shared}])


def structures(values):
    simple = np.dtype([("time", "<f8"), ("ant", "S4"), ("flag", "?")])
    values.put("structured", np.array([(1.5, b"m000", True), (2.5, b"m1", False)], simple))
    values.put("structured 0-d", np.array((1.5, b"m000", True), simple))
    values.put("structured empty", np.zeros(0, simple))
    nested = np.dtype(
        [("pos", [("x", ">f4"), ("y", ">f4")]), ("gain", "<c8", (2, 2)), ("name", "<U3")]
    )
    values.put("structured nested", np.zeros((2, 2), nested))
    offsets = np.dtype(
        {"names": ["a", "b"], "formats": ["<i2", "<f8"], "offsets": [6, 16], "itemsize": 30}
    )
    values.put("structured offsets", np.zeros(3, offsets))
    values.put(
        "structured aligned",
        np.zeros(2, np.dtype([("a", "i1"), ("b", "f8"), ("c", "i2")], align=True)),
    )
    values.put(
        "structured titles",
        np.zeros(2, np.dtype([(("Title A", "a"), "<i4"), (("Title B", "b"), "<M8[ms]")])),
    )
    overlap = np.dtype({"names": ["all", "low"], "formats": ["<u4", "<u2"], "offsets": [0, 0]})
    values.put("structured overlap", np.array([(0x01020304, 0x0304)], overlap))
    values.put("structured of one array", np.ones(2, [("m", ">i2", (3,))]))
    simples = [np.dtype(char) for char in SIMPLE] + [
        np.dtype(">i4"),
        np.dtype("S5"),
        np.dtype("U5"),
        np.dtype("V5"),
    ]
    values.put(
        "dtypes",
        simples + [np.dtype("M8[25us]"), np.dtype(">m8[D]"), np.dtype("M8"), np.dtype(object)],
    )
    values.put("dtypes structured", [simple, nested, offsets, np.dtype(("<f4", (2, 3)))])
    values.put("dtype metadata", np.dtype("f8", metadata={"unit": "Jy"}))


def main():
    values = Values()
    for group in (plain, containers, identities, library, scalars, arrays, structures):
        group(values)
    pickles = []
    for name, value in values.items():
        for protocol in (0, 1, 2):
            for module_name, module in PICKLERS:
                try:
                    data = module.dumps(value, protocol)
                except Exception as error:  # the writer cannot: then no archive holds it
                    sys.stderr.write("%s, protocol %d: %r\n" % (name, protocol, error))
                    continue
                pickles.append([name, protocol, module_name, b64encode(data).decode("ascii")])
    part = {
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "expected": dict((name, describe(value)) for name, value in values.items()),
        "pickles": pickles,
    }
    json.dump(part, sys.stdout, sort_keys=True)


if __name__ == "__main__":
    main()
