"""Following over deletions: on every backend what is told is what memory tells, each once, in order."""

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

# In a cluster, only what comes from one node keeps its order, hence the common {x}.
PLAIN = [b"{x}i", b"{x}s", b"{x}t", b"{x}p1", b"{x}p2"]
VIEWED = (b"{x}v_k", b"{x}k")
END = b"{x}end"


@asynccontextmanager
async def following(
    subject: Subject, names: list[tuple[bytes, ...]]
) -> AsyncIterator[Callable[[], Awaitable[TrackedEvent | None]]]:
    """Follow names and a pattern; gives what waits for the next news."""
    patterns = [b"{x}p*"]
    if isinstance(subject, AsyncSubject):
        async with AsyncFollower(subject.backend, names, patterns) as follower:
            yield lambda: asyncio.wait_for(follower.next(), LONG)
    else:
        assert isinstance(subject, SyncSubject)
        with Follower(subject.backend, names, patterns) as sync:
            yield lambda: asyncio.to_thread(sync.next, LONG)


def key_of(news: object) -> bytes:
    """Give the key of an update."""
    assert isinstance(news, Update)
    return news.key


def writes(chance: random.Random, numbers: Iterator[int], views: bool) -> list[Operation[Any]]:
    """Make up a batch; what shadows another never comes again with the same value."""
    operations: list[Operation[Any]] = []
    for _ in range(chance.randrange(1, 12)):
        key = chance.choice(PLAIN)
        value = b"\xff%c" % chance.randrange(3)
        turn = chance.random()
        if turn < 0.3:
            time = float(chance.randrange(3))
            operations.append(AddSample(key, encode_sample(time, value)))
        elif turn < 0.5:
            operations.append(SetImmutable(key, value))
        elif turn < 0.6:
            operations.append(SetIndexed(key, b"\xff%c" % chance.randrange(3), value))
        elif turn < 0.75 and views:
            operations.append(SetImmutable(chance.choice(VIEWED), b"\xff%d" % next(numbers)))
        elif turn < 0.95:
            operations.append(Delete(tuple(chance.sample([*PLAIN, *VIEWED], 2))))
        else:
            operations.append(Clear())
    return operations


async def test_deletions_neither_double_nor_reorder(subject: Subject) -> None:
    """However writes and deletions are mixed, and however far the follower is behind."""
    chance, numbers = random.Random(20), itertools.count()
    assert isinstance(subject, SyncSubject | AsyncSubject)
    # In a cluster a batch keeps the order of what concerns one key only; and a Cleared of another node
    # may come late, when a view sees what is there by then.
    spread = getattr(subject.backend, "may_deliver_late", False)
    views = not spread
    names = [(b"{x}i",), (b"{x}s",), (b"{x}t",), (END,), *([VIEWED] if views else [])]
    memory = MemoryBackend()
    with Follower(memory, names, [b"{x}p*"]) as truth:
        async with following(subject, names) as next_news:
            for _ in range(60):
                batch = writes(chance, numbers, views)
                end = AddSample(END, encode_sample(float(next(numbers)), b"\xff\x01"))
                for operations in (batch, [end]):
                    memory.execute_many(operations)
                    await subject.execute_many(operations)
                if chance.random() < 0.5:
                    continue
                expected: list[TrackedEvent | None] = list(iter(partial(truth.next, 0), None))
                told = [await next_news()]
                while told[-1] != expected[-1]:
                    told.append(await next_news())
                if spread:
                    told.sort(key=key_of)
                    expected.sort(key=key_of)
                assert told == expected


async def test_a_key_that_is_deleted_again_and_again(subject: Subject) -> None:
    """Each value is told once, in its turn, after deletions and after clearing."""
    async with following(subject, [(b"{x}i",), (b"{x}s",)]) as next_news:
        expected: list[tuple[bytes, bytes]] = []
        deletions: list[Operation[Any]] = [Delete((b"{x}i",)), Clear(), Delete((b"{x}i",))]
        for number, deletion in enumerate(deletions):
            value, time = b"\xff%c" % number, float(number)
            first = AddSample(b"{x}s", encode_sample(time, value))
            await subject.execute_many([deletion, first, SetImmutable(b"{x}i", value)])
            expected += [(b"{x}s", value), (b"{x}i", value)]
        told = [await next_news() for _ in expected]
        assert [(each.key, each.value) for each in told if isinstance(each, Update)] == expected
