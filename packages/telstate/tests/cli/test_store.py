"""What the argument STORE opens."""

from __future__ import annotations

from pathlib import Path

import click

from telstate.cli._store import StoreArgument, store_argument
from telstate.cli.main import TelstateGroup
from telstate_rdb import RdbWriter
from telstate_testing.commands import Command


@click.command()
@store_argument
def count(store: StoreArgument) -> None:
    """Count the keys."""
    with store.open() as opened:
        click.echo(len(opened.ts.keys()))


# The argument is private, but no command is needed to see how all of them open a file.
run = Command("telstate", TelstateGroup(commands={"count": count})).run


def test_databases_with_common_names(tmp_path: Path) -> None:
    """A file with keys of the same name in several databases is refused, unless one is chosen."""
    path = tmp_path / "two.rdb"
    with RdbWriter(path) as writer:
        for database in (0, 2):
            writer.write(b"n_chans", b"\xff\x01", database=database)
        writer.write(b"n_pols", b"\xff\x02")
    refused = run("count", path)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == (
        f"{path} has key 'n_chans' in several of its databases 0 and 2. Choose one of them with --db.\n"
    )
    assert [run("count", path, "--db", number).stdout for number in "02"] == ["2\n", "1\n"]
