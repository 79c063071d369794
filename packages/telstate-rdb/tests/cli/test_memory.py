"""Memory reports: the model against MEMORY USAGE of real servers, and the forms of the report."""

from __future__ import annotations

import csv
import io
import json
import random
import statistics
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdb_command import readable_samples, run, run_on_terminal
from rdb_data import NO_SAMPLES
from rdb_servers import connect, has_command

from telstate_rdb import KeyRecord, RdbWriter, decode_dump, encode_dump, parse_dump, read_rdb
from telstate_rdb.memory import ServerName, count_radix_nodes, measure_key
from telstate_rdb.prefixes import PrefixTree
from telstate_testing import RedisBinary, RedisServer

LATER = 4_000_000_000_000


def fill(client: Any) -> None:
    """Write keys of every type in every encoding, of several sizes, to a server."""
    generator = random.Random(17)

    def text(size: int) -> bytes:
        return bytes(generator.choices(b"abcdefghijklmnop", k=size))

    pipe = client.pipeline(transaction=False)
    for size in (0, 1, 12, 20, 43, 44, 45, 60, 127, 128, 255, 256, 1000, 4000, 10_000, 200_000):
        pipe.set(f"string:{size}", text(size))
    for number in (0, 9999, -5, 2**31, -(2**60)):
        pipe.set(f"string:number:{number}", number)
    pipe.set("k" * 100, "v")
    for count in (1, 2, 20, 128, 129, 513, 1500):
        for width in (3, 30, 65, 150):
            name = f"{count}:{width}"
            members = [b"%d:%b" % (number, text(width)) for number in range(count)]
            pipe.rpush(f"list:{name}", *members)
            pipe.sadd(f"set:{name}", *members)
            pipe.zadd(
                f"zset:{name}",
                {one: generator.choice((n, n / 7)) for n, one in enumerate(members)},
            )
            pipe.hset(f"hash:{name}", mapping={one: text(width) for one in members})
            if has_command(client, "HPEXPIREAT"):
                key = f"hash:expiring:{name}"
                pipe.hset(key, mapping={one: text(width) for one in members})
                chosen = members[::2]
                pipe.execute_command("HPEXPIREAT", key, LATER, "FIELDS", len(chosen), *chosen)
        pipe.rpush(f"list:numbers:{count}", *range(count))
        pipe.sadd(f"set:numbers:{count}", *range(1000, 1000 + count))
        pipe.sadd(f"set:large numbers:{count}", *(number << 40 for number in range(count)))
        pipe.zadd(f"zset:numbers:{count}", {number: number for number in range(count)})
        pipe.hset(f"hash:numbers:{count}", mapping={number: number for number in range(count)})
        for width in (3, 40):
            key = f"stream:{count}:{width}"
            time = 1_700_000_000_000
            for number in range(count):
                time += generator.randrange(1, 2000)
                pipe.xadd(key, {"text": text(width), "number": number}, id=f"{time}-0")
            for group in range(width // 20):
                pipe.xgroup_create(key, f"group {group}", "0")
                for consumer in ("first", "second"):
                    pipe.xreadgroup(f"group {group}", consumer, {key: ">"}, count=count // 3 + 1)
    pipe.execute()


def test_model(redis_binary: RedisBinary) -> None:
    """The median for each type is within 10 %; no key, but for small tables, is 20 % off."""
    names: dict[str, ServerName] = {"redis-7.0": "7.0", "redis-8.0": "8.0"}
    name = names.get(str(redis_binary)[:9])
    if name is None:
        pytest.skip("the model is of Redis 7.0 and 8.0")
    errors: dict[str, list[float]] = defaultdict(list)
    with RedisServer(redis_binary) as server:
        client = connect(server)
        fill(client)
        client.save()
        path = server.folder / "dump.rdb"
        with RedisServer(redis_binary, snapshot=path) as loaded:
            client = connect(loaded)
            for record in read_rdb(path, raw=True):
                found = measure_key(record, name)
                usage = client.memory_usage(record.key, samples=0)
                assert found.encoding == client.object("encoding", record.key).decode()
                assert found.memory is not None
                error = found.memory / usage - 1
                assert abs(error) < 0.2, (record.key, usage, found)
                errors[found.type].append(error)
                errors[f"{found.type} {found.encoding}"].append(error)
    assert len(errors) >= 6 + 10
    for kind, found_errors in errors.items():
        assert abs(statistics.median(found_errors)) < 0.02, (kind, found_errors)
        assert statistics.median(map(abs, found_errors)) < 0.02, (kind, found_errors)


@NO_SAMPLES
def test_samples() -> None:
    """Every key of every sample is measured alike in its own encoding and in that of other versions."""
    for path in readable_samples():
        for record in read_rdb(path, raw=True):
            found = measure_key(record)
            value = decode_dump(record.value.dump(record.value.version))
            if found.type in ("stream", "module", "list"):  # whose nodes are counted as they are
                continue
            if found.elements:
                raw = parse_dump(encode_dump(value))
                other = measure_key(record._replace(value=raw))
                assert other[4:5] + other[6:8] == found[4:5] + found[6:8], (path, record.key)
                assert other.memory is not None and found.memory is not None
                assert abs(other.memory - found.memory) <= 64, (path, record.key)


@given(st.sets(st.binary(min_size=4, max_size=4), max_size=40))
def test_radix_nodes(ids: set[bytes]) -> None:
    """The nodes of a radix tree are counted as building the tree would count them."""

    def count(group: list[bytes]) -> int:
        if len(group) == 1:
            return 2 if group[0] else 1
        shared = 0
        while len({one[shared] for one in group}) == 1:
            shared += 1
        below: dict[int, list[bytes]] = {}
        for one in group:
            below.setdefault(one[shared], []).append(one[shared + 1 :])
        return (shared > 0) + 1 + sum(map(count, below.values()))

    assert count_radix_nodes(sorted(ids)) == (count(sorted(ids)) if ids else 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with prefixes."""
    path = tmp_path / "dump.rdb"
    with RdbWriter(path) as writer:
        for number in range(20):
            writer.write(b"user:%d:name" % number, b"x" * number * 100)
            writer.write(b"user:%d:age" % number, b"%d" % number)
        writer.write(b"<mode>:a&b", b"x" * 5000, expiry=LATER)
        writer.write(b"mode", b"")
    return path


def test_report(path: Path) -> None:
    """The report has all columns, as tab-separated text, CSV, JSON and a table."""
    lines = [line.split("\t") for line in run("memory", path).stdout.splitlines()]
    assert len(lines) == 42
    (line,) = (line for line in lines if line[-1] == "<mode>:a&b")
    expected = ["0", "string", "raw", "5000", "5000", "5012", "5176", "2096-10-02T07:06:40Z"]
    assert line == [*expected, "<mode>:a&b"]
    table = list(csv.DictReader(io.StringIO(run("memory", path, "--csv").stdout)))
    assert sum(int(row["memory"]) for row in table) == sum(int(line[6]) for line in lines)
    found = [json.loads(line) for line in run("memory", path, "--json").stdout.splitlines()]
    assert found[-2]["expiry"] == LATER
    status, text = run_on_terminal("memory", path)
    assert status == 0
    assert text.splitlines()[0].split()[:2] == ["\x1b[1mdb", "type"]
    assert max(map(len, text.splitlines()[1:])) <= 80


def test_largest(path: Path) -> None:
    """The keys that need most come first, and keys that need little are left out."""
    lines = run("memory", path, "--top", "3").stdout.splitlines()
    assert [line.split("\t")[-1] for line in lines] == [
        "<mode>:a&b",
        "user:18:name",
        "user:19:name",
    ]
    assert len(run("memory", path, "--least", "2k").stdout.splitlines()) == 3
    assert len(run("memory", path, "--keys", "user:1:*").stdout.splitlines()) == 2


def test_prefixes(path: Path) -> None:
    """Sums are by prefix, to a depth, the largest first."""
    lines = [
        line.split("\t") for line in run("memory", path, "--by-prefix", ":").stdout.splitlines()
    ]
    assert [(line[0], line[3]) for line in lines] == [
        ("40", "user:"),
        ("1", "<mode>:"),
        ("1", "without prefix"),
    ]
    rows = run("memory", path, "--by-prefix", ":", "--depth", "2", "--top", "2", "--json").stdout
    assert [json.loads(row)["prefix"] for row in rows.splitlines()] == ["user:", "<mode>:"]
    deep = run("memory", path, "--by-prefix", ":", "--depth", "2").stdout.splitlines()
    assert len(deep) == 3 + 20


def test_many_prefixes() -> None:
    """A prefix with very many others below it does not keep them all."""
    tree = PrefixTree(b":", depth=2)
    for number in range(30_000):
        tree.add(b"user:%d:name" % number, 10, 100)
    rows = list(tree.rows())
    assert len(rows) == 1 + 10_000 + 1
    assert tuple(rows[-1]) == ("user:(others)", 20_000, 200_000, 2_000_000)
    assert len(tree.to_svg("all")) < 10_000


def test_flame_graph(path: Path, tmp_path: Path) -> None:
    """The picture has a box for each prefix, as wide as its memory, with its numbers."""
    picture = tmp_path / "memory.svg"
    result = run("memory", path, "--flame", picture)
    assert result[:3] == (0, "", "")
    root = ElementTree.parse(picture).getroot()
    name = "{http://www.w3.org/2000/svg}"
    titles = [title.text or "" for title in root.iter(f"{name}title")]
    assert any(title.startswith("<mode>:\n5,176 bytes of memory, 1 keys") for title in titles)
    boxes = list(root.iter(f"{name}rect"))[1:]
    widths = [float(box.get("width", "")) for box in boxes]
    assert widths[0] == 1200
    assert all(0 < width <= 1200 for width in widths)
    again = run("memory", path, "--flame", picture)
    assert (again.exit_code, again.stderr) == (
        2,
        f"{picture} exists. Use --force to overwrite it.\n",
    )
    assert run("memory", path, "--flame", picture, "--force").exit_code == 0


def test_dump_payload() -> None:
    """The value of a payload of DUMP is measured as that of a file."""
    raw = parse_dump(encode_dump(b"x" * 100))
    assert measure_key(KeyRecord(0, b"key", raw)).memory == 16 + 112 + 8 + 24
