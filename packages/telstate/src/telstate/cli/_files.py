"""The commands that copy stores into files and back: export, dump and load."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click
from click.shell_completion import CompletionItem

from telstate._calls.common import is_glob
from telstate._export import export as export_store
from telstate._export import find_format
from telstate._import import Existing, import_file
from telstate.cli._sensors import resolve_span
from telstate.cli._store import (
    StoreArgument,
    complete_key,
    globs_argument,
    whole_store_argument,
)
from telstate.cli._times import CommandTime, span_options
from telstate.errors import KeysExistError
from telstate.snapshots import save_store
from telstate_backends import ConnectionError, DatabaseCollisionError, RefusedError
from telstate_codec import Key
from telstate_codec.pickles import PicklePolicy, pickle_policy
from telstate_rdb.cli.group import print_message, show_progress
from telstate_rdb.cli.output import (
    Output,
    force_option,
    json_option,
    print_facts,
    print_json,
    print_to,
    refuse_existing,
)
from telstate_rdb.printable import escape_path

_exclude_option = click.option(
    "--exclude",
    multiple=True,
    metavar="GLOB",
    shell_complete=complete_key,
    help="Leave out keys that match; may be repeated.",
)
_consistent_option = click.option(
    "--consistent",
    is_flag=True,
    help="All keys as they are at one moment: the server's own snapshot, for which it forks.",
)


def _print_result(output: Output, as_json: bool, **facts: int) -> None:
    """Print numbers with their names."""
    if as_json:
        print_json(output, facts)
    else:
        print_facts(
            output,
            [
                (name, f"{number:,}" if output.is_terminal else str(number))
                for name, number in facts.items()
            ],
        )


@click.command()
@whole_store_argument
@globs_argument
@click.option(
    "-o",
    "--output",
    "path",
    required=True,
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="The file to write: .csv, .jsonl, .parquet, .csv.gz or .jsonl.gz.",
)
@_exclude_option
@span_options
@click.option(
    "--unix", "as_unix", is_flag=True, help="Times in CSV as seconds since 1970, not as ISO 8601."
)
@_consistent_option
@force_option
@json_option
@print_to
def export(
    store: StoreArgument,
    globs: Sequence[str],
    path: str,
    exclude: Sequence[str],
    start: CommandTime | None,
    end: CommandTime | None,
    as_unix: bool,
    consistent: bool,
    force: bool,
    as_json: bool,
    output: Output,
) -> None:
    """Write keys to a table for other programs.

    Each value of an immutable key, each sample and each sub-key is a row. CSV is for spreadsheets. JSON lines and
    Parquet lose nothing, and "telstate load" reads them. GLOB chooses keys by their full names, --start and --end
    the samples of sensors.

    \b
    Examples:
      telstate export observation.rdb 'm000_*' -o m000.csv --start -1h
      telstate export localhost:6379 -o everything.parquet
    """
    try:
        find_format(path)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    refuse_existing(path, force)
    with store.open() as opened, _bar(path) as progress:
        names: dict[Key, bool] = {
            key: True for glob in globs or "*" for key in opened.ts.keys(glob) if start or end
        }
        first, last = resolve_span(opened, names, start, end)
        report = export_store(
            opened.ts,
            path,
            globs or None,
            exclude=exclude,
            start=first,
            end=last,
            unix=as_unix,
            consistent=consistent,
            progress=progress,
        )
    if report.encoded and pickle_policy(None) is PicklePolicy.REFUSE:
        print_message("--allow-pickle safe decodes pickled values that are plain data.")
    _print_result(output, as_json, keys=report.keys, rows=report.rows)


@click.command()
@whole_store_argument
@click.argument("path", metavar="FILE", type=click.Path(dir_okay=False))
@globs_argument
@_exclude_option
@_consistent_option
@force_option
@json_option
@print_to
def dump(
    store: StoreArgument,
    path: str,
    globs: Sequence[str],
    exclude: Sequence[str],
    consistent: bool,
    force: bool,
    as_json: bool,
    output: Output,
) -> None:
    """Write keys to a snapshot, which Redis since 2.6 and Valkey read.

    A snapshot with sensors that are copied from that of a server needs Redis 4.0.

    Nothing is written if a GLOB matches no key. GLOB chooses keys by their full names.

    \b
    Examples:
      telstate dump localhost:6379 observation.rdb --consistent
      telstate dump observation.rdb m000.rdb 'm000_*' --exclude '*_raw'
    """
    if path == "-":
        raise click.UsageError("A snapshot is written to a file, not to standard output.")
    if is_glob(path) and not globs:
        raise click.UsageError(f"{path!r} looks like a GLOB. FILE comes before it.")
    refuse_existing(path, force)
    with store.open() as opened, _bar(path) as progress:
        count = save_store(
            opened.ts.backend, path, globs or None, consistent, False, exclude, progress
        )
    _print_result(output, as_json, keys=count)


def _complete_key_of_file(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the keys of FILE that begin like `incomplete`."""
    context.params["store"] = context.params.get("file")
    return complete_key(context, parameter, incomplete)


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@whole_store_argument
@click.argument("globs", nargs=-1, metavar="[GLOB]...", shell_complete=_complete_key_of_file)
@click.option(
    "--exclude",
    multiple=True,
    metavar="GLOB",
    shell_complete=_complete_key_of_file,
    help="Leave out keys that match; may be repeated.",
)
@click.option("--replace", is_flag=True, help="Replace keys that exist already.")
@click.option("--keep", is_flag=True, help="Leave keys that exist already as they are.")
@click.option(
    "--from-db",
    type=click.IntRange(0),
    metavar="N",
    help="The database to take from a snapshot. Default: all.",
)
@json_option
@print_to
def load(
    file: str,
    store: StoreArgument,
    globs: Sequence[str],
    exclude: Sequence[str],
    replace: bool,
    keep: bool,
    from_db: int | None,
    as_json: bool,
    output: Output,
) -> None:
    """Load keys of a file into a server.

    FILE is a snapshot, or what "telstate export" has written as JSON lines or Parquet; - is standard input, and
    an https:// or s3:// address is downloaded. GLOB chooses keys by their full names. Nothing is loaded if the
    file is malformed, or if keys exist already and neither --replace nor --keep is given.

    \b
    Examples:
      telstate load observation.rdb localhost:6379
      telstate load m000.jsonl redis://localhost/1 'm000_*' --replace
    """
    if replace and keep:
        raise click.UsageError("--replace and --keep exclude each other.")
    existing: Existing = "replace" if replace else "keep" if keep else "refuse"
    typed = StoreArgument(file)
    source = typed.source
    done = [0, 0]
    with store.open(writable=True) as opened, _bar(file) as progress:

        def follow(count: int, total: int) -> None:
            done[:] = count, total
            progress(count, total)

        try:
            report = import_file(
                opened.ts,
                source,
                globs or None,
                exclude=exclude,
                existing=existing,
                database=from_db,
                progress=follow,
            )
        except KeysExistError as error:
            text = str(error).rpartition(". ")[0]
            raise click.ClickException(f"{text}. Use --replace or --keep.") from error
        except DatabaseCollisionError as error:
            text = str(error).removesuffix(".")
            raise click.ClickException(f"{text} with --from-db.") from error
        except (ConnectionError, RefusedError) as error:
            if not done[0]:
                raise
            part = f"{100 * done[0] // done[1]} % of {typed.name} was loaded before that."
            raise click.ClickException(f"{error} {part}") from error
    facts = {"keys": report.keys}
    if replace or keep:
        facts["replaced" if replace else "kept"] = report.existing
    _print_result(output, as_json, **facts)


@contextmanager
def _bar(path: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar that counts keys or rows, on a terminal."""
    names = {path: "standard input" if path == "-" else os.path.basename(escape_path(path))}
    with show_progress(names, in_bytes=False) as progress:
        yield progress.get(path, lambda done, total: None)
