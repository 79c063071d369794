"""The command that reports how much memory keys need."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable
from itertools import islice
from operator import attrgetter
from typing import get_args

import click

from telstate_rdb._source import name_damage
from telstate_rdb.cli._common import (
    check_separator,
    file_argument,
    name_of,
    parse_size,
    read_file,
    selection_options,
)
from telstate_rdb.cli.output import (
    Column,
    Format,
    Output,
    json_option,
    open_output,
    output_options,
    print_rows,
    refuse_existing,
)
from telstate_rdb.memory import KeyMemory, ServerName, measure_key
from telstate_rdb.prefixes import PrefixTree
from telstate_rdb.selection import Selection, read_selected

_KEYS = (
    Column("db", "number"),
    Column("type"),
    Column("encoding"),
    Column("elements", "number"),
    Column("longest", "number"),
    Column("bytes", "number"),
    Column("memory", "number"),
    Column("expiry", "time"),
    Column("key", "name"),
)
_key_row = attrgetter(
    "database", "type", "encoding", "elements", "longest", "size", "memory", "expiry", "key"
)
_PREFIXES = (
    Column("keys", "number"),
    Column("bytes", "number"),
    Column("memory", "number"),
    Column("prefix", "name"),
)
_FLAME_DEPTH = 5


@click.command()
@file_argument
@selection_options
@click.option(
    "--server",
    type=click.Choice(get_args(ServerName)),
    default="8.0",
    show_default=True,
    help="The release of Redis that would load the file.",
)
@click.option(
    "--least",
    callback=parse_size,
    metavar="BYTES",
    help="Only keys that need at least so much memory, such as 10k.",
)
@click.option("--top", type=click.IntRange(1), metavar="N", help="Only the N that need most.")
@click.option(
    "--by-prefix",
    metavar="SEPARATOR",
    callback=check_separator,
    help="Sum up by the prefixes of names, such as the part before the first colon (:).",
)
@click.option(
    "--depth", type=click.IntRange(1), metavar="N", help="The number of parts in a prefix."
)
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated text with a header.")
@json_option
@click.option(
    "--flame",
    metavar="FILE.svg",
    type=click.Path(dir_okay=False),
    help="Draw the prefixes as a flame graph. [separator: --by-prefix, or :]",
)
@output_options
def memory(
    file: str,
    selection: Selection,
    server: ServerName,
    least: int | None,
    top: int | None,
    by_prefix: str | None,
    depth: int | None,
    as_csv: bool,
    as_json: bool,
    flame: str | None,
    force: bool,
    output: Output,
) -> None:
    """Report how much memory each key would need on a server.

    The columns are the database, the type, the encoding, the number of elements, the longest of them,
    the bytes in the file, the memory as MEMORY USAGE reports it, the expiry and the name. The
    memory of values of modules is not known.

    \b
    Examples:
      telstate-rdb memory dump.rdb --top 20
      telstate-rdb memory dump.rdb --by-prefix : --depth 2 --flame memory.svg
    """
    format_: Format = "json" if as_json else "csv" if as_csv else "table"
    tree = None
    if by_prefix is not None or flame is not None:
        separator = by_prefix or ":"
        tree = PrefixTree(os.fsencode(separator), depth or (_FLAME_DEPTH if flame else 1))
    if flame is not None:
        refuse_existing(flame, force)
    with read_file(file, output) as source, name_damage(source["source"], source["name"]):
        records = read_selected(**source, selection=selection, raw=True)
        keys = (measure_key(record, server) for record in records)
        if least is not None:
            keys = (key for key in keys if (key.memory or 0) >= least)
        if tree is not None:
            for key in keys:
                tree.add(key.key, key.size, key.memory or 0)
        else:
            print_rows(output, format_, _KEYS, map(_key_row, _largest(keys, top)))
    if tree is None:
        return
    if flame is not None:
        with open_output(flame, force) as picture:
            picture.write(tree.to_svg(name_of(file)))
    if by_prefix is not None:
        rows = sorted(tree.rows(), key=lambda row: -row.memory) if top else tree.rows()
        chosen = ((row.keys, row.size, row.memory, row.prefix) for row in islice(rows, top))
        print_rows(output, format_, _PREFIXES, chosen)


def _largest(keys: Iterable[KeyMemory], count: int | None) -> Iterable[KeyMemory]:
    if count is None:
        return keys
    return heapq.nlargest(count, keys, key=lambda key: key.memory or 0)
