"""What concerns all nodes of a cluster, while a new node gets its first slots and a client is connected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from redis.crc import key_slot
from state_subjects import LONG, Subject, real

from telstate import KeyType, KeyUpdate, TelescopeState, Watch
from telstate.aio.watch import Watch as AsyncWatch
from telstate_testing import RedisBinary, clusters

SLOT = key_slot(b"x")
SENSORS = [f"{{x}}sensor{number:02}" for number in range(12)]
KEYS = sorted([*SENSORS, "{x}fixed", "{x}table", "elsewhere"])


async def check(subject: Subject, path: Path) -> None:
    """Check everything that reads all nodes."""
    assert await subject.keys() == KEYS
    types = await subject.key_types()
    assert [name for name, kind in types.items() if kind is KeyType.MUTABLE] == SENSORS
    assert list(types) == KEYS
    frame = await subject.to_dataframe("{x}sensor*")
    assert sorted(frame.columns) == SENSORS
    assert await subject.state_save(path) == len(KEYS)
    assert TelescopeState().load_from_file(path) == len(KEYS)


async def next_update(watch: Watch | AsyncWatch) -> KeyUpdate:
    """Return the next update of a watch; others may have been read from the store."""
    while True:
        if isinstance(watch, Watch):
            event = await asyncio.to_thread(watch.next, LONG)
        else:
            event = await asyncio.wait_for(anext(watch), LONG)
        if isinstance(event, KeyUpdate):
            return event


@pytest.mark.slow
async def test_a_cluster_that_grows(
    newest: RedisBinary,
    ports_of_cluster: Callable[[str], list[int]],
    asynchronous: bool,
    tmp_path: Path,
) -> None:
    """Listings, tables, snapshots, watches, waits and `clear` take in the new node, also during the move."""
    ports = ports_of_cluster(str(newest))
    home, *others = clusters.owner_first(ports, SLOT)
    url = f"redis+cluster://127.0.0.1:{ports[0]}?socket_timeout=20"
    subject = await real(asynchronous, url)
    writer = TelescopeState(url)
    for name in SENSORS:
        writer.add(name, 1, ts=1.0)
    writer["{x}fixed"] = writer["elsewhere"] = 1
    writer.set_indexed("{x}table", "sub", 1)
    await check(subject, tmp_path / "before.rdb")
    watch = subject.state.watch(patterns=["{x}*"])
    await (watch.__aenter__() if asynchronous else asyncio.to_thread(watch.__enter__))
    with clusters.joined_node(newest, ports) as new:
        move = clusters.SlotMove(SLOT, [home, new, *others])
        move.move(*(name.encode() for name in SENSORS[:6]))
        await check(subject, tmp_path / "during.rdb")
        writer.add(SENSORS[0], 2, ts=2.0)
        assert (await next_update(watch)).value == 2
        move.finish()
        await check(subject, tmp_path / "after.rdb")
        waiting = asyncio.create_task(subject.waiting("wait_key", "{x}new"))
        writer.add("{x}new", 3, ts=3.0)
        await waiting
        assert (await next_update(watch)).value == 3
        if asynchronous:
            await watch.__aexit__(None, None, None)
        else:
            watch.close()
        await subject.clear()
        assert writer.keys() == await subject.keys() == []
        clusters.SlotMove(SLOT, [new, home, *others]).finish()
    writer.backend.close()
    await subject.close()
