"""The command plot."""

from __future__ import annotations

import io
import os
import shutil
import warnings

import click

from telstate.cli._sensors import resolve_span, select_sensors, show_reason
from telstate.cli._store import StoreArgument, keys_argument, store_argument
from telstate.cli._times import CommandTime, span_options
from telstate_rdb.cli.output import force_option, open_output

_FORMATS = ("png", "svg", "pdf")
_HEIGHT = 40  # lines, where there is no terminal


def parse_path(context: click.Context, parameter: click.Parameter, path: str | None) -> str | None:
    """Return the name of the file to write, which must end in a format."""
    if path is not None and _format_of(path) not in _FORMATS:
        raise click.BadParameter(f"{path!r} does not end in .png, .svg or .pdf.")
    return path


def _format_of(path: str) -> str:
    return os.path.splitext(path)[1][1:].lower()


@click.command()
@store_argument
@keys_argument
@span_options
@click.option(
    "--stacked/--shared",
    default=None,
    help="Draw each sensor by itself, or sensors of a kind on one axis. Default: the former for up to eight.",
)
@click.option(
    "-o",
    "--output",
    "path",
    callback=parse_path,
    type=click.Path(dir_okay=False),
    help="Draw to a file (.png, .svg or .pdf) instead of the terminal.",
)
@force_option
def plot(
    store: StoreArgument,
    keys: tuple[str, ...],
    start: CommandTime | None,
    end: CommandTime | None,
    stacked: bool | None,
    path: str | None,
    force: bool,
) -> None:
    """Plot sensors against time (UTC), in the terminal or to a file.

    Numbers are steps, since a sensor holds its value until its next sample; text, bytes and booleans are bands;
    arrays are images of time against index. A pixel of many samples shows the least and the greatest.

    \b
    Examples:
      telstate plot obs.rdb m000_pos_actual_scan_azim --end 2026-11-30T13:00
      telstate plot obs.rdb m000_target 'm00[0-3]_activity' --start -1h -o activity.png
    """
    # NumPy is slow to import, and other commands do without it.
    from telstate.plot import plot_sensors, plot_sensors_as_text

    with open_output(path, force) as output, store.open() as opened, show_reason():
        ts = opened.ts
        begin, until = resolve_span(opened, select_sensors(ts, keys), start, end)
        if path is None:
            size = shutil.get_terminal_size()
            height = size.lines if output.is_terminal else _HEIGHT
            text = plot_sensors_as_text(
                ts,
                keys,
                begin,
                until,
                width=size.columns,
                height=height,
                color=output.has_colour,
                stacked=stacked,
            )
            output.write(text)
        else:
            figure = plot_sensors(ts, keys, begin, until, stacked=stacked)
            drawn = io.BytesIO()
            with warnings.catch_warnings():  # characters that fonts lack become boxes
                warnings.simplefilter("ignore", UserWarning)
                figure.savefig(drawn, format=_format_of(path))
            output.write_bytes(drawn.getvalue())
