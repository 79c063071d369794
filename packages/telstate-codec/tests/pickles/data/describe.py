"""Descriptions of Python values in JSON that are the same on every Python and NumPy.

This module runs on Python 2.7 and on Python 3: the writer of a pickle describes the value that it
wrote, the test describes the value that it read, and the two must be equal. To that end, Python 2's
`str` is described as Latin-1 text (as which it is read), and its `long` as an `int`. Sets and plain
dictionaries are sorted; floats and array elements are described to the last bit.
"""

# Python 2.7 runs this file too, and Python 2 has no annotations:
# mypy: ignore-errors

import collections
import datetime
import decimal
import fractions
import json
import sys

import numpy as np

if sys.version_info[0] == 2:  # pragma: no cover - the writers' half
    BYTES = ()
    INTEGERS = (int, long)  # noqa: F821 - a builtin of Python 2
    TEXT = unicode  # noqa: F821 - a builtin of Python 2
    RANGE = xrange  # noqa: F821 - a builtin of Python 2
else:
    BYTES = (bytes,)
    INTEGERS = (int,)
    TEXT = str
    RANGE = range


def _hex(data):
    return "".join("%02x" % byte for byte in bytearray(data))


def _float(value):
    return str(value) if value != value or value in (float("inf"), -float("inf")) else value.hex()


def _sorted(items):
    return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))


def describe_dtype(dtype):
    """Describe a dtype: its string, or its fields with their offsets, or its sub-array."""
    if dtype.subdtype is not None:
        return {"base": describe_dtype(dtype.subdtype[0]), "shape": list(dtype.subdtype[1])}
    if dtype.names is None:
        return "|O" if dtype.kind == "O" else dtype.str  # NumPy 1.8 says O8
    fields = [dtype.fields[name] for name in dtype.names]
    return {
        "names": [str(name) for name in dtype.names],
        "formats": [describe_dtype(field[0]) for field in fields],
        "offsets": [int(field[1]) for field in fields],
        "titles": [str(field[2]) if len(field) > 2 else None for field in fields],
        "itemsize": int(dtype.itemsize),
        "aligned": bool(dtype.isalignedstruct),
    }


def _elements(array):
    """Return the bits of every element, in C order; long doubles without their padding."""
    data = array.tobytes() if hasattr(array, "tobytes") else array.tostring()  # NumPy 1.8
    if array.dtype.char in "gG" and array.dtype.itemsize in (16, 32):
        return "".join(_hex(data[start : start + 10]) for start in range(0, len(data), 16))
    return _hex(data)


def _type_name(value):
    name = value.__name__.rstrip("_")
    return {"long": "int", "unicode": "str", "string": "bytes", "xrange": "range"}.get(name, name)


def describe(value, parents=()):
    """Return a description of `value` made of JSON types."""
    if id(value) in parents:
        return {"cycle": len(parents) - parents.index(id(value))}
    inner = parents + (id(value),)
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind in INTEGERS:
        return {"int": str(value)}
    if kind is float:
        return {"float": _float(value)}
    if kind is TEXT:
        return value
    if kind in BYTES:
        return {"bytes": _hex(value)}
    if kind is str:
        return value.decode("latin1")
    if kind in (list, tuple):
        return {kind.__name__: [describe(item, inner) for item in value]}
    if kind in (set, frozenset):
        return {kind.__name__: _sorted(describe(item, inner) for item in value)}
    if kind in (dict, collections.OrderedDict, collections.defaultdict):
        items = [[describe(key, inner), describe(item, inner)] for key, item in value.items()]
        result = {kind.__name__: items if kind is collections.OrderedDict else _sorted(items)}
        if kind is collections.defaultdict:
            factory = value.default_factory
            result["factory"] = None if factory is None else _type_name(factory)
        return result
    if kind is complex:
        return {"complex": [_float(value.real), _float(value.imag)]}
    if kind is bytearray:
        return {"bytearray": _hex(value)}
    if kind is np.ndarray:
        if not value.dtype.isnative and value.dtype.names is None:
            # NumPy itself makes these native when it unpickles them.
            value = value.byteswap().view(value.dtype.newbyteorder("="))
        if value.dtype == object:
            elements = [describe(item, inner) for item in value.ravel().tolist()]
        else:
            elements = _elements(value)
        return {
            "ndarray": describe_dtype(value.dtype),
            "shape": list(value.shape),
            "fortran": bool(value.flags.f_contiguous and not value.flags.c_contiguous),
            "elements": elements,
        }
    if isinstance(value, np.generic):
        return {"scalar": describe_dtype(value.dtype), "elements": _elements(np.asarray(value))}
    if isinstance(value, np.dtype):
        return {"dtype": describe_dtype(value)}
    if kind is datetime.timedelta:
        return {"timedelta": [value.days, value.seconds, value.microseconds]}
    if kind in (datetime.datetime, datetime.date, datetime.time):
        zone = getattr(value, "tzinfo", None)
        offset = None if zone is None else describe(zone.utcoffset(None))
        naive = value if zone is None else value.replace(tzinfo=None)
        return {kind.__name__: naive.isoformat(), "zone": offset}
    if kind in (fractions.Fraction, decimal.Decimal):
        return {kind.__name__: str(value)}
    if kind is slice:
        return {"slice": [describe(item) for item in (value.start, value.stop, value.step)]}
    if kind is RANGE:
        return {"range": [int(item) for item in value], "len": len(value)}
    if kind is object:
        return {"object": None}
    if isinstance(value, type):
        return {"type": _type_name(value)}
    if hasattr(datetime, "timezone") and kind is datetime.timezone:
        return {"timezone": describe(value.utcoffset(None))}
    raise TypeError("no description for %r" % kind)
