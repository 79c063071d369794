"""What the kernel of an executed page or notebook gets: figures for light and dark pages, and pictures of terminals."""

from __future__ import annotations

import base64
import html
import io
import shlex
from argparse import REMAINDER, ArgumentParser
from typing import Any

from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from PIL import Image
from terminal import embed_command

DPI = 130
COLORS = ("color", "facecolor", "edgecolor", "markeredgecolor")


def start(shell: Any) -> None:
    """Prepare a shell: this is called when it starts."""
    formatters = shell.display_formatter.formatters
    formatters["text/html"].for_type(Figure, embed_figure)
    shell.register_magic_function(terminal)


def embed_figure(figure: Figure) -> str:
    """Return a figure as HTML, for pages that are light and pages that are dark."""
    titles = ", ".join(filter(None, (axes.get_title("left") for axes in figure.axes)))
    label = html.escape(f"Plot of {titles}" if titles else "Plot", quote=True)
    images = []
    for theme in ("light", "dark"):
        data = base64.b64encode(draw(figure)).decode()
        source = f"data:image/png;base64,{data}"
        images.append(f'<img class="figure only-{theme}" alt="{label}" src="{source}">')
        swap_greys(figure)
    return "".join(images)


def draw(figure: Figure) -> bytes:
    """Return a figure as a PNG file with a palette, which is small."""
    full, small = io.BytesIO(), io.BytesIO()
    figure.savefig(full, format="png", dpi=DPI, transparent=True, bbox_inches="tight")
    colors = Image.open(full).convert("RGBA").quantize(256, method=Image.Quantize.FASTOCTREE)
    colors.save(small, format="png", optimize=True)
    return small.getvalue()


def swap_greys(figure: Figure) -> None:
    """Make black white and the other way round in all parts of a figure, and leave colours."""
    for artist in figure.findobj():
        for name in COLORS:
            get, change = (getattr(artist, f"{how}_{name}", None) for how in ("get", "set"))
            if get is None or change is None:
                continue
            try:
                red, green, blue, alpha = to_rgba(get())
            except (TypeError, ValueError):  # several colours, or none
                continue
            if red == green == blue:
                change((1 - red, 1 - red, 1 - red, alpha))


class Picture:
    """A picture of a terminal, which a notebook displays."""

    def __init__(self, html: str) -> None:
        self._html = html

    def _repr_html_(self) -> str:
        return self._html


def terminal(line: str) -> Picture:
    """Show a command of ours in a terminal: %terminal [--columns N] [--lines N] telstate ..."""
    parser = ArgumentParser("%terminal")
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--lines", type=int, default=40)
    parser.add_argument("command", nargs=REMAINDER)
    options = parser.parse_args(shlex.split(line))
    return Picture(embed_command(shlex.join(options.command), options.columns, options.lines))
