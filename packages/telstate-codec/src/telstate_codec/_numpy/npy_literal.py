"""A parser for the Python literal in the header of a ``.npy`` file.

NumPy writes a header with `repr`: it is a dictionary of strings, booleans, integers, tuples and
lists. Python's own parser would read it too, but it accepts much more, warns about unknown escapes,
and can be made to use a lot of memory and stack. This parser knows only literals, and its work and
memory are proportional to the length of the text. Anything else raises `ValueError`.
"""

from __future__ import annotations

import re
from typing import Final

MAX_DEPTH: Final = 32
"""Deepest nesting of brackets; each dtype within a dtype takes two."""

_TOKEN: Final = re.compile(
    r"""[ \t\r\n]*(?:
        [uU]?(?P<string>'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")
      | (?P<integer>-?[0-9]{1,20})[lL]?\b    # NumPy on Python 2 wrote 3L
      | (?P<name>True|False|None)\b
      | (?P<mark>[][(){},:])
      | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
_ESCAPE: Final = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL
)
_SIMPLE_ESCAPES: Final = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "r": "\r", "t": "\t"}
_NAMES: Final = {"True": True, "False": False, "None": None}
_CLOSING: Final = {"(": ")", "[": "]", "{": "}"}


def read_literal(text: str) -> object:
    """Return the value of a literal, or raise `ValueError`, which says where the text is wrong.

    Examples
    --------
    >>> read_literal("{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }  ")
    {'descr': '<f8', 'fortran_order': False, 'shape': (3,)}
    """
    parser = _Parser(text)
    value = parser.value(0)
    if parser.kind != "end":
        raise parser.unexpected()
    return value


class _Parser:
    """A recursive-descent parser; `kind` and `text` are those of the next token."""

    def __init__(self, text: str) -> None:
        self._source = text
        self._position = 0
        self._start = 0
        self.kind = ""
        self.text = ""
        self._advance()

    def _advance(self) -> None:
        self._start = self._position
        match = _TOKEN.match(self._source, self._position)
        if match is None or match.lastgroup is None:
            raise self.unexpected()
        self.kind = match.lastgroup
        self.text = match[self.kind]
        self._position = match.end()

    def unexpected(self) -> ValueError:
        near = self._source[self._start : self._start + 20]
        return ValueError(f"character {self._start} is unexpected: {near!r}")

    def _take(self, mark: str) -> bool:
        found = self.kind == "mark" and self.text == mark
        if found:
            self._advance()
        return found

    def value(self, depth: int) -> object:
        if depth > MAX_DEPTH:
            raise ValueError(f"brackets are nested more than {MAX_DEPTH} deep")
        kind, text = self.kind, self.text
        if kind == "mark" and text in _CLOSING:
            self._advance()
            if text == "{":
                return self._dictionary(depth + 1)
            items, comma = self._items(_CLOSING[text], depth + 1)
            if text == "[":
                return items
            return tuple(items) if comma or not items else items[0]
        if kind not in ("string", "integer", "name"):
            raise self.unexpected()
        self._advance()
        if kind == "string":
            return _unescape(text[1:-1])
        return int(text) if kind == "integer" else _NAMES[text]

    def _items(self, closing: str, depth: int) -> tuple[list[object], bool]:
        """Read up to the closing bracket; also return whether there was a comma, as in a tuple."""
        items: list[object] = []
        comma = False
        while not self._take(closing):
            items.append(self.value(depth))
            separated = self._take(",")
            comma = comma or separated
            if not separated:
                if not self._take(closing):
                    raise self.unexpected()
                break
        return items, comma

    def _dictionary(self, depth: int) -> dict[str, object]:
        items: dict[str, object] = {}
        while not self._take("}"):
            key = self.value(depth) if self.kind == "string" else None
            if not isinstance(key, str) or not self._take(":"):
                raise self.unexpected()
            if key in items:
                raise ValueError(f"key {key!r} occurs twice")
            items[key] = self.value(depth)
            if not self._take(","):
                if not self._take("}"):
                    raise self.unexpected()
                break
        return items


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPE.sub(_character, text)


def _character(match: re.Match[str]) -> str:
    x, u, long, simple = match.groups()
    if simple is not None:
        if simple not in _SIMPLE_ESCAPES:
            raise ValueError(f"unknown escape \\{simple}")
        return _SIMPLE_ESCAPES[simple]
    return chr(int(x or u or long, 16))
