"""Running telstate."""

from __future__ import annotations

from telstate.cli.main import main
from telstate_testing.commands import Command, Result

__all__ = ["COMMAND", "Result", "run", "run_in_shell", "run_on_terminal"]

_command = Command("telstate", main)
COMMAND = _command.words
run = _command.run
run_in_shell = _command.run_in_shell
run_on_terminal = _command.run_on_terminal
