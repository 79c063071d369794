"""The globals that a pickle of plain data may name, and the constructors that it may call.

`find_global` maps a name to a harmless object: a class (as a value, or to be called through `CALLS`)
or a `Function` that stands in for one of Python's. These objects are never called themselves; only
the constructors here are, and each checks its arguments before it calls the real one. NumPy's globals
are in `allowed_numpy`, which is imported when the first of them is named.
"""

from __future__ import annotations

import datetime
import re
from collections import OrderedDict, defaultdict
from decimal import Decimal
from fractions import Fraction
from typing import Final

from .limits import MAX_BITS, MAX_DIGITS, Limits, refuse
from .machine import Arguments, Call, Function, as_bytes


def find_global(module: str, name: str) -> object:
    """Return the object that stands for a global, or refuse the global by name."""
    key = (module, name)
    if key not in GLOBALS and module.split(".")[0] == "numpy":
        from . import allowed_numpy

        CALLS.update(allowed_numpy.CALLS)
        GLOBALS.update(allowed_numpy.GLOBALS)
    if key in GLOBALS:
        return GLOBALS[key]
    text = f"{module}.{name}"
    shown = text if text.isascii() and text.isprintable() else ascii(text)
    refuse(f"the global {shown} is not plain data")


def _latin(args: Arguments) -> str | None:
    """Return the text in arguments that are a text and ``"latin1"``, or None."""
    match args:
        # The types come first, because comparing an array compares all its elements.
        case (str(text), str(encoding)) if encoding in ("latin1", "latin-1"):
            return text
    return None


def _encode(limits: Limits, args: Arguments) -> object:
    """Stand in for `_codecs.encode`, which Python 3 uses for bytes in old protocols."""
    text = _latin(args)
    if text is not None:
        return as_bytes(text, limits)
    refuse("_codecs.encode is for Latin-1 only")


def _reconstructor(limits: Limits, args: Arguments) -> object:
    if len(args) == 3 and args[0] is object and args[1] is object and args[2] is None:
        return object()
    refuse("copyreg._reconstructor is for plain objects only")


def _bytes(limits: Limits, args: Arguments) -> bytes:
    match args:
        case ():
            return b""
        case (bytes() | bytearray() as data,):
            return as_bytes(data, limits)
    refuse("bytes are made of bytes only")


def _bytearray(limits: Limits, args: Arguments) -> bytearray:
    text = _latin(args)
    if text is not None:
        return bytearray(as_bytes(text, limits))
    return bytearray(_bytes(limits, args))


def _complex(limits: Limits, args: Arguments) -> object:
    if len(args) == 2 and all(type(part) in (int, float) for part in args):
        return complex(*args)
    refuse("complex needs two numbers")


def _elements(limits: Limits, args: Arguments) -> list[object]:
    if not args:
        return []
    (elements,) = args
    if type(elements) not in (list, tuple):
        refuse("a set is made of a list")
    limits.charge(8 * len(elements))
    limits.check_elements(elements)
    return list(elements)


def _slice(limits: Limits, args: Arguments) -> object:
    _check_bounds("slice", tuple(part for part in args[:3] if part is not None))
    return slice(*args)


def _range(limits: Limits, args: Arguments) -> object:
    _check_bounds("range", args)
    return range(*args)


def _check_bounds(name: str, bounds: Arguments) -> None:
    """Refuse large integers, which would make the length and the hash slow to compute."""
    if len(bounds) > 3 or any(type(bound) is not int for bound in bounds):
        refuse(f"{name} needs up to three integers")
    if any(bound.bit_length() > 64 for bound in bounds):
        refuse(f"{name} needs integers of up to 64 bits")


def _ordered_dict(limits: Limits, args: Arguments) -> object:
    result: OrderedDict[object, object] = OrderedDict()
    if args:
        (pairs,) = args
        if type(pairs) not in (list, tuple) or not all(type(p) in (list, tuple) for p in pairs):
            refuse("OrderedDict is made of pairs")
        limits.charge(8 * len(pairs))
        limits.check_elements(key for key, _ in pairs)
        result.update(pairs)
    return result


def _defaultdict(limits: Limits, args: Arguments) -> object:
    limits.charge_fragile()
    if not args:
        return defaultdict()
    (factory,) = args
    if factory is None or any(factory is kind for kind in _FACTORIES):
        return defaultdict(factory)
    refuse("the factory of a defaultdict must be a plain class")


def _zone(rest: Arguments) -> datetime.timezone | None:
    match rest:
        case ():
            return None
        case (datetime.timezone() as zone,):
            return zone
    refuse("a time zone must be a datetime.timezone")


