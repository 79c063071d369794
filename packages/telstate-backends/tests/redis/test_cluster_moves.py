"""Operations on a real cluster while its slots move."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from conftest import NEWEST, SERVERS, needs_server
from redis.crc import key_slot
from subjects import LONG, Subject, later, spread

from telstate_backends import (
    AddSample,
    AddSamples,
    AsyncRedisBackend,
    Clear,
    ConnectionError,
    Count,
    Delete,
    Exists,
    Export,
    Fields,
    Find,
    Get,
    GetIndexed,
    GetKeyType,
    GetRange,
    Immutable,
    Indexed,
    Keys,
    KeyType,
    KeyTypes,
    KeyWait,
    Load,
    MemoryBackend,
    Operation,
    RedisBackend,
    Restore,
    RetryPolicy,
    Samples,
    SetImmutable,
    SetIndexed,
    TelstateError,
    Update,
    WhichExist,
)
from telstate_codec import encode_sample
from telstate_rdb import encode_dump
from telstate_testing.clusters import SlotMove, owner_first, running_cluster

pytestmark = [
    pytest.mark.slow,
    needs_server,
]

EVERYTHING = (bytes(8), b"\xff" * 8)
SLOT = key_slot(b"x")
LARGE = bytes(range(256)) * 100


@pytest.fixture(scope="module", params=NEWEST)
def ports(request: pytest.FixtureRequest) -> Iterator[list[int]]:
    """The ports of a cluster of the newest versions in turn; the last is of a master without slots."""
    with running_cluster(SERVERS[request.param], spare=True) as servers:
        yield [server.port for server in servers]


@pytest.fixture
def home_first(ports: list[int]) -> list[int]:
    """The same ports, first that of the node with {x}, then that without slots."""
    home, *others = owner_first(ports[:-1], SLOT)
    return [home, ports[-1], *others]


def url_of(ports: list[int]) -> str:
    """Return the URL of a cluster, by the first of some ports."""
    return f"redis+cluster://127.0.0.1:{ports[0]}?socket_timeout=20"


def sample(time: int, value: bytes = b"v") -> bytes:
    """Return a sample."""
    return encode_sample(float(time), value)


def operations_of(phase: int) -> list[Operation[Any]]:
    """Return operations of every kind on keys of the moving slot and of others."""
    fixed, sensor, table, none = (b"{x}" + name for name in (b"fixed", b"sensor", b"table", b"no"))
    new = b"{x}new%d" % phase
    return [
        SetImmutable(fixed, b"other"),
        AddSample(sensor, sample(phase)),
        AddSamples(sensor, (sample(phase, b"a"), sample(phase, b"b"))),
        SetIndexed(table, b"%d" % phase, b"cell"),
        SetImmutable(new, b"1"),
        AddSample(new, sample(1)),
        SetIndexed(new + b"i", b"s", b"1"),
        AddSample(new + b"s", sample(1)),
        *(Get((key,)) for key in (fixed, sensor, table, new, none)),
        # Several keys of a slot that is partly on either node.
        Get((none, sensor, fixed)),
        Find((none, table, sensor)),
        Exists((fixed, sensor, none, new)),
        GetKeyType((none, sensor)),
        GetIndexed((none, table, fixed), b"0"),
        GetIndexed((fixed, table), b"0"),
        GetRange((none, sensor, table), *EVERYTHING),
        # With keys of other slots.
        Get((b"elsewhere", none, sensor, b"y")),
        SetImmutable(b"y", b"%d" % phase),
        Load(table, Fields({b"%d" % number: b"cell" for number in range(phase + 2)})),
        Load(sensor, Samples([sample(1), sample(2)]), replace=False),
        Load(fixed, Immutable(b"%d" % phase)),
        Export(table),
        Export(fixed),
        # As a script, and as a transaction.
        Restore(b"{x}small", encode_dump(b"%d" % phase), Immutable(b"%d" % phase)),
        Restore(b"{x}large", encode_dump(LARGE), Immutable(LARGE)),
        WhichExist((none, sensor, b"{x}small", b"elsewhere", new)),
        Count(),
        Delete((none, new, new + b"i")),
        AddSample(new, sample(2)),
    ]


async def check(subject: Subject, memory: MemoryBackend, phase: int) -> None:
    """Check that operations one by one, in a batch, and listings return what they do in memory."""
    for operation in operations_of(2 * phase):
        assert await outcome(subject, operation) == plain(memory.execute_many([operation])[0])
    several = operations_of(2 * phase + 1)
    found = [plain(each) for each in await subject.execute_many(several)]
    assert found == [plain(each) for each in memory.execute_many(several)]
    listings: list[Operation[Any]] = [Keys(), Keys(b"*sens*"), KeyTypes()]
    for listing in listings:
        assert await subject.execute(listing) == memory.execute(listing)
    assert await subject.execute_many([KeyTypes(b"*x*")]) == memory.execute_many([KeyTypes(b"*x*")])


async def outcome(subject: Subject, operation: Operation[Any]) -> object:
    """Return the result of an operation, an error as its class and text."""
    try:
        return await subject.execute(operation)
    except TelstateError as error:
        return plain(error)


def plain(result: object) -> object:
    """Return a result, an error as its class and text."""
    return (type(result), str(result)) if isinstance(result, TelstateError) else result


async def test_every_operation_while_a_slot_moves(
    home_first: list[int], asynchronous: bool
) -> None:
    """Before, during and after the move of a slot, to a new node and back, results are as in memory."""
    memory = MemoryBackend()
    subject = await spread(asynchronous, url_of(home_first))
    # This one does not use the cluster before the slot has moved.
    late = await spread(asynchronous, url_of(home_first))
    await subject.execute(Clear())
    begin: list[Operation[Any]] = [
        SetImmutable(b"{x}fixed", b"one"),
        AddSample(b"{x}sensor", sample(0)),
        SetIndexed(b"{x}table", b"0", b"cell"),
    ]
    assert await subject.execute_many(begin) == memory.execute_many(begin)
    await check(subject, memory, 0)
    for turn, ports in enumerate((home_first, [*home_first[1::-1], *home_first[2:]])):
        woken = asyncio.create_task(subject.wait(KeyWait((b"{x}no", b"{x}wake%d" % turn))))
        results = asyncio.create_task(first_update(subject, b"{x}wake%d" % turn))
        await asyncio.sleep(0.1)
        move = SlotMove(SLOT, ports)
        await check(subject, memory, 10 * turn + 1)
        move.move(b"{x}sensor")
        await check(subject, memory, 10 * turn + 2)
        operation = SetImmutable(b"{x}wake%d" % turn, b"1")
        assert await subject.execute(operation) is memory.execute(operation) is None
        await asyncio.wait_for(woken, LONG)
        assert (await asyncio.wait_for(results, LONG)).value == b"1"
        move.finish()
        await check(late, memory, 10 * turn + 3)
        await check(subject, memory, 10 * turn + 4)
    await subject.close()
    await late.close()


async def first_update(subject: Subject, key: bytes) -> Update:
    """Wait for the first update of a key."""
    async with subject.watch(key) as watcher:
        while True:
            event = await watcher.next()
            if isinstance(event, Update):
                return event


class Mover:
    """A thread that moves a slot back and forth, in many small steps."""

    def __init__(self, ports: list[int]) -> None:
        self.turns = 0
        self._ports = ports
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            # For the next test the slot must be where it was.
            while not self._stop.is_set() or self.turns % 2:
                here, there, *others = self._ports
                self._ports = [there, here, *others]
                move = SlotMove(SLOT, [here, there, *others])
                for _ in range(10):
                    move.move()
                    self._stop.wait(0.005)
                move.finish()
                self.turns += 1
        except BaseException as error:
            self._failure = error

    def __enter__(self) -> Mover:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure


async def test_nothing_is_lost_or_repeated_while_a_slot_moves_back_and_forth(
    home_first: list[int],
) -> None:
    """The store has what synchronous and asyncio writers were results, and each race has one winner."""
    url, retry = url_of(home_first), RetryPolicy(seconds=LONG)
    turns, rounds = 4, 60

    def write(backend: RedisBackend, name: bytes, mover: Mover) -> list[list[Any]]:
        results = []
        number = 0
        while number < rounds or mover.turns < turns:
            results.append([backend.execute(each) for each in step(name, number)])
            results.append(backend.execute_many(step(name, number + 1)))
            number += 2
        return results

    async def write_async(backend: AsyncRedisBackend, name: bytes, mover: Mover) -> list[list[Any]]:
        results = []
        number = 0
        while number < rounds or mover.turns < turns:
            results.append([await backend.execute(each) for each in step(name, number)])
            results.append(await backend.execute_many(step(name, number + 1)))
            number += 2
        return results

    with RedisBackend.from_url(url, retry=retry) as backend:
        backend.execute(Clear())
        async with await AsyncRedisBackend.from_url(url, retry=retry) as asynchronous:
            with Mover(home_first) as mover:
                mine, theirs = await asyncio.gather(
                    asyncio.to_thread(write, backend, b"s", mover),
                    write_async(asynchronous, b"a", mover),
                )
        for name, results in ((b"s", mine), (b"a", theirs)):
            kept = backend.execute(Export(b"{x}sensor" + name))
            assert kept == [sample(number) for number in range(len(results))]
            table = backend.execute(Get((b"{x}table" + name,)))
            assert table == Indexed({b"%d" % number: name for number in range(len(results))})
        # Of two that set the same immutable, one succeeds, the other gets the value of the first.
        for number in range(min(len(mine), len(theirs))):
            assert sorted([str(mine[number][0]), str(theirs[number][0])]) in (
                ["None", "b'a'"],
                ["None", "b's'"],
            ) or (mine[number][0], theirs[number][0]) in ((b"s", b"a"),)
        for race, *others in mine:
            assert others == [None, None, Immutable(race or b"s"), True]


def step(name: bytes, number: int) -> list[Operation[Any]]:
    """Return the operations of a writer in one step: a race, a sample, a sub-key, and two reads."""
    race = b"{x}race%d" % number
    return [
        SetImmutable(race, name),
        AddSample(b"{x}sensor" + name, sample(number)),
        SetIndexed(b"{x}table" + name, b"%d" % number, name),
        Get((b"{x}none", race)),
        Exists((b"{x}none", b"{x}sensor" + name)),
    ]


async def test_a_batch_for_a_cluster_that_is_down(
    home_first: list[int], asynchronous: bool
) -> None:
    """A batch that is safe to repeat is sent again until the cluster is up or the time is over."""
    batch: list[Operation[Any]] = [SetImmutable(b"{x}down", b"1"), GetKeyType((b"{x}down",))]
    patient = await spread(asynchronous, url_of(home_first))
    impatient = await spread(asynchronous, url_of(home_first), RetryPolicy(seconds=0.3))
    await patient.execute(Clear())
    with redis.Redis(port=home_first[0]) as client:
        home: Any = client  # redis-py leaves some of its methods without annotations

        def restore() -> None:
            try:
                home.execute_command("CLUSTER ADDSLOTS", SLOT)
            except redis.ResponseError as error:  # Another node has told it that it has the slot.
                assert "already busy" in str(error)

        home.execute_command("CLUSTER DELSLOTS", SLOT)
        try:
            with pytest.raises(ConnectionError, match="cannot serve this key at present"):
                await impatient.execute_many(batch)
        finally:
            thread = later(0.5, restore)
        assert await patient.execute_many(batch) == [None, KeyType.IMMUTABLE]
        thread.join()
    await patient.close()
    await impatient.close()


READERS = {
    "scripts": "~* +@read +eval_ro +evalsha_ro",
    "transactions": "~* +@read +multi +exec",
    "plain commands": "~* +@read",
}


@pytest.mark.parametrize("way", READERS)
def test_reading_with_few_permissions(home_first: list[int], way: str) -> None:
    """Of candidate keys that are on both nodes the first counts, whatever a user may use to read."""
    rights = (
        f"on nopass &* {READERS[way]} +select +ping +command +asking +cluster|slots +cluster|nodes"
    )
    nodes = [redis.Redis(port=port) for port in home_first]
    for node in nodes:
        node.flushall()
        set_user(node, "reset", *rights.split())
    url = url_of(home_first)
    candidates = (b"{x}none", b"{x}here", b"{x}there")
    try:
        with (
            RedisBackend.from_url(url) as ours,
            RedisBackend.from_url(url.replace("//", "//guest:any@")) as backend,
        ):
            ours.execute(SetImmutable(b"{x}here", b"first"))
            ours.execute(SetImmutable(b"{x}there", b"second"))
            reads: list[Operation[Any]] = [
                Get(candidates),
                Find(candidates),
                GetKeyType(candidates),
            ]
            reads += [WhichExist(candidates), Get(candidates[2:]), Export(b"{x}here"), KeyTypes()]
            expected = [backend.execute(operation) for operation in reads]
            assert expected[0] == Immutable(b"first")
            move = SlotMove(SLOT, home_first)
            move.move(b"{x}there")
            assert [backend.execute(operation) for operation in reads] == expected
            assert backend.execute_many(reads) == expected
            move.move(b"{x}here")
            assert [backend.execute(operation) for operation in reads] == expected
            move.finish()
            assert backend.execute_many(reads) == expected
            SlotMove(SLOT, [home_first[1], home_first[0], *home_first[2:]]).finish()
    finally:
        for node in nodes:
            node.acl_deluser("guest")
            node.close()


def set_user(node: Any, *rules: str) -> None:
    """Make a user of a node."""
    node.execute_command("ACL SETUSER", "guest", *rules)
