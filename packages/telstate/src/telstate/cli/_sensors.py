"""The commands about samples: range, watch and wait."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click

from telstate._batch import Queued
from telstate._calls.common import is_glob
from telstate._pandas import samples_of, select_mutable
from telstate.cli._store import StoreArgument, key_argument, keys_argument, store_argument
from telstate.cli._times import CommandTime, show_time, span_options, unix_option
from telstate.cli._values import format_value, parse_value
from telstate.overview import describe
from telstate.telescope_state import TelescopeState
from telstate.watch import KeyUpdate
from telstate_backends import KeyType, TimeoutError
from telstate_codec import Key, decode_value, encode_value, equal_encoded_values
from telstate_codec.json_form import value_to_json
from telstate_codec.printable import bounded_repr, escape
from telstate_rdb.cli.group import NO, YES, print_message
from telstate_rdb.cli.output import Column, Output, json_option, print_json, print_rows, print_to


@click.command("range")
@store_argument
@keys_argument
@span_options
@click.option("--last", type=click.IntRange(1), metavar="N", help="Only the last N rows.")
@click.option("--fill", is_flag=True, help="Repeat each sensor's value until its next sample.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@json_option
@unix_option
@print_to
def range_(
    store: StoreArgument,
    keys: tuple[str, ...],
    start: CommandTime | None,
    end: CommandTime | None,
    last: int | None,
    fill: bool,
    as_csv: bool,
    as_json: bool,
    as_unix: bool,
    output: Output,
) -> None:
    """Print the samples of sensors, one row for each time.

    Without --start and --end these are all samples. Several sensors are joined on time; where one has no
    sample, its column is empty. Of several samples of a sensor at one time, the last is shown if sensors are joined.

    \b
    Examples:
      telstate range obs.rdb m000_pos_actual_scan_azim --last 10
      telstate range obs.rdb 'm000_pos_actual_*' --start -1h --fill --csv
    """
    with store.open() as opened:
        view, names = resolve_sensors(opened.ts, keys)
        full = [key for name in names for key in full_names(view, name)]
        limits = [
            None if one is None else one.resolve(view, full, opened.is_live) for one in (start, end)
        ]
        rows = _read_rows(view, names, limits[0], limits[1], fill)
    if last is not None:
        rows = rows[-last:]
    shown: Iterator[Sequence[Any]] = (
        (show_time(moment, as_unix), *map(_decoder(output, as_csv, as_json), encoded))
        for moment, *encoded in rows
    )
    labels = ["value"] if len(names) == 1 else [escape(name) for name in names]
    columns = [Column("time"), *(Column(label, "value") for label in labels)]
    if as_json:
        for row in shown:
            print_json(output, dict(zip(["time", *labels], row)))
    else:
        print_rows(output, "csv" if as_csv else "table", columns, shown)


def resolve_sensors(ts: TelescopeState, keys: Iterable[str]) -> tuple[TelescopeState, list[str]]:
    """Return the names of sensors, and the view in which they are; globs select full names."""
    names: dict[str, None] = {}
    has_globs = False
    for key in keys:
        if is_glob(key) and key not in ts:
            has_globs = True
            names.update(dict.fromkeys(map(str, select_mutable(ts.key_types(key), key))))
        else:
            names[key] = None
    if has_globs and "" not in ts.prefixes:  # what globs select are full names
        ts = TelescopeState(ts.backend, prefixes=(*ts.prefixes, ""))
    return ts, list(names)


def full_names(ts: TelescopeState, name: str) -> list[str]:
    return [prefix + name for prefix in ts.prefixes]


def _read_rows(
    ts: TelescopeState, names: Sequence[str], start: float | None, end: float | None, fill: bool
) -> list[list[Any]]:
    """Return rows of a time and an encoded value, or None, for each sensor."""
    first = 0.0 if start is None else start
    with ts.pipeline(raise_errors=False) as p:
        queued: dict[Key, Queued[list[tuple[Any, float]]]] = {
            name: p.get_range(name, first, end, include_previous=fill, return_encoded=True)
            for name in names
        }
    found = list(samples_of(queued).values())
    if len(found) == 1:
        return [[max(moment, first) if fill else moment, value] for value, moment in found[0]]
    rows: dict[float, list[Any]] = {}
    for column, samples in enumerate(found):
        for value, moment in samples:
            row = rows.setdefault(max(moment, first), [None] * len(names))
            row[column] = value
    joined = [[moment, *rows[moment]] for moment in sorted(rows)]
    if fill:
        for before, row in zip(joined, joined[1:]):
            row[:] = [old if new is None else new for old, new in zip(before, row)]
    return joined


def _decoder(output: Output, as_csv: bool, as_json: bool) -> Any:
    """Return the function that makes of an encoded value what is printed."""
    if as_json:
        return lambda encoded: None if encoded is None else value_to_json(decode_value(encoded))
    if output.is_terminal and not as_csv:
        return lambda encoded: None if encoded is None else describe(encoded)
    return lambda encoded: None if encoded is None else format_value(decode_value(encoded))


@click.command()
@store_argument
@keys_argument
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after N updates.")
@click.option("--timeout", type=click.FloatRange(0), metavar="S", help="End after S seconds.")
@json_option
@unix_option
@print_to
def watch(
    store: StoreArgument,
    keys: tuple[str, ...],
    count: int | None,
    timeout: float | None,
    as_json: bool,
    as_unix: bool,
    output: Output,
) -> int:
    """Print the updates of keys as they arrive, until interrupted.

    The columns are the time of the sample, the key (with the sub-key of an indexed one) and the value. No update
    is lost if the connection is. The exit status is 1 if --timeout ends it before --count.

    \b
    Examples:
      telstate watch localhost:6379 'm000_*'
      telstate watch localhost:6379 obs_activity --count 1 --timeout 60
    """
    if store.is_file:
        raise click.UsageError(f"{store.name} is a file, which does not change. Watch a server.")
    deadline = None if timeout is None else time.monotonic() + timeout
    left = count
    with store.open() as opened:
        names = [key for key in keys if not is_glob(key)]
        globs = [key for key in keys if is_glob(key)]
        with opened.ts.watch(*names, patterns=globs) as events:
            while left != 0:
                wait = None if deadline is None else max(0.0, deadline - time.monotonic())
                try:
                    event = events.next(timeout=wait)
                except TimeoutError:
                    return YES if count is None else NO
                if isinstance(event, KeyUpdate):
                    _print_update(event, as_json, as_unix, output)
                    left = None if left is None else left - 1
                else:
                    print_message(
                        "The connection was lost. What was missed meanwhile was read from the store."
                    )
    return YES


def _print_update(event: KeyUpdate, as_json: bool, as_unix: bool, output: Output) -> None:
    """Print an update, at once."""
    is_indexed = event.kind is KeyType.INDEXED
    moment = show_time(event.timestamp, as_unix)
    if as_json:
        content: dict[str, Any] = {
            "key": event.key,
            "kind": event.kind.name.lower(),
            "time": moment,
        }
        if event.error is not None:
            content["error"] = str(event.error)
        else:
            if is_indexed:
                content["sub_key"] = value_to_json(event.sub_key)
            content["value"] = value_to_json(event.value)
        print_json(output, content)
    else:
        if event.error is not None:
            value = f"({event.error})"
        elif output.is_terminal:
            value = bounded_repr(event.value)
        else:
            value = format_value(event.value)
        name = event.key
        if is_indexed and event.error is None:
            name += f"[{format_value(event.sub_key)}]"
        cells = [str(moment or "-"), escape(name), escape(value)]
        line = "  ".join(cells)[: output.width] if output.is_terminal else "\t".join(cells)
        output.write(line + "\n")
    output.flush()


@click.command()
@store_argument
@key_argument
@click.option("--value", metavar="V", help="Wait for this value, not only for the key.")
@click.option("--text", "as_text", is_flag=True, help="Take V as text, not as JSON.")
@click.option("--timeout", type=click.FloatRange(0), metavar="S", help="Give up after S seconds.")
def wait(
    store: StoreArgument, key: str, value: str | None, as_text: bool, timeout: float | None
) -> int:
    """Wait until a key exists, or has a value.

    V is JSON, or text. The exit status is 1 if --timeout ends it.

    \b
    Examples:
      telstate wait localhost:6379 capture_block_id --timeout 60
      telstate wait localhost:6379 obs_activity --value track
    """
    with store.open() as opened:
        try:
            opened.ts.wait_key(key, _condition(value, as_text), timeout=timeout)
        except TimeoutError as error:
            print_message(str(error))
            return NO
    return YES


def _condition(text: str | None, as_text: bool) -> Any:
    """Return the condition that the value is the one that was typed, None for any value."""
    if text is None:
        return None
    wanted = encode_value(parse_value(text, as_text))
    return lambda value, moment: equal_encoded_values(encode_value(value), wanted)
