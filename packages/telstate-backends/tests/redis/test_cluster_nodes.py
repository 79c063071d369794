"""What concerns all nodes of a real cluster, while nodes come and go and keys move between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import Any

import pytest
import redis
from redis.crc import key_slot
from subjects import Subject, later, spread

from telstate_backends import (
    AddSample,
    CheckDue,
    Clear,
    ConnectionError,
    Count,
    Delete,
    Exists,
    Keys,
    KeyType,
    KeyTypes,
    Operation,
    SetImmutable,
    SetIndexed,
    Update,
)
from telstate_backends.redis import _slots
from telstate_codec import encode_sample
from telstate_testing import RedisBinary, clusters

pytestmark = pytest.mark.slow

SLOT = key_slot(b"x")
#: Keys of one slot, and of others.
MOVING = [b"{x}%d" % number for number in range(18)]
KEYS = sorted([*MOVING, b"a", b"b", b"c"])


def kind_of(key: bytes) -> KeyType:
    """Return the kind of one of the keys."""
    return list(KeyType)[len(key) % 3 if key in MOVING else KEYS.index(key) % 3]


async def fill(subject: Subject) -> None:
    """Write the keys."""
    for key in KEYS:
        kind = kind_of(key)
        if kind is KeyType.IMMUTABLE:
            await subject.execute(SetImmutable(key, b"1"))
        elif kind is KeyType.MUTABLE:
            await subject.execute(AddSample(key, encode_sample(1.0, b"1")))
        else:
            await subject.execute(SetIndexed(key, b"1", b"1"))


async def check_listings(subject: Subject) -> None:
    """Check that listings have every key, alone and in a batch."""
    kinds = {key: kind_of(key) for key in KEYS}
    assert await subject.execute(Keys()) == KEYS
    assert await subject.execute(Keys(b"{x}*")) == sorted(MOVING)
    assert await subject.execute(KeyTypes()) == kinds
    assert await subject.execute_many([Keys(), KeyTypes()]) == [KEYS, kinds]
    assert await subject.execute(Count()) == len(KEYS)


@asynccontextmanager
async def connected(asynchronous: bool, ports: list[int]) -> AsyncIterator[Subject]:
    """Connect to a cluster, and look at it once."""
    subject = await spread(asynchronous, f"redis+cluster://127.0.0.1:{ports[0]}?socket_timeout=20")
    await subject.execute(Exists((b"k",)))
    yield subject
    await subject.close()


async def test_a_node_that_joins_and_leaves(
    newest: RedisBinary, cluster_ports: list[int], asynchronous: bool
) -> None:
    """A node that gets its first slots after the client connected is asked, and not when it has left."""
    home, *others = clusters.owner_first(cluster_ports, SLOT)
    with ExitStack() as stack:
        async with connected(asynchronous, cluster_ports) as subject:
            await fill(subject)
            new = stack.enter_context(clusters.joined_node(newest, cluster_ports))
            await check_listings(subject)
            move = clusters.SlotMove(SLOT, [home, new, *others])
            move.move(*MOVING[:9])
            await check_listings(subject)
            move.finish()
            await check_listings(subject)
            async with connected(asynchronous, cluster_ports) as late:
                await check_listings(late)
            clusters.SlotMove(SLOT, [new, home, *others]).finish()
            clusters.leave_cluster(new, cluster_ports)
            with redis.Redis(port=new) as client:
                client.config_set("cluster-require-full-coverage", "no")
            await check_listings(subject)


@pytest.fixture
def frequent_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watchers look at the nodes more often than every 2 s, which saves time."""
    monkeypatch.setattr(_slots, "LOOK_INTERVAL", 0.3)  # private


@pytest.mark.usefixtures("frequent_looks")
async def test_watching_while_a_node_joins(
    newest: RedisBinary,
    cluster_ports: list[int],
    asynchronous: bool,
) -> None:
    """A check is due because messages of the new node may have been lost, and then they arrive."""
    home, *others = clusters.owner_first(cluster_ports, SLOT)
    async with connected(asynchronous, cluster_ports) as subject:
        async with subject.watch(patterns=[b"{x}*"]) as watcher:
            assert await watcher.next() is CheckDue.SUBSCRIBED
            with ExitStack() as stack:
                joined = clusters.joined_node(newest, cluster_ports)
                new = await asyncio.to_thread(stack.enter_context, joined)
                clusters.SlotMove(SLOT, [home, new, *others]).finish()
                # Once when it has joined, and once when its messages surely arrive.
                assert await watcher.next() is CheckDue.RECONNECTED
                assert await watcher.next() is CheckDue.RECONNECTED
                clusters.SlotMove(SLOT, [new, home, *others]).finish()
            await subject.execute(SetImmutable(b"{x}late", b"1"))
            assert await watcher.next() == Update(b"{x}late", KeyType.IMMUTABLE, b"1")


