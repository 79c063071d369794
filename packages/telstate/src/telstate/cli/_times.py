"""Times on the command line: options that take them, and the choice of how they are printed."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import attrs
import click

from telstate.telescope_state import TelescopeState
from telstate_backends import KeyPreview, KeyType, Peek
from telstate_codec import (
    InvalidTimestampError,
    decode_timestamp,
    encode_key,
    to_seconds,
)

CommandT = TypeVar("CommandT", bound=Callable[..., Any])
_RELATIVE = re.compile(r"-\s*(\d+(?:\.\d*)?|\.\d+)\s*(s|m|min|h|d)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


@attrs.frozen
class CommandTime:
    """A time in seconds since 1970, or before the last sample (on a live store, before now) if it is negative."""

    seconds: float
    is_relative: bool = False

    def resolve(self, ts: TelescopeState, keys: Iterable[str], is_live: bool) -> float:
        """Return the time in seconds since 1970.

        Parameters
        ----------
        ts
            The telescope state.
        keys
            The full names of the sensors whose last sample counts.
        is_live
            Whether the time is relative to now instead.
        """
        if not self.is_relative:
            return self.seconds
        end = time.time() if is_live else _last_time(ts, keys)
        return max(0.0, end + self.seconds)


def _last_time(ts: TelescopeState, keys: Iterable[str]) -> float:
    peeks = [Peek(encode_key(key), 0) for key in keys]
    previews = ts.backend.execute_many(peeks)
    last = [
        decode_timestamp(one.last)
        for one in previews
        if isinstance(one, KeyPreview) and one.kind is KeyType.MUTABLE and one.last is not None
    ]
    return max(last, default=time.time())


def parse_time(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> CommandTime | None:
    """Parse ISO 8601 (UTC unless it has an offset), seconds since 1970, or an age such as ``-1h``."""
    if text is None:
        return None
    match = _RELATIVE.fullmatch(text.strip())
    if match:
        return CommandTime(-float(match[1]) * _SECONDS[match[2]], is_relative=True)
    try:
        seconds = to_seconds(text)
        if 0 <= seconds < math.inf:
            return CommandTime(seconds)
    except InvalidTimestampError:
        pass
    raise click.BadParameter(
        f"{text!r} is not a time such as 2026-11-30T12:00:00, 1796040000 or -1h (s, m, min, h, d)."
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
            help=f"{what}: ISO 8601 (UTC), seconds since 1970, or an age such as -1h: before now, of a file before its last sample.",
        )(command)
    return command
