"""Values on the command line: the one text form in which they are typed, and printed in full."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click

from telstate._summaries import count_of, is_pickle
from telstate_codec import DecodeError
from telstate_codec.json_form import value_from_json
from telstate_codec.printable import escape


def parse_value(text: str, as_text: bool = False) -> Any:
    """Parse a value: JSON, with ``{"$bytes": ...}`` and the like for what JSON lacks; other text stands for itself.

    Examples
    --------
    >>> parse_value("1.5"), parse_value("track"), parse_value('{"$tuple": [1, true]}'), parse_value("1.5", as_text=True)
    (1.5, 'track', (1, True), '1.5')
    """
    if as_text:
        return text
    try:
        return value_from_json(json.loads(text))
    except DecodeError as error:
        raise click.UsageError(f"The value cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:
        is_syntax = isinstance(error, json.JSONDecodeError)
        if is_syntax and text.startswith(
            "--"
        ):  # the commands take negative numbers, so click does not see it
            raise click.UsageError(f"No such option {text!r}. For text, use --text.") from error
        if is_syntax and not text.lstrip().startswith(("{", "[", '"')):
            return text
        raise click.UsageError(f"The value is not JSON: {error}. For text, use --text.") from error


def verdict_of(problems: int) -> str:
    """Return in words whether a file with so many problems is sound."""
    return f"NOT SOUND ({count_of(problems, 'problem')})" if problems else "sound"


def unread_error(key: str, encoded: Iterable[bytes], error: DecodeError) -> Exception:
    """Return the error for a value that is not read: for a pickle, with the option that may read it."""
    if not any(map(is_pickle, encoded)) or "safe policy" in str(error):
        return error
    return click.ClickException(
        f"Key {escape(key)!r} holds a pickle. --allow-pickle safe reads those that are plain data."
    )
