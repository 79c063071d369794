"""The command that compares two stores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import click

from telstate._compare import KeyDifference, ValueDifference, compare
from telstate._summaries import count_of, describe, is_pickle
from telstate._texts import format_encoded, show_time
from telstate.cli._store import StoreArgument, globs_argument, two_stores
from telstate.cli._times import unix_option
from telstate.errors import MissingKeyError
from telstate_backends import KeyType
from telstate_codec import DecodeError, EncodeError, PicklePolicy, decode_value
from telstate_codec.json_form import value_to_json
from telstate_codec.pickles import pickle_policy
from telstate_rdb.cli.group import NO, YES, print_message
from telstate_rdb.cli.output import Column, Output, json_option, print_json, print_rows, print_to

_TIME_LENGTH = len("2026-11-30T09:05:40Z")
_COLUMNS = (
    Column("difference"),
    Column("key", "name"),
    Column("detail", "name", least=_TIME_LENGTH),
)
_COUNTS = (Column("keys", "number"), Column("difference"))
_NAMES = {KeyType.IMMUTABLE: "value", KeyType.MUTABLE: "samples", KeyType.INDEXED: "sub-keys"}


@click.command()
@two_stores
@globs_argument
@click.option("--full", is_flag=True, help="Print the samples and sub-keys that differ, too.")
@click.option("--summary", is_flag=True, help="Print only the numbers of keys that differ.")
@json_option
@unix_option
@print_to
def diff(
    first: StoreArgument,
    second: StoreArgument,
    globs: tuple[str, ...],
    full: bool,
    summary: bool,
    as_json: bool,
    as_unix: bool,
    output: Output,
) -> int:
    """Compare the keys, values and samples of two stores, A and B.

    Each is a file or a server. Full names and globs choose keys; views make no difference. A pickle
    and the same value in MessagePack are equal with --allow-pickle safe. The exit status is 0 if nothing
    differs, and 1 if something does or a GLOB matches nothing.

    \b
    Examples:
      telstate diff monday.rdb tuesday.rdb
      telstate diff obs.rdb localhost:6379 'm000_*' --full
    """
    if first.text == second.text == "-":
        raise click.UsageError("Standard input cannot be read more than once.")
    with first.open(globs or None) as a, second.open(globs or None) as b:
        for glob in globs:
            if not a.ts.keys(glob) and not b.ts.keys(glob):
                raise MissingKeyError(f"Neither store has a key that matches {glob!r}.")
        found = compare(a.ts, b.ts, globs or "*", full=full)
        if output.is_terminal and not (found or as_json):
            keys = {key for glob in globs or ("*",) for key in a.ts.keys(glob)}
            output.write(f"{count_of(len(keys), 'key')}, no difference\n")
    if summary:
        counts = Counter(map(_name_difference, found))
        rows = [(count, name) for name, count in counts.most_common()]
        print_rows(output, "json" if as_json else "table", _COUNTS, rows)
    elif as_json:
        for difference in found:
            print_json(output, _to_json(difference, as_unix))
    else:
        show = describe if output.is_terminal else format_encoded
        rows_of = (_rows(difference, full, as_unix, show) for difference in found)
        print_rows(output, "table", _COLUMNS, chain.from_iterable(rows_of))
    output.flush()
    values = chain.from_iterable(difference.values for difference in found)
    if pickle_policy(None) is PicklePolicy.REFUSE and any(is_pickle(one.encoded) for one in values):
        print_message(
            "Some of these are pickles. --allow-pickle safe reads those that are plain data."
        )
    return NO if found else YES


def _name_difference(difference: KeyDifference) -> str:
    """Return in a word or two what differs."""
    first, second = difference.kinds
    if first is None:
        return "only in B"
    if second is None:
        return "only in A"
    return _NAMES[first] if first is second else "kind"


def _rows(
    difference: KeyDifference, full: bool, as_unix: bool, show: Any
) -> Iterator[tuple[str, str, str]]:
    """Return the row of a difference, and one for each sample or sub-key."""
    name, key = _name_difference(difference), difference.name
    kinds = [kind.name.lower() for kind in difference.kinds if kind is not None]
    if name != "value":
        detail = " -> ".join(kinds)
        if name in ("samples", "sub-keys"):
            detail = _counts_of(difference, as_unix)
        yield name, key, detail
        for one in difference.values:
            yield one.sign, key, f"{_place(one, as_unix)}  {show(one.encoded)}"
    else:
        changes = difference.changes
        if len(changes) == 1:
            yield name, key, changes[0]
            return
        example = "" if full else f", such as {changes[0]}"
        yield name, key, f"{len(changes):,} items{example}"
        for change in changes if full else ():
            yield "", key, change


def _counts_of(difference: KeyDifference, as_unix: bool) -> str:
    """Describe how many samples or sub-keys differ."""
    counts = zip((*difference.only, difference.changed), ("only in A", "only in B", "changed"))
    text = ", ".join(f"{count:,} {where}" for count, where in counts if count)
    if difference.times is not None:
        times = dict.fromkeys(str(show_time(one, as_unix)) for one in difference.times)
        text += f": {' to '.join(times)}"
    return text


def _place(one: ValueDifference, as_unix: bool) -> str:
    if one.sub_key is not None:
        return f"[{format_encoded(one.sub_key)}]"
    return str(show_time(one.time, as_unix))


def _to_json(difference: KeyDifference, as_unix: bool) -> dict[str, object]:
    kinds: Iterable[KeyType | None] = difference.kinds
    found: dict[str, object] = {
        "key": difference.name,
        "difference": _name_difference(difference),
        "kinds": [None if kind is None else kind.name.lower() for kind in kinds],
        "only": difference.only,
        "changed": difference.changed,
    }
    if difference.times is not None:
        found["times"] = [show_time(one, as_unix) for one in difference.times]
    if difference.values:
        found["values"] = [_value_to_json(one, as_unix) for one in difference.values]
    return found


def _value_to_json(one: ValueDifference, as_unix: bool) -> dict[str, object]:
    found: dict[str, object] = {"sign": one.sign}
    if one.time is not None:
        found["time"] = show_time(one.time, as_unix)
    try:
        if one.sub_key is not None:
            found["sub_key"] = value_to_json(decode_value(one.sub_key))
        return found | {"value": value_to_json(one.value)}
    except (DecodeError, EncodeError) as error:
        return found | {"error": str(error)}
