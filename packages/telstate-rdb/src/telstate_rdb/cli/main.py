"""The command ``telstate-rdb``: its subcommands do what functions of this package do, and print the result.

Results go to standard output, progress and messages to standard error. The exit status is 0; 1 if the
answer is "no" (not sound, different, no such key); 2 for wrong usage and for everything that could not be
done. Ctrl-C and a closed pipe end a command without a message.
"""

from __future__ import annotations

import click

from telstate_rdb.cli import _diff, _info, _memory, _read, _write
from telstate_rdb.cli.group import Group


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="telstate-rdb", prog_name="telstate-rdb")
def main() -> None:
    """Show, verify, convert and compare snapshots of Redis and Valkey (RDB files).

    FILE is the name of a snapshot, which may be compressed with gzip, or - for standard input.

    \b
    Examples:
      telstate-rdb info dump.rdb
      telstate-rdb json dump.rdb --keys 'user:*'

    \b
    Instead of the commands of rdbtools:
      rdb -c json, justkeyvals   telstate-rdb json FILE
      rdb -c justkeys            telstate-rdb keys FILE --names
      rdb -c memory              telstate-rdb memory FILE --csv
      rdb -c protocol            telstate-rdb resp FILE
      rdb -c diff                telstate-rdb diff A B
      redis-memory-for-key KEY   telstate-rdb memory FILE --keys KEY
      redis-profiler             telstate-rdb memory FILE --by-prefix :

    Shell completion of commands, options and keys: eval "$(_TELSTATE_RDB_COMPLETE=bash_source
    telstate-rdb)"; or zsh_source, fish_source.
    """


for command in (
    _info.info,
    _read.keys,
    _read.get,
    _read.json_,
    _write.resp,
    _memory.memory,
    _diff.diff,
    _write.convert,
    _write.merge,
    _write.split,
    _info.verify,
):
    main.add_command(command)
