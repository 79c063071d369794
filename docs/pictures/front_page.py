"""Draws the picture of the front page: python docs/pictures/front_page.py [FILE.svg].

It shows ``telstate info`` in a terminal, and beside it a plot of the same file.
"""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
from contextlib import chdir
from pathlib import Path

from kernel import swap_greys
from terminal import draw_command

from telstate import TelescopeState
from telstate.plot import plot_sensors
from telstate_testing.observations import fill_observation

TARGET = Path(__file__).parent / "front-page.svg"
BACKGROUND, BORDER = "#292929", "#555555"  # those of the terminal
FILE = "observation.rdb"
SENSORS = ["m000_pos_actual_scan_azim", "m000_pos_actual_scan_elev", "m000_activity"]
COLUMNS, LINES = 60, 19
GAP = 16


def draw_plot(ts: TelescopeState, width: float, height: float) -> str:
    """Return a plot of sensors as SVG, light on dark."""
    figure = plot_sensors(ts, SENSORS)
    figure.set_size_inches(width / 144, height / 144)
    for axes in figure.axes:
        axes.set_title("", loc="right")
    swap_greys(figure)
    figure.set_facecolor(BACKGROUND)
    for axes in figure.axes:
        axes.set_facecolor(BACKGROUND)
    output = io.StringIO()
    figure.savefig(output, format="svg", metadata={"Date": None})
    # Tenths of a point suffice, but not for the scale of glyphs.
    return re.sub(r"(?<!scale\()(\d+\.\d)\d+", r"\1", output.getvalue())


def size_of(svg: str) -> tuple[float, float]:
    """Return the width and the height of a picture."""
    found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert found is not None
    return float(found[1]), float(found[2])


def place(svg: str, x: float, width: float, height: float) -> str:
    """Return a picture as a part of another."""
    inner_width, inner_height = size_of(svg)
    content = re.sub(r"^.*?<svg[^>]*>|</svg>\s*$", "", svg, flags=re.DOTALL)
    view = f'viewBox="0 0 {inner_width} {inner_height}"'
    links = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {links} {view} x="{x}" y="0" width="{width}" height="{height}">{content}</svg>'


def draw() -> str:
    """Return the picture as SVG."""
    ts = TelescopeState()
    fill_observation(ts, antennas=8, channels=512, seconds=6 * 3600, scan=900)
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        ts.save(FILE)
        terminal = draw_command(f"telstate info {FILE}", COLUMNS, LINES)
    width, height = size_of(terminal)
    plot = place(draw_plot(ts, width - 2 * GAP, height - 2 * GAP), 0, width - 2 * GAP, height)
    panel = (
        f'<rect x="{width + GAP}" y="1" width="{width}" height="{height - 2}" rx="8" fill="{BACKGROUND}" '
        f'stroke="{BORDER}"/><g transform="translate({width + 2 * GAP}, 0)">{plot}</g>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * width + GAP + 1} {height}">'
        f"<title>telstate info and a plot of an observation</title>"
        f"{place(terminal, 0, width, height)}{panel}</svg>\n"
    )


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    target.write_text(draw())
    print(f"{target}: {os.path.getsize(target):,} bytes")