@pytest.mark.usefixtures("frequent_looks")
async def test_watching_a_node_that_leaves(
    newest: RedisBinary,
    cluster_ports: list[int],
    asynchronous: bool,
) -> None:
    """When the node of the connection has left the cluster, another one is watched, and a check is due."""
    home, *others = clusters.owner_first(cluster_ports, SLOT)
    async with AsyncExitStack() as stack:
        new = stack.enter_context(clusters.joined_node(newest, cluster_ports))
        clusters.SlotMove(SLOT, [home, new, *others]).finish()
        client: Any = stack.enter_context(redis.Redis(port=new))
        subject: Any = None
        watcher: Any = None
        while client.pubsub_numpat() == 0:  # until a node that is chosen at random is the new one
            subject = await stack.enter_async_context(connected(asynchronous, cluster_ports))
            watcher = await stack.enter_async_context(subject.watch(patterns=[b"{x}*"]))
            assert await watcher.next() is CheckDue.SUBSCRIBED
        clusters.SlotMove(SLOT, [new, home, *others]).finish()
        clusters.leave_cluster(new, cluster_ports)
        assert await watcher.next() is CheckDue.RECONNECTED
        await subject.execute(SetImmutable(b"{x}late", b"1"))
        assert await watcher.next() == Update(b"{x}late", KeyType.IMMUTABLE, b"1")


async def test_clearing_a_cluster_with_a_new_node(
    newest: RedisBinary, cluster_ports: list[int], asynchronous: bool
) -> None:
    """A node that gets its first slots after the client connected is emptied too."""
    home, *others = clusters.owner_first(cluster_ports, SLOT)
    async with connected(asynchronous, cluster_ports) as subject:
        await fill(subject)
        with clusters.joined_node(newest, cluster_ports) as new:
            clusters.SlotMove(SLOT, [home, new, *others]).finish()
            await subject.execute(Clear())
            with redis.Redis(port=new) as client:
                assert client.dbsize() == 0
            assert await subject.execute(Keys()) == []
            clusters.SlotMove(SLOT, [new, home, *others]).finish()


async def test_listings_while_keys_move(
    newest: RedisBinary, cluster_ports: list[int], asynchronous: bool
) -> None:
    """A key that exists all the time is listed, however far its move to another node has got."""
    home, *others = cluster_ports
    tags = [b"{%d}" % number for number in range(200) if key_slot(b"%d" % number) * 3 < 16384][:8]
    keys = sorted(tag + b"%d" % number for tag in tags for number in range(40))
    slots = [key_slot(tag[1:-1]) for tag in tags]
    counts: list[int] = []
    listings: list[Operation[Any]] = [Keys(), KeyTypes()]

    def move(ports: list[int]) -> None:
        for slot in slots:
            clusters.SlotMove(slot, ports).finish()

    async with connected(asynchronous, cluster_ports) as subject:
        await subject.execute_many([SetImmutable(key, b"1") for key in keys])
        with clusters.joined_node(newest, cluster_ports) as new:
            moving = asyncio.create_task(asyncio.to_thread(move, [home, new, *others]))
            while not moving.done():
                counts += [len(await subject.execute(listing)) for listing in listings]
                await asyncio.sleep(0)
            await moving
            await asyncio.to_thread(move, [new, home, *others])
    assert set(counts) == {len(keys)}


async def test_a_node_that_refuses_for_now(cluster_ports: list[int], asynchronous: bool) -> None:
    """`Delete` is retried, and `Clear` is not once another node has done its part."""
    home, *_ = clusters.owner_first(cluster_ports, SLOT)
    async with connected(asynchronous, cluster_ports) as subject:
        await subject.execute(SetImmutable(b"{x}", b"1"))
        with redis.Redis(port=home) as admin:
            admin.config_set("min-replicas-to-write", 1)
            try:
                with pytest.raises(ConnectionError, match="too few replicas.*a part may have"):
                    await subject.execute(Clear())
                thread = later(0.1, lambda: admin.config_set("min-replicas-to-write", 0))
                assert await subject.execute(Delete((b"{x}",))) == 1
                thread.join()
            finally:
                admin.config_set("min-replicas-to-write", 0)
