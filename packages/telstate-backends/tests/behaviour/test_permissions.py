"""Users with few permissions, and servers without memory: what can be read is read, in whatever way is left."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from conftest import NEWEST, SERVERS, marked, needs_server
from subjects import LONG

from telstate_backends import (
    AddSample,
    AddSamples,
    AsyncRedisBackend,
    CachedBackend,
    CheckDue,
    Clear,
    Count,
    Delete,
    Exists,
    Export,
    Find,
    Get,
    GetIndexed,
    GetKeyType,
    GetPage,
    GetRange,
    ImmutableKeyError,
    Keys,
    KeyTypes,
    KeyWait,
    Operation,
    Peek,
    RedisBackend,
    RefusedError,
    SetImmutable,
    SetIndexed,
    SomeKeys,
    WhichExist,
    load_records,
    wait,
)
from telstate_backends.operations.base import READ_SCRIPTS
from telstate_backends.operations.plain_reads import _READS  # that none is missing
from telstate_codec import encode_sample, encode_value
from telstate_rdb import KeyRecord
from telstate_testing import RedisServer

pytestmark = needs_server

HOW_TO = Path(__file__).parents[4] / "docs" / "how-to"
MAX = b"\xff" * 8
#: On a busy machine, a server may need more than the default of 5 s for the large values.
PATIENT = "socket_timeout=20"
SAMPLES = tuple(encode_sample(float(time), encode_value(time)) for time in range(3000))
CANDIDATES = [
    (b"a",),
    (b"s",),
    (b"i",),
    (b"nothing", b"s", b"a"),
    (b"nothing",),
    (b"foreign",),
    (b"scored",),
    (b"nothing", b"foreign", b"s"),
]
#: Everything that reads.
READS: list[Operation[Any]] = [
    *(kind(keys) for kind in (Get, Find, Exists, GetKeyType, WhichExist) for keys in CANDIDATES),
    *(Find(keys, needs_contents=False) for keys in CANDIDATES),
    *(GetIndexed(keys, field) for keys in CANDIDATES for field in (b"f1", b"none")),
    *(
        GetRange(keys, encode_sample(start, b""), encode_sample(end, b""), previous)
        for keys in CANDIDATES
        for start, end in ((10.5, 20.0), (20.0, 10.0), (1e9, 1e9), (5.0, 1e9))
        for previous in (False, True)
    ),
    *(
        kind(key)
        for kind in (Export, partial(Export, is_long=True), Peek)
        for key in (b"a", b"s", b"i", b"big", b"bigs", b"nothing", b"foreign", b"scored")
    ),
    *(Peek(b"a", limit) for limit in (0, 1)),
    Keys(),
    Keys(b"[as]*"),
    KeyTypes(),
    KeyTypes(b"[as]"),
    Count(),
    SomeKeys(),
]
#: The permissions by which only one way of reading is left, from the most to the least convenient.
WAYS = {
    "all": "~* +@all",
    "read-only scripts": "%R~* +@read +eval_ro +evalsha_ro",
    "scripts": "~* +@read +eval +evalsha",
    "transactions": "~* +@read +multi +exec",
    "plain commands": "~* +@read",
}
RIGHTS = {way: rights + " +select +ping &*" for way, rights in WAYS.items()}


def fill(client: redis.Redis) -> None:
    """Write keys of all kinds, ours and foreign."""
    client.set("a", encode_value("value"))
    client.zadd("s", dict.fromkeys(SAMPLES, 0))
    client.hset("i", mapping={b"f%d" % number: encode_value(number) for number in range(3)})
    client.set("big", encode_value(bytes(9 << 20)))
    client.zadd("bigs", {encode_sample(1.0, encode_value(bytes(9 << 20))): 0})
    client.rpush("foreign", "x")
    client.zadd("scored", {SAMPLES[0]: 1.0})


def results_of(backend: RedisBackend, operations: Sequence[Operation[Any]]) -> list[object]:
    """Execute operations one by one, and return their results, the text of an error for one that failed."""
    results: list[object] = []
    for operation in operations:
        try:
            results.append(backend.execute(operation))
        except Exception as error:
            results.append((type(error), str(error).replace(backend.address, "")))
    return results


def batch_of(found: Sequence[object], address: str) -> list[object]:
    """Return results of a batch as `results_of` does."""
    return [
        (type(one), str(one).replace(address, "")) if isinstance(one, Exception) else one
        for one in found
    ]


def set_user(admin: Any, name: str, *rules: str) -> None:
    """Make or change a user."""
    admin.execute_command("ACL", "SETUSER", name, *rules)


@contextmanager
def user(admin: redis.Redis, rights: str) -> Iterator[str]:
    """Make a user with some rights; yield what to write before the host of a URL."""
    set_user(admin, "some", "reset", "on", ">hush", *rights.split())
    try:
        yield "//some:hush@"
    finally:
        admin.acl_deluser("some")


def has_key_permissions(admin: redis.Redis) -> bool:
    """Return whether a server has permissions to read some keys, and read-only scripts."""
    version = admin.info("server")["redis_version"]
    return int(version.split(".")[0]) >= 7


def test_every_script_that_reads_can_be_read_plainly() -> None:
    """There is a plain read for each script that only reads."""
    assert READ_SCRIPTS == set(_READS)
    operations = (operation.command() for operation in [*READS, GetPage(b"a")])
    commands = [command.whole or command for command in operations]
    assert {command.name for command in commands if command.is_script} == READ_SCRIPTS


@pytest.fixture(params=marked([*SERVERS, *(f"{name} resp3" for name in NEWEST[:1])]))
def any_url(request: pytest.FixtureRequest, server_urls: dict[str, str]) -> str:
    """The URL of an empty server, of each version in turn, and with the other protocol."""
    name, _, protocol = request.param.partition(" resp")
    url = server_urls[name]
    with redis.Redis.from_url(url) as admin:
        admin.flushall()
        admin.script_flush()
    return f"{url}?protocol={protocol or 2}&{PATIENT}"


@pytest.mark.parametrize("way", WAYS)
async def test_reading_in_every_way(any_url: str, way: str) -> None:
    """Whatever a user may use to read, every read has the same result, also in batches and on asyncio."""
    with redis.Redis.from_url(any_url) as admin:
        if "%" in RIGHTS[way] and not has_key_permissions(admin):
            return  # the server does not know such users
        fill(admin)
        with RedisBackend.from_url(any_url) as backend:
            expected = results_of(backend, READS)
            pages = list(pages_of(backend))
        with user(admin, RIGHTS[way]) as name:
            url = any_url.replace("//", name)
            with RedisBackend.from_url(url) as backend:
                assert results_of(backend, READS) == expected
                assert pages[0] == next(pages_of(backend))
                assert sum(pages_of(backend), []) == sum(pages, [])
            with RedisBackend.from_url(url) as backend:
                assert batch_of(backend.execute_many(READS), backend.address) == expected
                assert batch_of(backend.execute_many(READS), backend.address) == expected
            async with await AsyncRedisBackend.from_url(url) as other:
                assert batch_of(await other.execute_many(READS), other.address) == expected
                for operation, result in zip(READS, expected, strict=True):
                    if not isinstance(result, tuple):
                        assert await other.execute(operation) == result


def pages_of(backend: RedisBackend) -> Iterator[list[object]]:
    """Return the pages of a sensor, and the contents of other keys."""
    yield [backend.execute(GetPage(key)) for key in (b"a", b"i", b"nothing")]
    rank: int | None = 0
    while rank is not None:
        page: Any = backend.execute(GetPage(b"s", rank))
        assert not page.digests
        yield page.samples
        rank = page.next_rank


# Refused are EVALSHA_RO, EVALSHA and MULTI.
@pytest.mark.parametrize("way, refused", list(zip(WAYS, [0, 0, 1, 2, 3], strict=True)))
async def test_the_way_is_remembered(newest_url: str, way: str, refused: int) -> None:
    """Only the first read of a backend takes more than one round trip, and it tries no way twice."""
    with redis.Redis.from_url(newest_url) as admin, ExitStack() as stack:
        if "%" in RIGHTS[way] and not has_key_permissions(admin):
            return  # the server does not know such users
        name = stack.enter_context(user(admin, RIGHTS[way]))
        fill(admin)
        url = newest_url.replace("//", name)

        before = errors_of(admin)
        async with await AsyncRedisBackend.from_url(url) as other:
            await other.execute(Get((b"a",)))
        if has_key_permissions(admin):  # older servers do not know EVALSHA_RO
            assert errors_of(admin) - before == refused
        with RedisBackend.from_url(url) as backend:
            backend.execute(Get((b"a",)))
            access = backend._server.access  # type: ignore[union-attr]  # what is remembered is not public
            remembered = access.way
            rejected = errors_of(admin)
            if has_key_permissions(admin):
                assert rejected - before == 2 * refused
            for _ in range(3):
                backend.execute(Get((b"nothing", b"a")))
                backend.execute(Keys(b"a*"))
                backend.execute(GetRange((b"s",), bytes(8), MAX))
                backend.execute_many([Get((b"a",)), Exists((b"a",)), GetIndexed((b"i",), b"f1")])
            assert access.way is remembered
            assert errors_of(admin) - rejected <= (0 if access.may_transact else 3)


def test_a_key_that_must_not_be_read(any_url: str) -> None:
    """A refusal that is about a key does not change how others are read."""
    with redis.Redis.from_url(any_url) as admin, user(admin, "~own_* +@all &*") as name:
        admin.set("own_x", encode_value(1))
        with RedisBackend.from_url(any_url.replace("//", name)) as backend:
            backend.execute(Get((b"own_x",)))
            access = backend._server.access  # type: ignore[union-attr]  # what is remembered is not public
            remembered = access.way
            assert backend.execute(Get((b"own_x", b"x")))
            with pytest.raises(RefusedError, match="'x'"):
                backend.execute(Get((b"x", b"own_x")))
            assert access.way is remembered and access.may_transact


def errors_of(admin: redis.Redis) -> int:
    """Return how many commands a server has refused for want of permission."""
    found = admin.info("errorstats").get("errorstat_NOPERM", {"count": 0})
    return int(found["count"])


def test_batch_that_reads_and_writes(any_url: str) -> None:
    """The first batch of a user who may read some keys, and write others, is executed in order, once."""
    rights = "~own_* +@all -@dangerous &*"
    with redis.Redis.from_url(any_url) as admin:
        if has_key_permissions(admin):
            rights = "%R~* " + rights
        admin.set("other_x", encode_value(1))
        with user(admin, rights) as name:
            with RedisBackend.from_url(any_url.replace("//", name)) as backend:
                candidates = (b"own_x", b"other_x") if "%" in rights else (b"own_x",)
                before, done, after = backend.execute_many(
                    [
                        Get(candidates),
                        SetImmutable(b"own_x", encode_value(2)),
                        Get(candidates),
                    ]
                )
        assert done is None and after.value == encode_value(2)
        assert before is None or before.value == encode_value(1)


def test_permissions_that_change(any_url: str) -> None:
    """A backend finds another way if an administrator takes away the present one."""
    with redis.Redis.from_url(any_url) as admin:
        fill(admin)
        with user(admin, "~* +@all &*") as name:
            with RedisBackend.from_url(any_url.replace("//", name)) as backend:
                for taken in ("+@all", "-@scripting", "-multi"):
                    set_user(admin, "some", taken)
                    assert backend.execute(Get((b"a",)))
                    assert len(backend.execute(GetRange((b"s",), bytes(8), MAX)) or []) == 3000
                set_user(admin, "some", "resetkeys", "~a")
                assert backend.execute(Get((b"a",)))
                with pytest.raises(RefusedError, match="'s'"):
                    backend.execute(Get((b"s",)))
                found, refused = backend.execute_many([Get((b"a",)), Get((b"s",))])
                assert found and isinstance(refused, RefusedError)


# -------------------------------------------------------------------------- documented users


def documented(name: str, admin: redis.Redis) -> list[str]:
    """Return the arguments of the documented ``ACL SETUSER`` for a user on a server."""
    page = (HOW_TO / "run-a-server.md").read_text()
    lines = re.findall(r"^# (.*)\nACL SETUSER (\w+) (.*)$", page, re.MULTILINE)
    modern = has_key_permissions(admin)
    (rights,) = (
        rights
        for title, user, rights in lines
        if user == name and ("all versions" in title or ("7.0 and later" in title) is modern)
    )
    return [name, *rights.replace("PASSWORD", "hush").split()]


@contextmanager
def documented_user(url: str, name: str) -> Iterator[RedisBackend]:
    """Make a documented user, and yield a backend for it."""
    with redis.Redis.from_url(url) as admin:
        set_user(admin, *documented(name, admin))
        try:
            with RedisBackend.from_url(
                f"{url.replace('//', f'//{name}:hush@')}?{PATIENT}"
            ) as backend:
                yield backend
        finally:
            admin.acl_deluser(name)


def check_reading(name: str, backend: RedisBackend, admin: redis.Redis) -> None:
    """Check everything that a reader does."""
    admin.flushall()
    fill(admin)
    settings = admin.connection_pool.connection_kwargs
    place = f"{settings['host']}:{settings['port']}"
    with RedisBackend.from_url(f"redis://{place}?{PATIENT}") as other:
        other.execute(SetImmutable(b"later", encode_value(0)))
        assert results_of(backend, READS) == results_of(other, READS)
        assert batch_of(backend.execute_many(READS), "") == batch_of(other.execute_many(READS), "")
        with backend.watch([b"new"], [b"n*"], deletions=True) as watcher:
            assert watcher.next(LONG) is CheckDue.SUBSCRIBED
            other.execute(SetImmutable(b"new", encode_value(1)))
            event: Any = watcher.next(LONG)
            assert event.key == b"new"
        waiting = threading.Thread(target=wait, args=(backend, KeyWait((b"awaited",)), LONG))
        waiting.start()
        other.execute(SetImmutable(b"awaited", encode_value(1)))
        waiting.join(LONG)
        assert not waiting.is_alive()
        with CachedBackend(RedisBackend.from_url(f"redis://{name}:hush@{place}")) as cached:
            for _ in range(3):
                assert cached.execute(Get((b"a",)))


WRITES: list[Operation[Any]] = [
    SetImmutable(b"own_a", encode_value(1)),
    AddSample(b"own_s", SAMPLES[0]),
    AddSamples(b"own_s", SAMPLES[:3]),
    SetIndexed(b"own_i", b"\xff\x01", encode_value(1)),
]


def check_writing(backend: RedisBackend, admin: redis.Redis) -> None:
    """Check everything that a writer does, with keys that begin with ``own_``."""
    with backend.watch(patterns=[b"own_*"], deletions=True) as watcher:
        assert watcher.next(LONG) is CheckDue.SUBSCRIBED
        for operation in WRITES:
            assert backend.execute(operation) is None
        assert backend.execute_many(WRITES) == [encode_value(1), None, None, encode_value(1)]
        assert backend.execute(Delete((b"own_a", b"own_s"))) == 2
        events = [watcher.next(LONG) for _ in range(7)]
        assert None not in events
    records = [
        KeyRecord(0, b"own_b", encode_value(bytes(10_000))),
        KeyRecord(0, b"own_c", encode_value(1)),
    ]
    assert load_records(backend, records).keys == 2


def check_not_writing(backend: RedisBackend, admin: redis.Redis, key: bytes) -> None:
    """Check that nothing can be written to a key."""
    before = admin.dbsize()
    operations: list[Operation[Any]] = [
        SetImmutable(key, b"\xff\x01"),
        AddSample(key, SAMPLES[0]),
        AddSamples(key, SAMPLES[:3]),
        SetIndexed(key, b"\xff\x01", b"\xff\x01"),
    ]
    for operation in operations:
        with pytest.raises(RefusedError, match="not permit"):
            backend.execute(operation)
    refused = backend.execute_many(operations)
    assert all(isinstance(error, RefusedError) for error in refused)
    with pytest.raises(RefusedError):
        load_records(backend, [KeyRecord(0, key, encode_value(1))])
    assert admin.dbsize() == before and not admin.exists(key)


def test_documented_reader(server_url: str) -> None:
    """The documented reader can read, list, watch and wait, and write nothing."""
    with (
        redis.Redis.from_url(server_url) as admin,
        documented_user(server_url, "reader") as backend,
    ):
        check_reading("reader", backend, admin)
        check_not_writing(backend, admin, b"other")
        with pytest.raises(RefusedError):
            backend.execute(Delete((b"a",)))
        with pytest.raises(RefusedError):
            backend.execute(Clear())
        assert admin.exists("a")


def test_documented_writer(server_url: str) -> None:
    """The documented writer can write and read, and not clear the database."""
    with (
        redis.Redis.from_url(server_url) as admin,
        documented_user(server_url, "writer") as backend,
    ):
        check_reading("writer", backend, admin)
        check_writing(backend, admin)
        with pytest.raises(RefusedError):
            backend.execute(Clear())
        assert admin.exists("a")


def test_documented_owner(server_url: str) -> None:
    """The documented owner of some keys can write them, and read all."""
    with redis.Redis.from_url(server_url) as admin:
        if not has_key_permissions(admin):
            return  # the server does not know such users
        with documented_user(server_url, "owner") as backend:
            check_reading("owner", backend, admin)
            check_writing(backend, admin)
            check_not_writing(backend, admin, b"other")


def test_documented_admin(server_url: str) -> None:
    """The documented administrator can do everything."""
    with redis.Redis.from_url(server_url) as admin, documented_user(server_url, "admin") as backend:
        check_reading("admin", backend, admin)
        check_writing(backend, admin)
        backend.execute(Clear())
        assert not admin.dbsize()


# --------------------------------------------------------------------------- a full server


@pytest.mark.parametrize("name", marked(list(SERVERS)))
async def test_reading_from_a_full_server(name: str) -> None:
    """At its maxmemory, a server still serves every read; only what adds data is refused."""
    options = ("--maxmemory-policy", "noeviction")
    with RedisServer(SERVERS[name], options) as server:
        with (
            redis.Redis.from_url(server.url) as admin,
            RedisBackend.from_url(server.url) as backend,
        ):
            fill(admin)
            expected = results_of(backend, READS)
            admin.config_set("maxmemory", admin.info("memory")["used_memory"] + (1 << 20))
            number = 0
            with pytest.raises(RefusedError, match="out of memory"):
                while True:
                    backend.execute(SetImmutable(b"more%d" % number, bytes(1 << 16)))
                    number += 1
            # Firmly, because what connections take of the memory varies.
            admin.config_set("maxmemory", admin.info("memory")["used_memory"] // 2)
            listings = (Keys, KeyTypes, Count, SomeKeys)
            reads = [one for one in READS if not isinstance(one, listings)]
            wanted = [result for one, result in zip(READS, expected) if one in reads]
            with pytest.raises(RefusedError, match="out of memory"):
                backend.execute(AddSample(b"another", SAMPLES[0]))
            assert results_of(backend, reads) == wanted
            assert batch_of(backend.execute_many(reads), backend.address) == wanted
            assert all(backend.execute_many([kind() for kind in listings]))
            async with await AsyncRedisBackend.from_url(server.url) as other:
                for one, result in zip(reads, wanted, strict=True):
                    if not isinstance(result, tuple):
                        assert await other.execute(one) == result
            # Neither do users who may only read need memory.
            for rights in RIGHTS.values():
                if "%" in rights and not has_key_permissions(admin):
                    continue
                with user(admin, rights) as place:
                    with RedisBackend.from_url(server.url.replace("//", place)) as limited:
                        assert results_of(limited, reads) == wanted
            with pytest.raises(ImmutableKeyError):
                backend.execute(GetRange((b"a",), bytes(8), MAX))


# --------------------------------------------------------------------------- a cluster

#: What every user of a cluster needs beside that.
IN_CLUSTER = "+cluster|slots +cluster|nodes +command +asking"


@pytest.mark.parametrize("way", WAYS)
async def test_reading_from_a_cluster(cluster_ports: list[int], way: str) -> None:
    """The candidates of a read may be on several nodes, whatever a user may use to read."""
    for page in ("run-a-server.md", "sentinel-and-cluster.md"):
        assert IN_CLUSTER in (HOW_TO / page).read_text()
    nodes = [redis.Redis(port=port) for port in cluster_ports]
    url = f"redis+cluster://127.0.0.1:{cluster_ports[0]}"
    candidates = tuple(b"key%d" % number for number in range(8))
    try:
        if "%" in RIGHTS[way] and not has_key_permissions(nodes[0]):
            return  # the server does not know such users
        for node in nodes:
            rights = f"on >hush {RIGHTS[way]} {IN_CLUSTER}"
            set_user(node, "some", "reset", *rights.split())
        with RedisBackend.from_url(url) as ours:
            ours.execute(SetImmutable(b"key7", encode_value(7)))
            ours.execute(AddSamples(b"key5", SAMPLES[:10]))
            operations: list[Operation[Any]] = [
                Get(candidates),
                Get(candidates[6:]),
                GetRange(candidates, bytes(8), MAX),
                GetRange((b"key5",), bytes(8), MAX),
                WhichExist(candidates),
                GetKeyType(candidates[:5]),
                *map(Export, candidates),
                Keys(),
                KeyTypes(),
            ]
            expected = ours.execute_many(operations)
        with RedisBackend.from_url(url.replace("//", "//some:hush@")) as backend:
            assert results_of(backend, operations) == expected
            assert backend.execute_many(operations) == expected
        async with await AsyncRedisBackend.from_url(url.replace("//", "//some:hush@")) as other:
            assert await other.execute_many(operations) == expected
            assert [await other.execute(operation) for operation in operations] == expected
    finally:
        for node in nodes:
            node.acl_deluser("some")
            node.close()
