"""The README and the pages about the commands: they show each command and each option of rdbtools."""

from __future__ import annotations

import re
from array import array
from pathlib import Path

import pytest

from telstate_rdb import (
    AuxiliaryField,
    Hash,
    KeyRecord,
    List,
    RdbWriter,
    Set,
    SortedSet,
    Stream,
    StreamConsumer,
    StreamEntry,
    StreamGroup,
    StreamId,
    StreamPending,
    Value,
)
from telstate_testing.console import check_example, console_examples

README = Path(__file__).parents[2] / "README.md"
DOCS = Path(__file__).parents[4] / "docs"
PAGES = [README, *sorted(DOCS.glob("how-to/rdb-*.md"))]
EXAMPLES = console_examples(README)
RDB_OPTIONS = (
    "-c json, -c diff, -c justkeys, -c justkeyvals, -c memory, -c protocol, -f, -n, -k, -o, "
)
RDB_OPTIONS += "-t, -b, -l, -e, -x, -a, redis-memory-for-key, redis-profiler"
EXPIRY = 1_900_000_000_000


def make_example(path: Path, *, later: bool = False) -> None:
    """Write the file that the examples are about, or that of a day later."""
    entries = tuple(
        StreamEntry(StreamId(EXPIRY - 10_000 + n, 0), ((b"order", b"%d" % n),)) for n in range(3)
    )
    pending = (StreamPending(entries[0].id, EXPIRY - 5_000, 1),)
    consumer = StreamConsumer(b"worker 1", EXPIRY - 5_000, EXPIRY - 5_000, (entries[0].id,))
    group = StreamGroup(b"billing", entries[0].id, 1, pending, (consumer,))
    last = entries[-1].id
    values: list[tuple[bytes, Value, int | None]] = [
        (b"user:1", Hash({b"name": "Zoë".encode(), b"mail": b"zoe@example.org"}), None),
        (b"user:2", Hash({b"name": b"Jan", b"mail": b"jan@example.org"}), None),
        (b"session:8f3a", b"\xff\x00" * 40, EXPIRY),
        (b"queue", List((b"order 17", b"order 18")), None),
        (b"tags", Set((b"new", b"sale")), None),
        (b"ranking", SortedSet((b"Zo", b"Jan"), array("d", (3.5, 12))), None),
        (b"orders", Stream(entries, last, entries[0].id, StreamId(0, 0), 3, (group,)), None),
    ]
    if later:
        values[0] = (b"user:1", Hash({b"name": "Zoë".encode(), b"mail": b"z@example.org"}), None)
        values[4:5] = [(b"user:3", Hash({b"name": b"Kim"}), None)]
    with RdbWriter(path, 11) as writer:
        writer.write_record(AuxiliaryField(b"redis-ver", b"7.2.4"))
        writer.write_record(AuxiliaryField(b"ctime", b"%d" % (EXPIRY // 1000 - 100)))
        writer.write_records(KeyRecord(0, *value) for value in values)


@pytest.mark.parametrize("name", ["dump.rdb", "later.rdb"])
def test_samples(name: str, tmp_path: Path) -> None:
    """The files of the documentation's examples are those made here."""
    make_example(tmp_path / name, later=name == "later.rdb")
    assert (DOCS / "samples" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_every_command_has_an_example() -> None:
    """The README or a page shows each command."""
    shown = "".join(example for page in PAGES for example in console_examples(page))
    commands = "info keys get json resp memory diff convert merge split verify"
    assert set(re.findall(r"\btelstate-rdb (\w+)", shown)) == set(commands.split())


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples(example: str, tmp_path: Path) -> None:
    """Each command prints what the README shows."""
    make_example(tmp_path / "dump.rdb")
    make_example(tmp_path / "later.rdb", later=True)
    check_example(example, tmp_path)


def test_uses_of_rdbtools() -> None:
    """The page says what to use in place of each option of rdbtools."""
    table = (DOCS / "how-to" / "rdb-from-rdbtools.md").read_text().partition("\n## ")[0]
    left = " ".join(row.split("|")[1] for row in table.splitlines() if row.startswith("|"))
    for use in RDB_OPTIONS.split(", "):
        assert re.search(rf"`(rdb )?{use}\b", left), use
