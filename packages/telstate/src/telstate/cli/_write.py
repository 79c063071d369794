"""The commands that write to a server: set, add, delete and clear."""

from __future__ import annotations

import sys

import click

from telstate._calls.common import is_glob
from telstate.cli._store import StoreArgument, key_argument, store_argument, whole_store_argument
from telstate.cli._times import CommandTime, parse_time, resolve_time
from telstate.cli._values import parse_value
from telstate_backends import Count
from telstate_codec.printable import escape
from telstate_rdb.cli.group import NO, YES

# So that a negative number is a value, and not an option that does not exist.
_NUMBERS = {"ignore_unknown_options": True}
_text_option = click.option(
    "--text", "as_text", is_flag=True, help="Take VALUE as text, not as JSON."
)
_force_option = click.option("--force", is_flag=True, help="Do not ask.")


@click.command("set", context_settings=_NUMBERS)
@store_argument
@key_argument
@click.argument("value")
@click.option(
    "--sub-key", metavar="SUB_KEY", help="Set one value of an indexed key; SUB_KEY is like VALUE."
)
@_text_option
def set_(store: StoreArgument, key: str, value: str, sub_key: str | None, as_text: bool) -> None:
    """Set an immutable key, or one value of an indexed one.

    VALUE is JSON, or text; {"$tuple": [...]}, {"$bytes": "..."} and the like stand for what JSON lacks, as
    "telstate get --json" prints it. A key that has another value already stays as it is, and the exit status is 2.

    \b
    Examples:
      telstate set localhost:6379 n_chans 4096
      telstate set localhost:6379 targets 'J1939-6342, radec, 19:39:25, -63:42:46'
    """
    content = parse_value(value, as_text)
    name = None if sub_key is None else parse_value(sub_key)
    try:
        hash(name)
    except TypeError as error:
        raise click.UsageError(f"A sub-key must be hashable: {error}.") from error
    with store.open(writable=True) as opened:
        if sub_key is None:
            opened.ts[key] = content
        else:
            opened.ts.set_indexed(key, name, content)


@click.command(context_settings=_NUMBERS)
@store_argument
@key_argument
@click.argument("value")
@click.option(
    "--time",
    "moment",
    callback=parse_time,
    metavar="TIME",
    help="The time of the sample: ISO 8601 (UTC), seconds since 1970, -1h (before now), or +1h (after the first sample). Default: now.",
)
@_text_option
def add(
    store: StoreArgument, key: str, value: str, moment: CommandTime | None, as_text: bool
) -> None:
    """Add a sample to a sensor.

    VALUE is JSON, or text, as for "telstate set".

    \b
    Examples:
      telstate add localhost:6379 obs_activity track
      telstate add localhost:6379 m000_gain 1.5 --time 2026-11-30T12:00:00
    """
    content = parse_value(value, as_text)
    with store.open(writable=True) as opened:
        ts = opened.ts
        names = [[ts.prefixes[0] + key]]
        seconds = None if moment is None else resolve_time(moment, ts, names)
        ts.add(key, content, seconds)


@click.command()
@store_argument
@key_argument
@_force_option
def delete(store: StoreArgument, key: str, force: bool) -> int:
    """Delete one key and all its samples, in every prefix of the view.

    \b
    Example:
      telstate delete localhost:6379 n_chans
    """
    with store.open(writable=True) as opened:
        if key not in opened.ts:
            if is_glob(key):
                raise click.UsageError(
                    f"There is no key {escape(key)}. KEY is one name, not a glob."
                )
            opened.ts[key]  # raises the error that names similar keys
        if not force and not _confirm(f"Delete {escape(key)} from {opened.name}?"):
            return NO
        opened.ts.delete(key)
    return YES


@click.command()
@whole_store_argument
@_force_option
def clear(store: StoreArgument, force: bool) -> int:
    """Delete all keys of a database, also those of other programs.

    \b
    Example:
      telstate clear localhost:6379 --db 1
    """
    with store.open(writable=True) as opened:
        if not force:
            count = opened.ts.backend.execute(Count())
            if not _confirm(f"Delete all {count:,} keys of {opened.name}?"):
                return NO
        opened.ts.clear()
    return YES


def _confirm(question: str) -> bool:
    """Ask on the terminal; without one, raise an error."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask on. Use --force to delete.")
    return click.confirm(question, err=True)
