"""Followers and deletions: every backend returns the same changes as memory, once each, in order."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from subjects import LONG, AsyncSubject, Subject, SyncSubject

from telstate_backends import (
    AddSample,
    AsyncFollower,
    Clear,
    Delete,
    Follower,
    MemoryBackend,
    Operation,
    SetImmutable,
    SetIndexed,
    TrackedEvent,
    Update,
)
from telstate_codec.timestamps import encode_sample

# In a cluster, events keep their order only if they come from one node, hence the common {x}.
PLAIN = [b"{x}i", b"{x}s", b"{x}t", b"{x}p1", b"{x}p2"]
VIEWED = (b"{x}v_k", b"{x}k")
END = b"{x}end"


@asynccontextmanager
async def following(
    subject: Subject, names: list[tuple[bytes, ...]]
) -> AsyncIterator[Callable[[], Awaitable[TrackedEvent | None]]]:
    """Follow names and a pattern; yields a function that waits for the next change."""
    patterns = [b"{x}p*"]
    if isinstance(subject, AsyncSubject):
        async with AsyncFollower(subject.backend, names, patterns) as follower:
            yield lambda: asyncio.wait_for(follower.next(), LONG)
    else:
        assert isinstance(subject, SyncSubject)
        with Follower(subject.backend, names, patterns) as sync:
            yield lambda: asyncio.to_thread(sync.next, LONG)


def key_of(change: object) -> bytes:
    """Return the key of an update."""
    assert isinstance(change, Update)
    return change.key


def writes(rng: random.Random, numbers: Iterator[int], views: bool) -> list[Operation[Any]]:
    """Return a random batch; a key that shadows another is never written twice with the same value."""
    operations: list[Operation[Any]] = []
    for _ in range(rng.randrange(1, 12)):
        key = rng.choice(PLAIN)
        value = b"\xff%c" % rng.randrange(3)
        turn = rng.random()
        if turn < 0.3:
            time = float(rng.randrange(3))
            operations.append(AddSample(key, encode_sample(time, value)))
        elif turn < 0.5:
            operations.append(SetImmutable(key, value))
        elif turn < 0.6:
            operations.append(SetIndexed(key, b"\xff%c" % rng.randrange(3), value))
        elif turn < 0.75 and views:
            operations.append(SetImmutable(rng.choice(VIEWED), b"\xff%d" % next(numbers)))
        elif turn < 0.95:
            operations.append(Delete(tuple(rng.sample([*PLAIN, *VIEWED], 2))))
        else:
            operations.append(Clear())
    return operations


async def test_deletions_neither_double_nor_reorder(subject: Subject) -> None:
    """This holds however writes and deletions are mixed, and however far the follower is behind."""
    rng, numbers = random.Random(20), itertools.count()
    assert isinstance(subject, SyncSubject | AsyncSubject)
    # In a cluster, a batch keeps the order only for each key, and the Cleared event of another node may
    # arrive late, so that a view sees later contents.
    spread = getattr(subject.backend, "may_deliver_late", False)
    views = not spread
    names = [(b"{x}i",), (b"{x}s",), (b"{x}t",), (END,), *([VIEWED] if views else [])]
    memory = MemoryBackend()
    with Follower(memory, names, [b"{x}p*"]) as follower:
        async with following(subject, names) as next_change:
            for _ in range(60):
                batch = writes(rng, numbers, views)
                end = AddSample(END, encode_sample(float(next(numbers)), b"\xff\x01"))
                for operations in (batch, [end]):
                    memory.execute_many(operations)
                    await subject.execute_many(operations)
                if rng.random() < 0.5:
                    continue
                expected: list[TrackedEvent | None] = list(iter(partial(follower.next, 0), None))
                changes = [await next_change()]
                while changes[-1] != expected[-1]:
                    changes.append(await next_change())
                if spread:
                    changes.sort(key=key_of)
                    expected.sort(key=key_of)
                assert changes == expected


async def test_a_key_that_is_deleted_repeatedly(subject: Subject) -> None:
    """Each value is returned once, in order, after deletions and after clearing."""
    async with following(subject, [(b"{x}i",), (b"{x}s",)]) as next_change:
        expected: list[tuple[bytes, bytes]] = []
        deletions: list[Operation[Any]] = [Delete((b"{x}i",)), Clear(), Delete((b"{x}i",))]
        for number, deletion in enumerate(deletions):
            value, time = b"\xff%c" % number, float(number)
            first = AddSample(b"{x}s", encode_sample(time, value))
            await subject.execute_many([deletion, first, SetImmutable(b"{x}i", value)])
            expected += [(b"{x}s", value), (b"{x}i", value)]
        changes = [await next_change() for _ in expected]
        assert [(each.key, each.value) for each in changes if isinstance(each, Update)] == expected
