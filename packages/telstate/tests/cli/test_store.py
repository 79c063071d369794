"""What the argument STORE opens."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from archive_server import TOKEN, ArchiveServer
from state_command import run as run_command

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


@click.command()
@store_argument
def change(store: StoreArgument) -> None:
    """Write to a store."""
    with store.open(writable=True):
        pass


# The argument is private, but no command is needed to see how all of them open a file.
run = Command("telstate", TelstateGroup(commands={"count": count, "change": change})).run


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


def test_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot at an address is downloaded; an error is one line, without the token."""
    path = tmp_path / "obs.rdb"
    with RdbWriter(path) as writer:
        writer.write(b"n_chans", b"\xff\x01")
    monkeypatch.setenv("no_proxy", "*")
    with ArchiveServer({"/obs.rdb": path.read_bytes()}, token=TOKEN) as server:
        assert run("count", f"{server.url}/obs.rdb?token={TOKEN}").stdout == "1\n"
        refused = run("count", f"{server.url}/obs.rdb?token=another.{TOKEN}")
        damaged = run("count", f"{server.url}/none.rdb?token={TOKEN}")
        unwritable = run("change", f"{server.url}/obs.rdb?token={TOKEN}")
    assert refused.exit_code == damaged.exit_code == unwritable.exit_code == 2
    assert refused.stderr == (
        f"The server refuses access to {server.url}/obs.rdb (HTTP status 401). The token may have "
        "expired.\n"
    )
    assert damaged.stderr == f"There is no file at {server.url}/none.rdb (HTTP status 404).\n"
    assert TOKEN not in unwritable.stderr and "is a file" in unwritable.stderr


@pytest.mark.parametrize(
    "store, message",
    [
        (f"https://host:port/a.rdb?token={TOKEN}", "This address is not valid."),
        ("https:///a.rdb", "This address names no host."),
        ("s3://bucket", "This s3:// address names no object."),
        ("localhost:x", "'localhost:x' is not an endpoint"),
        ("ftp://host/a.rdb", "The scheme of a URL must be one of"),
        ("", "An empty text names no store."),
    ],
)
def test_a_store_that_cannot_be_meant(store: str, message: str) -> None:
    """One line says what is wrong with it, and nothing secret."""
    failed = run("count", store)
    assert (failed.exit_code, failed.stdout) == (2, "")
    assert failed.stderr.startswith(message) and failed.stderr.count("\n") == 1
    assert TOKEN not in failed.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("info", "ADDRESS"),
        ("verify", "ADDRESS"),
        ("pickles", "ADDRESS"),
        ("load", "ADDRESS", "localhost"),
        ("merge", "ADDRESS", "b.rdb", "-o", "c.rdb"),
    ],
)
def test_addresses_that_are_not_valid(arguments: tuple[str, ...]) -> None:
    """Every command that reads a file says so in one line."""
    address = f"https://host:port/a.rdb?token={TOKEN}"
    failed = run_command(*(address if one == "ADDRESS" else one for one in arguments))
    assert (failed.exit_code, failed.stdout) == (2, "")
    assert failed.stderr.startswith("This address is not valid.")
    assert failed.stderr.count("\n") == 1


def test_a_misspelt_file_name() -> None:
    """Both readings are in one line."""
    failed = run("count", "obs.rbd.invalid")
    assert failed.exit_code == 2
    assert failed.stderr.startswith("There is no file obs.rbd.invalid, and no server of that name")
    assert failed.stderr.count("\n") == 1
    assert run("count", "obs.rdb").stderr == "obs.rdb: No such file or directory.\n"
