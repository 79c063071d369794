"""Redis globs, matched exactly as Redis matches them, without catastrophic backtracking.

A pattern is first cut into tokens, each a star or the set of bytes that may stand in one place, with all
the quirks of Redis (``stringmatchlen``): a class that is not closed lasts to the end of the pattern, a
backslash at the very end stands for itself, a range may be reversed, and the ends of a range are compared
as signed bytes, as on the machines that Redis is built on. The tokens become a regular expression whose
every ``*`` but the last is atomic: the earliest place where the text after a star fits is as good as any
later one, so nothing is tried twice.

This module imports nothing of the package, because telstate-backends uses it without the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

_STAR, _ANY, _OPEN, _CLOSE, _BACKSLASH, _MINUS, _CARET = b"*?[]\\-^"
_ALL_BYTES = frozenset(range(256))

Token = frozenset[int] | None
"""A place in a pattern: the bytes that fit there, or `None` for a star."""


class Glob:
    """A compiled pattern.

    Parameters
    ----------
    pattern : bytes
        A Redis glob: ``*``, ``?``, ``[a-c]``, ``[^x]``, and a backslash before a character that
        stands for itself.

    Attributes
    ----------
    fullmatch : Callable[[bytes], re.Match[bytes] | None]
        :meth:`matches`, without converting its result to a `bool`.

    Examples
    --------
    >>> Glob(b"m0*_[hv]").matches(b"m063_dig_h")
    True
    """

    __slots__ = ("fullmatch", "pattern")

    def __init__(self, pattern: bytes) -> None:
        self.pattern = pattern
        self.fullmatch = _compiled(pattern).fullmatch

    def __repr__(self) -> str:
        return f"Glob({self.pattern!r})"

    def matches(self, text: bytes) -> bool:
        """Return whether all of `text` matches the pattern."""
        return self.fullmatch(text) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(_expression(pattern), re.DOTALL)


def _expression(pattern: bytes) -> bytes:
    """Return the regular expression that matches what a pattern matches."""
    if pattern == b"*":
        return b".*"
    segments: list[list[bytes]] = [[]]
    for token in _tokens(pattern):
        if token is None:
            segments.append([])
        else:
            segments[-1].append(_byte_class(token))
    first, *others = (b"".join(segment) for segment in segments)
    if not others:
        return first
    *middle, last = others
    # Once the text is used up before the first token, Redis does not look at the pattern at all.
    nonempty = b"(?=.)" if not first else b""
    return (
        nonempty + first + b"".join(b"(?>.*?%b)" % part for part in middle if part) + b".*" + last
    )


def _tokens(pattern: bytes) -> Iterator[Token]:
    position = 0
    while position < len(pattern):
        byte = pattern[position]
        if byte == _STAR:
            yield None
        elif byte == _ANY:
            yield _ALL_BYTES
        elif byte == _OPEN:
            allowed, position = _read_class(pattern, position + 1)
            yield allowed
        elif byte == _BACKSLASH and position + 1 < len(pattern):
            position += 1
            yield frozenset((pattern[position],))
        else:
            yield frozenset((byte,))
        position += 1


def _read_class(pattern: bytes, position: int) -> tuple[frozenset[int], int]:
    """Read a class that starts after its bracket; return its bytes and the place of its last byte."""
    negated = pattern[position : position + 1] == b"^"
    position += negated
    allowed: set[int] = set()
    while position < len(pattern):
        left = len(pattern) - position
        byte = pattern[position]
        if byte == _BACKSLASH and left >= 2:
            position += 1
            allowed.add(pattern[position])
        elif byte == _CLOSE:
            break
        elif left >= 3 and pattern[position + 1] == _MINUS:
            position += 2
            low, high = sorted((_signed(byte), _signed(pattern[position])))
            allowed.update(number % 256 for number in range(low, high + 1))
        else:
            allowed.add(byte)
        position += 1
    return (_ALL_BYTES - allowed if negated else frozenset(allowed)), position


def _signed(byte: int) -> int:
    return byte - 256 if byte >= 128 else byte


def _byte_class(allowed: frozenset[int]) -> bytes:
    """Return the regular expression for one of the allowed bytes."""
    if len(allowed) == 256:
        return b"."
    if not allowed:
        return b"(?!)"
    if len(allowed) == 1:
        return re.escape(bytes(allowed))
    return b"[%b]" % b"".join(b"\\x%02x" % byte for byte in sorted(allowed))
