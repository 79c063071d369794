"""The commands about samples: range, watch and wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Number
from typing import Any

import click

from telstate._batch import Queued
from telstate._calls.common import with_key
from telstate._pandas import samples_of, select_mutable
from telstate._texts import format_value, show_time
from telstate.cli._store import Opened, StoreArgument, key_argument, keys_argument, store_argument
from telstate.cli._times import CommandTime, resolve_time, span_options, unix_option
from telstate.cli._values import parse_value, unread_error
from telstate.errors import BatchError
from telstate.overview import describe
from telstate.pipeline import select_keys
from telstate.telescope_state import TelescopeState
from telstate.watch import KeyUpdate
from telstate_backends import KeyType, TimeoutError
from telstate_codec import DecodeError, Key, decode_value, encode_value, equal_encoded_values
from telstate_codec.json_form import value_to_json
from telstate_codec.printable import bounded_repr, escape
from telstate_rdb.cli.group import NO, YES, print_message
from telstate_rdb.cli.output import (
    Column,
    Output,
    json_option,
    output_options,
    print_json,
    print_rows,
    print_to,
)


@click.command("range")
@store_argument
@keys_argument
@span_options
@click.option("--last", type=click.IntRange(1), metavar="N", help="Only the last N rows.")
@click.option("--fill", is_flag=True, help="Repeat each sensor's value until its next sample.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@json_option
@unix_option
@output_options
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
    force: bool,
) -> None:
    """Print the samples of sensors, one row for each time.

    Without --start and --end these are all samples. Several sensors are joined on time; where one has no
    sample, its column is empty. Of several samples of a sensor at one time, the last is shown if sensors are
    joined. With -o the file is CSV, unless --json is given.

    \b
    Examples:
      telstate range obs.rdb m000_pos_actual_scan_azim --last 10
      telstate range obs.rdb 'm000_pos_actual_*' --start -1h --fill -o pointing.csv
    """
    with store.open() as opened:
        selected = select_sensors(opened.ts, keys)
        names = list(map(str, selected))
        limits = resolve_span(opened, selected, start, end)
        with show_reason():
            rows = _read_rows(opened.ts, selected, *limits, fill)
    if not rows:
        print_message("There are no samples in this range.")
    if last is not None:
        rows = rows[-last:]
    as_csv = as_csv or (output.is_file and not as_json)
    make_text = _formatter(output, as_csv, as_json)
    shown: Iterator[Sequence[Any]] = (
        (
            show_time(moment, as_unix),
            *(None if one is None else make_text(one, name) for one, name in zip(encoded, names)),
        )
        for moment, *encoded in rows
    )
    labels = ["value"] if len(names) == 1 else names
    if as_json:
        for row in shown:
            print_json(output, dict(zip(["time", *labels], row)))
    else:
        columns = [Column("time"), *(Column(escape(label), "value") for label in labels)]
        print_rows(output, "csv" if as_csv else "table", columns, shown)


def select_sensors(ts: TelescopeState, keys: Iterable[str]) -> dict[Key, bool]:
    """Return names of sensors, and full names (True) for those that are globs."""
    return select_keys(keys, ts.__contains__, ts.key_types, select_mutable)


def resolve_span(
    opened: Opened,
    selected: Mapping[Key, bool],
    start: CommandTime | None,
    end: CommandTime | None,
) -> tuple[float | None, float | None]:
    """Return the limits of a range in seconds since 1970, which may be relative to samples."""
    ts = opened.ts
    names = [
        [prefix + str(name) for prefix in ([""] if is_full else ts.prefixes)]
        for name, is_full in selected.items()
    ]
    first, last = (None if one is None else resolve_time(one, ts, names) for one in (start, end))
    if first is not None and last is not None and first >= last:
        raise click.UsageError("The range is empty: --end is not after --start.")
    return first, last


@contextmanager
def show_reason() -> Iterator[None]:
    """Add to the error for samples that cannot be read why that is."""
    try:
        yield
    except BatchError as error:
        reason = str(error.exceptions[0])
        if "is a pickle" in reason:
            reason = "They are pickles. --allow-pickle safe reads those that are plain data."
        raise click.ClickException(f"{error.message}. {reason}") from error


def _read_rows(
    ts: TelescopeState,
    selected: Mapping[Key, bool],
    start: float | None,
    end: float | None,
    fill: bool,
) -> list[list[Any]]:
    """Return rows of a time and an encoded value, or None, for each sensor."""
    first = 0.0 if start is None else start
    with ts.pipeline(raise_errors=False) as p:
        root = p.root()
        queued: dict[Key, Queued[list[tuple[Any, float]]]] = {
            name: (root if is_full else p).get_range(
                name, first, end, include_previous=fill, return_encoded=True
            )
            for name, is_full in selected.items()
        }
    found = list(samples_of(queued).values())
    if fill:
        found = [_move_to_start(samples, first) for samples in found]
    if len(found) == 1:
        return [[moment, value] for value, moment in found[0]]
    rows: dict[float, list[Any]] = {}
    for column, samples in enumerate(found):
        for value, moment in samples:
            row = rows.setdefault(moment, [None] * len(selected))
            row[column] = value
    joined = [[moment, *rows[moment]] for moment in sorted(rows)]
    if fill:
        for before, row in zip(joined, joined[1:]):
            row[:] = [old if new is None else new for old, new in zip(before, row)]
    return joined


def _move_to_start(samples: list[tuple[Any, float]], start: float) -> list[tuple[Any, float]]:
    """Move the sample before a range to its start; leave it out if there is one at the start."""
    if not samples or samples[0][1] >= start:
        return samples
    (value, _), *others = samples
    return others if others and others[0][1] == start else [(value, start), *others]


def _formatter(output: Output, as_csv: bool, as_json: bool) -> Callable[[bytes, str], Any]:
    """Return the function that makes of an encoded value of a sensor what is printed."""
    if output.is_terminal and not (as_csv or as_json):
        return lambda encoded, name: describe(encoded)

    def decode(encoded: bytes, name: str) -> Any:
        try:
            value = decode_value(encoded)
        except DecodeError as error:
            raise unread_error(name, [encoded], with_key(error, name)) from error
        return value_to_json(value) if as_json else format_value(value)

    return decode


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
    _refuse_file(store)
    deadline = None if timeout is None else time.monotonic() + timeout
    left = count
    with store.open() as opened:
        with opened.ts.watch(*keys) as events:
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


def _refuse_file(store: StoreArgument) -> None:
    if store.is_file:
        raise click.UsageError(f"{store.name} is a file, which does not change. Name a server.")


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

    V is JSON, or text; a number equals one of another type, as 1 and 1.0. The exit status is 1 if --timeout ends it.

    \b
    Examples:
      telstate wait localhost:6379 capture_block_id --timeout 60
      telstate wait localhost:6379 obs_activity --value track
    """
    _refuse_file(store)
    with store.open() as opened:
        try:
            opened.ts.wait_key(key, _condition(value, as_text), timeout=timeout)
        except TimeoutError as error:
            print_message(str(error))
            return NO
    return YES


def _condition(text: str | None, as_text: bool) -> Callable[[Any, float | None], bool] | None:
    """Return the condition that the value is the one that was typed, None for any value."""
    if text is None:
        return None
    wanted = parse_value(text, as_text)
    encoded = encode_value(wanted)

    def condition(value: Any, moment: float | None) -> bool:
        if isinstance(value, Number) and isinstance(wanted, Number):
            return bool(value == wanted)
        return equal_encoded_values(encode_value(value), encoded)

    return condition
