r"""Names and values from anywhere as text that is safe to print, on one line, and short.

A key may hold characters that steer a terminal, or that show it as another one. A value from a pickle may
hold an integer that Python refuses to print, or a tuple that holds another one twice, and so on for fifty
levels, so that its `repr` would be endless. What displays and messages show of them goes through here.
"""

from __future__ import annotations

import reprlib
from itertools import islice
from typing import Any

_LONG_INT = 1024  # bits from which the digits are not shown
_MAX_ARRAY = 80  # elements and characters up to which the elements of an array are shown


def escape(text: str) -> str:
    r"""Return text with all characters that cannot be printed spelled out.

    Examples
    --------
    >>> escape("gain\x1b[2J\u202e") == r"gain\x1b[2J\u202e"
    True
    >>> escape("größe"), escape("caf\udce9") == r"caf\xe9"
    ('größe', True)
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _spell_out(one) for one in text)


def _spell_out(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # what `decode_key` makes of a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return repr(character)[1:-1]


class BoundedRepr(reprlib.Repr):
    """Represents values on one line that is short, in a time that is short, whatever they hold.

    Parameters
    ----------
    max_length
        Most characters of a string, or of the representation of an object. Default: 200.
    max_items
        Most items of a container. Default: 10.
    max_level
        Most levels of nested containers. Default: 4.

    Examples
    --------
    >>> from telstate_codec.printable import BoundedRepr
    >>> show = BoundedRepr(max_items=3).repr
    >>> show(list(range(100))), show(10**5000), show("\\u202e")
    ('[0, 1, 2, ...]', '<int of 16610 bits>', "'\\\\u202e'")
    """

    def __init__(self, max_length: int = 200, max_items: int = 10, max_level: int = 4) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = max_length
        self.maxlist = self.maxtuple = self.maxdict = max_items
        self.maxset = self.maxfrozenset = self.maxdeque = self.maxarray = max_items
        self.maxlevel = max_level

    def repr(self, x: Any) -> str:
        """Return the representation of a value."""
        try:
            return escape(super().repr(x))
        except Exception:  # of whatever type: a message must not fail
            return f"<{type(x).__name__}>"

    def repr_int(self, x: int, level: int) -> str:
        """Represent an integer, a long one by its size."""
        bits = x.bit_length()
        return repr(x) if bits <= _LONG_INT else f"<int of {bits} bits>"

    def repr_str(self, x: str, level: int) -> str:
        """Represent text; Python would make the whole of it printable first."""
        return super().repr_str(x, level) if len(x) < 1 << 16 else f"{x[: self.maxstring]!r}..."

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        """Represent a dictionary in its own order."""
        if not x:
            return "{}"
        if level <= 0:
            return "{...}"
        items = [
            f"{self.repr1(key, level - 1)}: {self.repr1(value, level - 1)}"
            for key, value in islice(x.items(), self.maxdict)
        ]
        return f"{{{', '.join(items)}{', ...' if len(x) > self.maxdict else ''}}}"

    def repr_ndarray(self, x: Any, level: int) -> str:
        """Represent a small array by its elements, others by dtype and shape."""
        if not x.dtype.hasobject and not x.dtype.names and x.size <= _MAX_ARRAY:
            text = " ".join(repr(x).split())
            if len(text) <= _MAX_ARRAY:
                return text
        dtype = str(x.dtype)
        if len(dtype) > self.maxother:
            dtype = f"{dtype[: self.maxother]}..."
        return f"<{dtype} array of shape {x.shape}>"

    def repr_Fraction(self, x: Any, level: int) -> str:
        """Represent a fraction, whose integers may be long."""
        parts = self.repr_int(x.numerator, level), self.repr_int(x.denominator, level)
        return f"Fraction({', '.join(parts)})"

    def repr_instance(self, x: Any, level: int) -> str:
        """Represent an instance of another type, such as a subclass of a container."""
        name = type(x).__name__
        if isinstance(x, dict):
            return f"{name}({self.repr_dict(x, level)})"
        if isinstance(x, tuple):
            return f"{name}{self.repr_tuple(x, level)}"
        if isinstance(x, list):
            return f"{name}({self.repr_list(x, level)})"
        if isinstance(x, int) and x.bit_length() > _LONG_INT:
            return f"<{name} of {x.bit_length()} bits>"
        if hasattr(x, "dtype") and getattr(x, "shape", None):  # a subclass of an array
            return self.repr_ndarray(x, level)
        return super().repr_instance(x, level)


bounded_repr = BoundedRepr().repr
"""Return the representation of a value, as :class:`BoundedRepr` does by default."""
