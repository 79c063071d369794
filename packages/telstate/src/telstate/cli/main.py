"""The command ``telstate``: its subcommands do what functions of this package do, and print the result.

Results go to standard output, progress and messages to standard error. The exit status is 0; 1 if the
answer is "no" (they differ, not sound, no such key); 2 for wrong usage and for everything that could not be
done. Ctrl-C and a closed pipe end a command without a message.
"""

from __future__ import annotations

from typing import ClassVar

import click

from telstate._texts import advise_on_options
from telstate.cli import (
    _compare,
    _demo,
    _files,
    _look,
    _plot,
    _sensors,
    _serve,
    _snapshots,
    _write,
)
from telstate.errors import MissingKeyError
from telstate.snapshots import EMPTY_ADVICE, STRICT_ADVICE
from telstate_backends import TelstateError
from telstate_rdb import RdbError, RdbParseError
from telstate_rdb.cli.group import FAILED, NO, Group
from telstate_rdb.extras import MissingExtraError
from telstate_rdb.printable import escape

_STRICT_ADVICE = "; --damaged reads the intact parts"


class TelstateGroup(Group):
    """The group of the commands."""

    errors: ClassVar = {
        MissingKeyError: NO,
        TelstateError: FAILED,
        RdbError: FAILED,
        MissingExtraError: FAILED,
    }

    def describe(self, error: Exception) -> str:
        """Return the message for an error, with advice for users of commands."""
        text = super().describe(error)
        if isinstance(error, RdbParseError) and error.key is not None:
            text = text.replace(f"key {error.key!r}", f"key {escape(error.key)}", 1)
        text = advise_on_options(text).replace(EMPTY_ADVICE, "")
        return text.replace(STRICT_ADVICE, _STRICT_ADVICE)


@click.group(cls=TelstateGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="telstate", prog_name="telstate")
def main() -> None:
    """Look at the state of a telescope, live or in a snapshot, plot it, write to it, and copy it.

    STORE is a snapshot file (also .gz, or - for standard input), a URL of Redis or Valkey, or host:port.

    Shell completion of commands, options and keys: eval "$(_TELSTATE_COMPLETE=bash_source telstate)"; or
    zsh_source, fish_source.
    """


_COMMANDS: tuple[click.Command, ...] = (
    _look.info,
    _look.ls,
    _look.get,
    _sensors.range_,
    _sensors.watch,
    _sensors.wait,
    _plot.plot,
    _serve.serve,
    _files.export,
    _files.dump,
    _files.load,
    _write.set_,
    _write.add,
    _write.delete,
    _write.clear,
    _demo.demo,
    _compare.diff,
    _snapshots.merge,
    _snapshots.verify,
    _snapshots.pickles,
)

for command in _COMMANDS:
    main.add_command(command)
