"""Times on the command line: options that take them, and the choice of how they are printed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, TypeVar

import click

from telstate._relative_times import RelativeTime, parse_relative
from telstate.telescope_state import TelescopeState
from telstate_codec import InvalidTimestampError, to_seconds

CommandT = TypeVar("CommandT", bound=Callable[..., Any])
CommandTime: TypeAlias = float | RelativeTime


def resolve_time(moment: CommandTime, ts: TelescopeState, keys: Iterable[Sequence[str]]) -> float:
    """Return a time in seconds since 1970, which may be relative to samples; see `RelativeTime.resolve`."""
    return moment.resolve(ts.backend, keys) if isinstance(moment, RelativeTime) else moment


def parse_time(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> CommandTime | None:
    """Parse ISO 8601 (UTC unless it has an offset), seconds since 1970, or a relative time such as ``-1h``."""
    if text is None:
        return None
    relative = parse_relative(text)
    if relative is not None:
        return relative
    try:
        seconds = to_seconds(text)
        if 0 <= seconds < math.inf:
            return seconds
    except InvalidTimestampError:
        pass
    raise click.BadParameter(
        f"{text!r} is not a time such as 2026-11-30T12:00:00, 1796040000, -1h or +1h (s, m, min, h, d)."
    )


unix_option = click.option(
    "--unix", "as_unix", is_flag=True, help="Print times as seconds since 1970."
)


def span_options(command: CommandT) -> CommandT:
    """Add the options --start and --end; the command takes a `CommandTime` or None as `start` and `end`."""
    for name, what in (("--end", "End, which is not included"), ("--start", "Start")):
        command = click.option(
            name,
            callback=parse_time,
            metavar="TIME",
            help=f"{what}: ISO 8601 (UTC), seconds since 1970, -1h (before now, of a file before its last sample), "
            "or +1h (after the first sample).",
        )(command)
    return command
