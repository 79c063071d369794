"""The commands for whole files: merge, verify and pickles."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import attrs
import click

from telstate._merge import MergeConflict, MergeConflictError
from telstate._merge import merge as merge_stores
from telstate._pickles import PickledKey, find_pickles, rewrite_pickles
from telstate._summaries import count_of
from telstate._verify import SnapshotProblem, Verification, verify_snapshot
from telstate.cli._store import StoreArgument, complete_key, complete_store, many_stores
from telstate.cli._values import verdict_of
from telstate_codec.printable import escape
from telstate_rdb import Progress
from telstate_rdb.cli.group import NO, YES, print_message, show_progress
from telstate_rdb.cli.output import (
    Column,
    Output,
    force_option,
    json_option,
    print_json,
    print_rows,
    print_to,
    refuse_existing,
)
from telstate_rdb.printable import escape_path

_SHOWN = 10
_SHOWN_NAMES = 3
_PROGRESS_FROM = 1 << 24  # bytes
_PICKLES = (
    Column("db", "number"),
    Column("key", "name"),
    Column("kind"),
    Column("values", "number"),
    Column("pickles", "number"),
    Column("read as", "name"),
)
_MERGED = (Column("keys", "number"), Column("file"))


@click.command(options_metavar="[OPTIONS] -o OUT")
@many_stores
@click.option(
    "-o", "--output", "out", metavar="OUT", required=True, type=click.Path(dir_okay=False)
)
@click.option(
    "--keys",
    "globs",
    multiple=True,
    metavar="GLOB",
    shell_complete=complete_key,
    help="Only keys that match, or have this name; may be repeated.",
)
@click.option(
    "--prefer",
    type=click.Choice(["first", "last"]),
    help="The store that decides where several disagree. [default: refuse]",
)
@force_option
@json_option
@print_to
def merge(
    stores: tuple[StoreArgument, ...],
    out: str,
    globs: tuple[str, ...],
    prefer: Literal["first", "last"] | None,
    force: bool,
    as_json: bool,
    output: Output,
) -> None:
    """Join stores into one snapshot file.

    A sensor gets the samples of all stores, equal ones once. Where an immutable or a sub-key has different values,
    or a key is of different kinds, nothing is written, unless --prefer decides. OUT may be one of
    the files that are read, with --force. It is replaced as a whole, or left as it was.

    \b
    Examples:
      telstate merge monday.rdb tuesday.rdb -o both.rdb
      telstate merge obs.rdb localhost:6379 -o all.rdb --prefer last
    """
    refuse_existing(out, force)
    if [store.text for store in stores].count("-") > 1:
        raise click.UsageError("Standard input cannot be read more than once.")
    with ExitStack() as stack:
        opened = [stack.enter_context(store.open(globs or None)).ts for store in stores]
        try:
            merged = merge_stores(opened, out, prefer=prefer, keys=globs or None)
        except MergeConflictError as error:
            _print_conflicts(error.conflicts, "Conflict: ")
            if as_json:
                conflicts = [_conflict_to_json(conflict) for conflict in error.conflicts]
                print_json(output, {"keys": 0, "file": None, "conflicts": conflicts})
                output.flush()
            raise click.ClickException(
                f"{escape_path(out)} was not written, because the stores disagree on "
                f"{count_of(len(error.conflicts), 'key')}. Use --prefer first or --prefer last."
            ) from error
    _print_conflicts(merged.conflicts, f"Taken from the {prefer}: ")
    if as_json:
        conflicts = [_conflict_to_json(conflict) for conflict in merged.conflicts]
        print_json(output, {"keys": merged.keys, "file": out, "conflicts": conflicts})
    else:
        print_rows(output, "table", _MERGED, [(merged.keys, escape_path(out))])


def _print_conflicts(conflicts: tuple[MergeConflict, ...], start: str) -> None:
    """Print conflicts on standard error."""
    for conflict in conflicts[:_SHOWN]:
        print_message(f"{start}{conflict}")
    if len(conflicts) > _SHOWN:
        print_message(f"{start}{len(conflicts) - _SHOWN} more keys")


def _conflict_to_json(conflict: MergeConflict) -> dict[str, object]:
    return {
        "key": conflict.name,
        "kinds": [None if kind is None else kind.name.lower() for kind in conflict.kinds],
        "values": conflict.values,
        "sub_keys": conflict.sub_keys,
    }


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, shell_complete=complete_store)
@click.option("-q", "--quiet", is_flag=True, help="Print nothing about sound files.")
@json_option
@print_to
def verify(files: tuple[str, ...], quiet: bool, as_json: bool, output: Output) -> int:
    """Verify that files are complete, and that every value can be read.

    The exit status is 0 only if a server would load all files, and nothing in them is found to be corrupt. In a
    file without a checksum, damage inside values cannot be seen, which the output says. Problems go to standard
    error, and so do the names of keys that telstate cannot read: those of other programs, and those with pickles
    of more than plain data. No code in a pickle is run.

    \b
    Examples:
      telstate verify obs.rdb
      telstate verify --quiet archive/*.rdb
    """
    status = YES
    for file in files:
        store = StoreArgument(file)
        with _show_progress(store) as progress:
            found = verify_snapshot(store.source, progress=progress)
        if not found.sound:
            status = NO
        if as_json:
            print_json(output, _verification_to_json(store.name, found))
            continue
        if not (quiet and found.sound):
            output.write(f"{store.name}\t{verdict_of(len(found.problems))}{_unseen(found)}\n")
        output.flush()
        _print_problems(store.name, found.problems, "")
        if not quiet:
            _print_problems(store.name, found.unread, "Not read: ")
    return status


def _unseen(found: Verification) -> str:
    """Return what the verdict on a file cannot say, after a tab."""
    if not found.sound or found.has_checksum:
        return ""
    return "\tit has no checksum, so that damage inside values cannot be seen"


@contextmanager
def _show_progress(store: StoreArgument) -> Iterator[Progress | None]:
    """Show a progress bar while a large file is read."""
    is_large = os.path.isfile(store.text) and os.path.getsize(store.text) >= _PROGRESS_FROM
    with show_progress({store.text: store.name} if is_large else {}) as progress:
        yield progress.get(store.text)


def _print_problems(name: str, problems: list[SnapshotProblem], start: str) -> None:
    """Print problems on standard error."""
    for problem in problems[:_SHOWN]:
        print_message(f"{name}: {start}{problem}")
    if len(problems) > _SHOWN:
        print_message(f"{name}: {start}{len(problems) - _SHOWN} more")


def _verification_to_json(name: str, found: Verification) -> dict[str, object]:
    return {
        "file": name,
        "sound": found.sound,
        "keys": found.keys,
        "checksum": found.checksum,
        "problems": [attrs.asdict(problem) for problem in found.problems],
        "unread": [attrs.asdict(problem) for problem in found.unread],
    }


@click.command()
@click.argument("store", shell_complete=complete_store)
@click.option(
    "--rewrite",
    "out",
    metavar="OUT",
    type=click.Path(dir_okay=False),
    help="Write a file with these values in MessagePack.",
)
@force_option
@json_option
@print_to
def pickles(store: str, out: str | None, force: bool, as_json: bool, output: Output) -> None:
    """List the keys that hold pickles, or rewrite them.

    MeerKAT wrote pickles before March 2019. For each key this prints the number of its values and of its
    pickles, the types of those that are read, and why others are not. No code in a pickle is run. With --rewrite,
    OUT gets everything in the file, with these values in MessagePack; values that would change, or that are not
    read, stay pickles.

    \b
    Examples:
      telstate pickles old.rdb
      telstate pickles old.rdb --rewrite new.rdb
    """
    typed = StoreArgument(store)
    report = None
    if out is not None:
        refuse_existing(out, force)
    with ExitStack() as stack:
        source: Any
        if typed.is_file:
            source = typed.source
        else:
            source = stack.enter_context(typed.open()).ts
        progress = stack.enter_context(_show_progress(typed))
        if out is None:
            found = find_pickles(source, progress=progress)
        else:
            report = rewrite_pickles(source, out, progress=progress)
            found = report.pickles
    if as_json:
        for key in found:
            print_json(output, _pickled_to_json(key))
    else:
        first = 0 if any(key.database for key in found) else 1  # most files have database 0 only
        rows = (_pickled_row(key)[first:] for key in found)
        print_rows(output, "table", _PICKLES[first:], rows)
    output.flush()
    left = [key for key in found if key.refused or key.kept]
    text = f"{typed.name}: {count_of(len(found), 'key')} with pickles"
    if left:
        names = ", ".join(escape(key.name) for key in left[:_SHOWN_NAMES])
        more = ", ..." if len(left) > _SHOWN_NAMES else ""
        new = "a rewritten file" if out is None else escape_path(out)
        text += f"; in {new}, some of {count_of(len(left), 'key')} stay pickles: {names}{more}"
    print_message(f"{text}.")
    if report is not None and out is not None:
        rewritten = count_of(report.rewritten, "pickle")
        print_message(f"{escape_path(out)}: {count_of(report.keys, 'key')}, {rewritten} rewritten.")


def _pickled_row(key: PickledKey) -> tuple[object, ...]:
    kind = key.kind.name.lower()
    return key.database, key.name, kind, key.total, key.count, key.description


def _pickled_to_json(key: PickledKey) -> dict[str, object]:
    return {
        "db": key.database,
        "key": key.name,
        "kind": key.kind.name.lower(),
        "values": key.total,
        "pickles": key.count,
        "types": dict(key.types),
        "refused": key.refused,
        "kept": key.kept,
        "reason": key.reason,
    }
