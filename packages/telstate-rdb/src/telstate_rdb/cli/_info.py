"""The commands that judge a file as a whole: info and verify."""

from __future__ import annotations

import click

from telstate_rdb.cli._common import FILE, name_of, read_file, selection_options
from telstate_rdb.cli.group import NO, YES, print_message
from telstate_rdb.cli.output import (
    Column,
    Output,
    format_time,
    json_option,
    print_facts,
    print_json,
    print_rows,
    print_to,
)
from telstate_rdb.errors import RdbParseError
from telstate_rdb.printable import escape
from telstate_rdb.reader import read_rdb
from telstate_rdb.selection import Selection
from telstate_rdb.summary import Summary
from telstate_rdb.summary import as_json as summary_to_json
from telstate_rdb.summary import summarise

_VERDICTS: dict[str, str] = {
    "none": "yes, as far as can be told without a checksum (this version has none)",
    "not computed": "yes, as far as can be told without a checksum (it was not computed)",
}
_SHARES = (
    Column("db", "number"),
    Column("type"),
    Column("encoding"),
    Column("keys", "number"),
    Column("expiring", "number"),
    Column("bytes", "number"),
)
_BIGGEST = (
    Column("bytes", "number"),
    Column("db", "number"),
    Column("type"),
    Column("expiry", "time"),
    Column("key", "name"),
)

files_argument = click.argument("files", metavar="FILE...", nargs=-1, required=True, type=FILE)


def _summarise(file: str, selection: Selection) -> Summary:
    with read_file(file) as source:
        reader = read_rdb(**source, strict=False, raw=True, auxiliary=True)
        return summarise(reader, None if selection.is_everything else selection.accepts_measure)


def _print_losses(summary: Summary, name: str) -> None:
    """Print what could not be read, on standard error."""
    for loss in summary.losses:
        key = "" if loss.key is None else f", key {escape(loss.key)}"
        size = "the rest" if loss.size is None else f"{loss.size} bytes"
        print_message(f"{name}, byte {loss.offset}{key}: {loss.reason} ({size} not used)")
    for repeated in summary.repeated:
        if repeated.key is None:
            print_message(f"{name}: a key is there twice, which no server loads")
        else:
            place = f"key {escape(repeated.key)} in database {repeated.database}"
            print_message(f"{name}: {place} is there twice, which no server loads")


@click.command()
@files_argument
@selection_options
@json_option
@print_to
def info(files: tuple[str, ...], selection: Selection, as_json: bool, output: Output) -> int:
    """Show what files are, whether they are sound, and what is in them.

    Version, server, checksum, keys and bytes by database and type, expiries, functions, and the
    biggest keys. Keys can be chosen; the verdict is on the whole file nevertheless. The exit status
    is 1 if a file is not sound.

    \b
    Examples:
      telstate-rdb info dump.rdb
      telstate-rdb info dump.rdb --type stream --json
    """
    status = YES
    for file in files:
        name = name_of(file)
        try:
            summary = _summarise(file, selection)
        except RdbParseError as error:
            print_message(str(error))
            status = NO
            continue
        if as_json:
            print_json(output, summary_to_json(summary, name))
        else:
            _print_summary(output, summary, name)
        output.flush()
        _print_losses(summary, name)
        if not summary.sound:
            status = NO
    return status


def _print_summary(output: Output, summary: Summary, name: str) -> None:
    """Print a summary for people, or one fact a line into a pipe."""
    total = summary.total
    created = summary.facts.get("ctime")
    facts = [
        ("file", name),
        ("format", summary.format),
        ("written by", summary.server),
        ("created", "not said" if created is None else format_time(created, "s")),
        ("checksum", summary.checksum),
        ("sound", _VERDICTS.get(summary.checksum, "yes") if summary.sound else "NO"),
        ("keys", f"{total.keys:,} of {total.size:,} bytes, {total.expiring:,} of them expire"),
        ("function libraries", str(summary.functions)),
    ]
    print_facts(output, facts)
    shares = sorted(summary.shares.items())
    if not shares:
        return
    output.write("\n")
    rows = ((*kind, share.keys, share.expiring, share.size) for kind, share in shares)
    print_rows(output, "table", _SHARES, rows)
    output.write("\nbiggest keys\n")
    biggest = ((one.size, one.database, one.type, one.expiry, one.key) for one in summary.biggest)
    print_rows(output, "table", _BIGGEST, biggest)


@click.command()
@files_argument
@click.option("-q", "--quiet", is_flag=True, help="Print nothing about sound files.")
@json_option
@print_to
def verify(files: tuple[str, ...], quiet: bool, as_json: bool, output: Output) -> int:
    """Verify that a server would load files.

    Every value is decoded. The exit status is 0 only if all files are complete, their checksums are
    right, and they have nothing that servers refuse, such as a key that stands twice. Problems go
    to standard error.

    \b
    Examples:
      telstate-rdb verify /backup/*.rdb
      telstate-rdb verify --quiet dump.rdb && cp dump.rdb /var/lib/redis/
    """
    status = YES
    for file in files:
        name = name_of(file)
        reasons: list[dict[str, object]] = []
        try:
            summary = _summarise(file, Selection())
        except RdbParseError as error:
            reasons.append({"offset": error.offset, "reason": error.reason})
            print_message(str(error))
        else:
            report = summary_to_json(summary, name)
            reasons += report["losses"] + report["repeated"]
            _print_losses(summary, name)
        if reasons:
            status = NO
        if as_json:
            print_json(output, {"file": name, "sound": not reasons, "problems": reasons})
        elif not (quiet and not reasons):
            output.write(f"{name}\t{'NOT SOUND' if reasons else 'sound'}\n")
        output.flush()
    return status