def _date(limits: Limits, args: Arguments) -> object:
    (packed,) = args
    high, low, month, day = as_bytes(packed, limits)
    return datetime.date(high << 8 | low, month, day)


def _time(limits: Limits, args: Arguments) -> object:
    packed, *rest = args
    hour, minute, second, *micro = as_bytes(packed, limits)
    zone = _zone(tuple(rest))
    return datetime.time(
        hour & 127, minute, second, _big_endian(micro), tzinfo=zone, fold=hour >> 7
    )


def _datetime(limits: Limits, args: Arguments) -> object:
    packed, *rest = args
    high, low, month, day, hour, minute, second, *micro = as_bytes(packed, limits)
    numbers = (high << 8 | low, month & 127, day, hour, minute, second, _big_endian(micro))
    return datetime.datetime(*numbers, tzinfo=_zone(tuple(rest)), fold=month >> 7)


def _big_endian(three: list[int]) -> int:
    high, middle, low = three
    return high << 16 | middle << 8 | low


def _timedelta(limits: Limits, args: Arguments) -> object:
    if len(args) > 3 or any(type(number) is not int for number in args):
        refuse("a timedelta is made of integers")
    if any(number.bit_length() > 64 for number in args):
        refuse("a timedelta is out of range")
    return datetime.timedelta(*args)


def _timezone(limits: Limits, args: Arguments) -> object:
    match args:
        case (datetime.timedelta(),) | (datetime.timedelta(), str()):
            return datetime.timezone(*args)
    refuse("a timezone is made of a timedelta and a name")


# Without exponents: 1e999999999 would take forever.
_FRACTION: Final = re.compile(rf"-?[0-9]{{1,{MAX_DIGITS}}}(/[0-9]{{1,{MAX_DIGITS}}})?")


def _fraction(limits: Limits, args: Arguments) -> object:
    match args:
        case (str(text),) if _FRACTION.fullmatch(text):
            limits.charge(len(text))  # for the time, as nothing is copied
            return Fraction(text)
        case (int(top), int(bottom)) if max(top.bit_length(), bottom.bit_length()) <= MAX_BITS:
            limits.charge((top.bit_length() + bottom.bit_length()) // 8)
            return Fraction(top, bottom)
    refuse("a Fraction is made of two integers of moderate size")


def _decimal(limits: Limits, args: Arguments) -> object:
    match args:
        case (str(text),) if len(text) <= MAX_DIGITS:
            limits.charge(len(text))
            return Decimal(text)
    refuse("a Decimal is made of a text of moderate length")


_PYTHON_2: Final = {"long": int, "unicode": str, "xrange": range}
_CLASSES: Final[tuple[type, ...]] = (
    *(bool, bytearray, bytes, complex, dict, float, frozenset, int, list, object),
    *(range, set, slice, str, tuple),
)
_FACTORIES: Final = (bool, bytes, dict, float, frozenset, int, list, set, str, tuple, complex)

GLOBALS: Final[dict[tuple[str, str], object]] = {
    **{
        (module, kind.__name__): kind for module in ("__builtin__", "builtins") for kind in _CLASSES
    },
    **{("__builtin__", name): kind for name, kind in _PYTHON_2.items()},
    **{(module, "Ellipsis"): Ellipsis for module in ("__builtin__", "builtins")},
    ("_codecs", "encode"): Function("_codecs.encode", _encode),
    ("copy_reg", "_reconstructor"): Function("copy_reg._reconstructor", _reconstructor),
    ("copyreg", "_reconstructor"): Function("copyreg._reconstructor", _reconstructor),
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): defaultdict,
    **{
        ("datetime", kind.__name__): kind
        for kind in (datetime.date, datetime.time, datetime.datetime)
        + (datetime.timedelta, datetime.timezone)
    },
    ("fractions", "Fraction"): Fraction,
    ("decimal", "Decimal"): Decimal,
}
"""The object that stands for a global, by module and name. NumPy's are added when needed."""

CALLS: Final[dict[type, Call]] = {
    bytes: _bytes,
    bytearray: _bytearray,
    complex: _complex,
    set: lambda limits, args: set(_elements(limits, args)),
    frozenset: lambda limits, args: frozenset(_elements(limits, args)),
    slice: _slice,
    range: _range,
    OrderedDict: _ordered_dict,
    defaultdict: _defaultdict,
    datetime.date: _date,
    datetime.time: _time,
    datetime.datetime: _datetime,
    datetime.timedelta: _timedelta,
    datetime.timezone: _timezone,
    Fraction: _fraction,
    Decimal: _decimal,
}
"""The constructor for calls of a class. NumPy's are added when needed."""
