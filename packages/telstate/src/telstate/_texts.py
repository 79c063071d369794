"""Values and times as text, as commands and the web page show them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from telstate._summaries import describe
from telstate_codec import DecodeError, EncodeError, decode_value
from telstate_codec.errors import TRUST_ADVICE
from telstate_codec.json_form import value_to_json
from telstate_codec.pickles import REFUSAL

_ADVICE = {
    REFUSAL: "The value is a pickle, as MeerKAT wrote before March 2019. "
    "--allow-pickle safe reads those that are plain data.",
    "set_allow_pickle('safe') shows": "--allow-pickle safe shows",
    TRUST_ADVICE: "",
}

_CONTAINERS = (list, tuple, dict, set, frozenset)


def has_more_items(value: Any, limit: int) -> bool:
    """Return whether a value has more items, and items of items; a pickle may hold one tuple twice, and so on."""
    todo = [value] if isinstance(value, _CONTAINERS) else []
    while todo:
        some = todo.pop()
        limit -= len(some)
        if limit < 0:
            return True
        items = chain(some, some.values()) if isinstance(some, dict) else some
        todo += [one for one in items if isinstance(one, _CONTAINERS)]
    return False


def format_value(value: Any) -> str:
    """Return a value as text that loses nothing: text as it is, everything else as JSON.

    Examples
    --------
    >>> format_value("track"), format_value(1.5), format_value((1, b"a"))
    ('track', '1.5', '{"$tuple": [1, {"$bytes": "YQ=="}]}')
    """
    return value if isinstance(value, str) else json.dumps(value_to_json(value))


def format_encoded(encoded: bytes) -> str:
    """Return an encoded value as text that loses nothing; one that cannot be decoded in a few words."""
    try:
        return format_value(decode_value(encoded))
    except (DecodeError, EncodeError):
        return describe(encoded)


def pretty_value(value: Any, width: int) -> str:
    """Return a value as text for people, of several lines; arrays are abridged."""
    if isinstance(value, str):
        return value
    if type(value).__name__ == "ndarray":
        import numpy

        text = numpy.array2string(value, max_line_width=width, separator=", ", threshold=500)
        return f"{value.dtype} array, shape {value.shape}\n{text}"
    from pprint import pformat

    try:
        return pformat(value, width=width, sort_dicts=False)
    except (
        RecursionError,
        ValueError,
    ):  # nested deeply, or an integer that is too long for Python to print
        return format_value(value)


def advise_on_options(message: str) -> str:
    """Return a message with options of commands instead of the advice that is for programmers."""
    for advice, instead in _ADVICE.items():
        message = message.replace(advice, instead)
    return message


def show_time(seconds: float | None, as_unix: bool = False) -> str | float | None:
    """Return a time as ISO 8601 in UTC, or as it is.

    Examples
    --------
    >>> show_time(1796040000.25), show_time(1796040000.0), show_time(1e20), show_time(None)
    ('2026-11-30T12:00:00.250Z', '2026-11-30T12:00:00Z', '1e+20', None)
    """
    if seconds is None or as_unix:
        return seconds
    try:
        moment = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    except (ValueError, OverflowError, OSError):  # outside the years of datetime
        return str(seconds)
    digits = "seconds" if moment.microsecond == 0 else "milliseconds"
    if moment.microsecond % 1000:
        digits = "microseconds"
    return moment.isoformat(timespec=digits) + "Z"
