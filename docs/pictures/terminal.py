"""Pictures of commands in a terminal, as SVG: what they really print on a pseudo-terminal."""

from __future__ import annotations

import html
import io
import re
import shlex

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from telstate_testing.commands import Command

# Without the fonts, which it would fetch.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
FORMAT = FORMAT.replace("Fira Code, monospace", "ui-monospace, DejaVu Sans Mono, monospace")
_STATUS = 0, 1  # 1 is the answer no, of diff for example


def draw_command(command: str, columns: int = 100, lines: int = 40) -> str:
    """Run a command such as ``telstate info obs.rdb`` and return a picture of the terminal; the end may be cut off."""
    program, *arguments = shlex.split(command)
    module = program.replace("-", "_")
    run = Command(module, main=SystemExit).run_on_terminal
    status, printed = run(*arguments, columns=columns, environment={"COLORTERM": "truecolor"})
    if status not in _STATUS:
        raise RuntimeError(f"{command} failed: {printed}")
    shown = printed.splitlines()
    # A line of progress is overwritten.
    shown = [line.rsplit("\r", 1)[-1] for line in shown]
    if len(shown) > lines:
        shown = [*shown[: lines - 1], "..."]
    # The SVG is as wide as the longest line.
    width = max(len(Text.from_ansi(line).plain) for line in [f"$ {command}", *shown])
    console = Console(
        file=io.StringIO(), record=True, width=width, force_terminal=True, force_jupyter=False
    )
    console.print(Text.assemble(("$ ", "bold green"), (command, "bold")), soft_wrap=True)
    for line in shown:
        console.print(Text.from_ansi(line), soft_wrap=True)
    return console.export_svg(title="", code_format=FORMAT)


def embed_command(command: str, columns: int = 100, lines: int = 40) -> str:
    """Return a picture of a command as HTML in which its text can be selected."""
    drawn = draw_command(command, columns, lines)
    size = re.search(r'viewBox="0 0 ([\d.]+)', drawn)
    assert size is not None
    # Not wider than at the size of other code; narrow windows scroll.
    width = f"width: {float(size[1]) * 0.7:.0f}px"
    label = html.escape(f"The command {command} in a terminal", quote=True)
    return f'<div class="terminal"><div role="img" aria-label="{label}" style="{width}">{drawn}</div></div>'
