"""Patterns of keys, as the command ``KEYS`` of Redis reads them.

``*`` any bytes, ``?`` one byte, ``[abc]``, ``[a-c]``, ``[^x]`` one of some, a backslash takes the
next byte literally. A class that is not closed ends with the pattern; an empty one matches
nothing. Rules: bytes, not text; what Redis matches, this matches; the time a match takes grows
with the product of the two lengths at the worst, whatever the pattern.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache


@lru_cache(256)
def compile_glob(pattern: bytes) -> Callable[[bytes], object]:
    """Make the function that gives something true for the keys that match.

    Examples
    --------
    >>> matches = compile_glob(b"cal_[a-c]*")
    >>> bool(matches(b"cal_b2")), bool(matches(b"cal_d"))
    (True, False)
    """
    segments = _segments(pattern)
    if len(segments) > 2 and not any(segments):
        return re.compile(b".+", re.DOTALL).fullmatch  # Redis: only a single star matches nothing
    first, *others = segments
    parts = [first]
    for segment in others[:-1]:  # the leftmost place will do: there is a star behind it
        parts.append(f"(?>.*?{segment})")
    if others:
        parts.append(f".*{others[-1]}")
    return re.compile("".join(parts).encode("latin-1"), re.DOTALL).fullmatch


def _segments(pattern: bytes) -> list[str]:
    """Give the parts between the stars as regular expressions, in Latin-1."""
    segments = [""]
    position = 0
    while position < len(pattern):
        byte = pattern[position : position + 1]
        position += 1
        if byte == b"*":
            segments.append("")
        elif byte == b"?":
            segments[-1] += "."
        elif byte == b"[":
            text, position = _class(pattern, position)
            segments[-1] += text
        else:
            if byte == b"\\" and position < len(pattern):
                byte = pattern[position : position + 1]
                position += 1
            segments[-1] += re.escape(byte).decode("latin-1")
    return segments


def _class(pattern: bytes, position: int) -> tuple[str, int]:
    """Give the expression of the class that opened before `position`, and where it ends."""
    negated = pattern[position : position + 1] == b"^"
    position += negated
    members: set[int] = set()
    while position < len(pattern) and pattern[position] != ord("]"):
        byte = pattern[position]
        if byte == ord("\\") and position + 1 < len(pattern):
            members.add(pattern[position + 1])
            position += 2
        elif pattern[position + 1 : position + 2] == b"-" and position + 2 < len(pattern):
            # Redis compares characters as C has them, which are signed on most machines.
            low, high = sorted((byte ^ 128, pattern[position + 2] ^ 128))
            members.update(code ^ 128 for code in range(low, high + 1))
            position += 3
        else:
            members.add(byte)
            position += 1
    chosen = set(range(256)) - members if negated else members
    if not chosen:
        return "(?!)", position + 1
    codes = "".join(rf"\x{byte:02x}" for byte in sorted(chosen))
    return f"[{codes}]", position + 1
