"""Running telstate-rdb, and samples for it."""

from __future__ import annotations

from pathlib import Path

from rdb_data import SAMPLES, sample_rows

from telstate_rdb import RdbParseError, read_rdb
from telstate_rdb.cli.main import main
from telstate_testing.commands import Command, Result

__all__ = ["COMMAND", "Result", "readable_samples", "run", "run_in_shell", "run_on_terminal"]

_command = Command("telstate_rdb", main)
COMMAND = _command.words
run = _command.run
run_in_shell = _command.run_in_shell
run_on_terminal = _command.run_on_terminal


def readable_samples() -> list[Path]:
    """Return the samples of other projects that can be read to their end."""
    found = []
    for row in sample_rows():
        path = SAMPLES / row["file"]
        try:
            for _ in read_rdb(path, auxiliary=True):
                pass
        except RdbParseError:
            continue
        found.append(path)
    return found
