"""The commands that show what is in a file: keys, get and json."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from typing import Any

import click

from telstate_rdb._parser import Measure
from telstate_rdb.cli._common import (
    complete_key,
    file_argument,
    name_of,
    read_file,
    selection_options,
)
from telstate_rdb.cli.group import NO, YES, print_message
from telstate_rdb.cli.output import (
    Column,
    Output,
    json_option,
    output_options,
    print_rows,
    print_to,
)
from telstate_rdb.constants import TYPE_NAMES
from telstate_rdb.json_form import encode_json
from telstate_rdb.printable import escape
from telstate_rdb.reader import read_rdb
from telstate_rdb.records import AuxiliaryField, DatabaseSize, SlotInformation
from telstate_rdb.selection import Selection, list_keys, read_selected
from telstate_rdb.values import Array, Hash, List, Module, Set, SortedSet, Stream, Value

_KEYS = (
    Column("db", "number"),
    Column("type"),
    Column("bytes", "number"),
    Column("expiry", "time"),
    Column("key", "name"),
)
_HINTS = (AuxiliaryField, DatabaseSize, SlotInformation)  # facts about a file, not its content


@click.command()
@file_argument
@selection_options
@click.option("--names", is_flag=True, help="Print the names alone, one a line.")
@json_option
@print_to
def keys(file: str, selection: Selection, names: bool, as_json: bool, output: Output) -> None:
    """List the keys of a file, in its order.

    The columns are the database, the type, the bytes in the file, the time of expiry and the name,
    in which bytes that are not printable are escaped.

    \b
    Examples:
      telstate-rdb keys dump.rdb --keys 'user:*' --type hash
      telstate-rdb keys dump.rdb --names --expiring | wc -l
    """
    with read_file(file, output) as source:
        batches = list_keys(**source, selection=selection)
        if as_json or output.is_terminal and not names:
            rows = map(_key_row, chain.from_iterable(batches))
            print_rows(output, "json" if as_json else "table", _KEYS, rows)
        else:
            _print_quickly(output, batches, names)


def _print_quickly(output: Output, batches: Iterator[list[Measure]], only_names: bool) -> None:
    """Print keys as `print_rows` does, many at once: that takes little longer than reading them."""
    kinds = {type_: f"\t{name}\t" for type_, name in TYPE_NAMES.items()}
    for batch in batches:
        texts = _escape_all([measure[1] for measure in batch])
        if not only_names:
            texts = [
                f"{database}{kinds[type_]}{size}\t"
                f"{'' if expiry is None else _KEYS[3].plain(expiry)}\t{text}"
                for (database, _, type_, size, expiry), text in zip(batch, texts)
            ]
        texts.append("")
        output.write("\n".join(texts))


def _escape_all(names: list[bytes]) -> list[str]:
    """Return names as `escape` does."""
    joined = b"\n".join(names)
    if b"\\" not in joined:
        with suppress(UnicodeDecodeError):
            text = joined.decode()
            if text.count("\n") == len(names) - 1 and text.replace("\n", "").isprintable():
                return text.split("\n")
    return list(map(escape, names))


def _key_row(measure: Measure) -> tuple[int, str, int, int | None, bytes]:
    database, key, type_, size, expiry = measure
    return database, TYPE_NAMES[type_], size, expiry, key


@click.command()
@file_argument
@click.argument("key", shell_complete=complete_key)
@click.option("--db", "database", type=click.IntRange(0), metavar="N", help="The database.")
@click.option("--raw", is_flag=True, help="Print the bytes of a string as they are.")
@json_option
@print_to
def get(file: str, key: str, database: int | None, raw: bool, as_json: bool, output: Output) -> int:
    """Print the value of one key.

    Elements stand on a line each: fields with their values and expiries, members with their
    scores, entries of streams with their ids. The exit status is 1 if there is no such key. A key
    that is not UTF-8 is written with $'...' in the shell.

    \b
    Examples:
      telstate-rdb get dump.rdb user:17
      telstate-rdb get dump.rdb picture --raw > picture.png
    """
    wanted = os.fsencode(key)
    with read_file(file) as source:
        # Reading ends with the key, so the rest of the file is not checked.
        with read_rdb(**source, databases=database, keys=lambda name: name == wanted) as reader:
            found = next(iter(reader), None)
    if found is None:
        place = "" if database is None else f" in database {database}"
        print_message(f"No key {escape(wanted)} is in {name_of(file)}{place}.")
        return NO
    if as_json:
        for piece in encode_json(found):
            output.write(piece)
        output.write("\n")
    elif raw:
        if not isinstance(found.value, bytes):
            raise click.UsageError(f"--raw is for strings; {escape(wanted)} is not one.")
        output.write_bytes(found.value)
    else:
        columns, rows = _value_rows(found.value)
        print_rows(output, "table", columns, rows)
    return YES


def _value_rows(value: Value) -> tuple[tuple[Column, ...], Iterator[tuple[Any, ...]]]:
    """Return the columns and rows that show a value."""
    match value:
        case bytes():
            return (Column("value", "name"),), iter([(value,)])
        case List():
            return (Column("element", "name"),), zip(value.elements)
        case Set():
            return (Column("member", "name"),), zip(value.members)
        case SortedSet():
            rows = zip(map(repr, value.scores), value.members, strict=True)
            return (Column("score"), Column("member", "name")), rows
        case Hash() if value.expiries:
            expiry = value.expiries.get
            return (
                (Column("field", "name"), Column("expiry", "time"), Column("value", "name")),
                ((name, expiry(name), text) for name, text in value.fields.items()),
            )
        case Hash():
            return (Column("field", "name"), Column("value", "name")), iter(value.fields.items())
        case Stream():
            entries = ((str(one.id), _show_fields(one.fields)) for one in value.entries)
            return (Column("id"), Column("fields", "name")), entries
        case Array():
            return (Column("index"), Column("element", "name")), iter(value.elements.items())
        case Module():
            return (
                (Column("module"), Column("version"), Column("body", "name")),
                iter([(value.name, value.version, value.body)]),
            )


def _show_fields(fields: tuple[tuple[bytes, bytes], ...]) -> str:
    return " ".join(f"{escape(name)}={escape(text)}" for name, text in fields)


@click.command("json")
@file_argument
@selection_options
@click.option("--array", is_flag=True, help="Print one array instead of a line for each key.")
@output_options
def json_(file: str, selection: Selection, array: bool, force: bool, output: Output) -> None:
    """Print every key and value as JSON, one object a line.

    Nothing is lost: bytes that are not UTF-8 are {"$bytes": BASE64}, and streams have their groups,
    hashes the expiries of their fields. Function libraries and data of modules are printed too,
    unless keys are chosen.

    \b
    Examples:
      telstate-rdb json dump.rdb | jq 'select(.type == "hash") | .key'
      telstate-rdb json dump.rdb --keys 'user:*' --array -o users.json
    """
    with read_file(file, output) as source:
        between = "[\n" if array else ""
        for record in read_selected(**source, selection=selection, auxiliary=True):
            if not isinstance(record, _HINTS):
                output.write(between)
                for piece in encode_json(record):
                    output.write(piece)
                if array:
                    between = ",\n"
                else:
                    output.write("\n")
    if array:
        output.write("[]\n" if between == "[\n" else "\n]\n")
