"""katsdptelstate in another process and this package use the same server."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from conftest import NEWEST, NO_NEWEST, SERVERS
from subjects import LONG, Subject, real

from telstate_backends import (
    AddSample,
    AddSamples,
    CheckDue,
    Clear,
    Cleared,
    Delete,
    Deleted,
    Get,
    GetIndexed,
    GetKeyType,
    GetRange,
    Immutable,
    IndexedWait,
    KeyType,
    KeyWait,
    Load,
    Mutable,
    Operation,
    Samples,
    SetImmutable,
    SetIndexed,
    Update,
)
from telstate_codec import encode_sample, encode_value, range_bounds
from telstate_testing import RedisBinary, peer_python

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(peer_python() is None, reason="there is no katsdptelstate"),
]

# What the other process runs: each line is an expression, and the reply is its repr. The asyncio class is
# called like the synchronous one, so that all tests are for both.
AGENT = """
import asyncio
import sys
import katsdptelstate
from katsdptelstate.aio import TelescopeState
from katsdptelstate.aio.redis import RedisBackend

class Awaited:
    def __init__(self, address):
        self.loop = asyncio.new_event_loop()
        backend = self.run(RedisBackend.from_url('redis://' + address))
        self.ts = TelescopeState(backend)
    def run(self, thing, timeout=None):
        return self.loop.run_until_complete(asyncio.wait_for(thing, timeout))
    def __getattr__(self, name):
        method = getattr(self.ts, name)
        return lambda *given, timeout=None, **named: self.run(method(*given, **named), timeout)
    def __getitem__(self, key):
        return self.run(self.ts[key])
    def __contains__(self, key):
        return self.run(self.ts.exists(key))
    def close(self):
        self.ts.backend.close()
        self.run(self.ts.backend.wait_closed())

asynchronous = sys.argv[2] == 'asyncio'
ts = Awaited(sys.argv[1]) if asynchronous else katsdptelstate.TelescopeState(sys.argv[1])
print('ready', flush=True)
for line in sys.stdin:
    try:
        print(repr(eval(line)), flush=True)
    except Exception as error:
        print(repr(type(error).__name__), flush=True)
if asynchronous:
    ts.close()
"""


class Peer:
    """A process that runs katsdptelstate."""

    def __init__(self, address: str, manner: str) -> None:
        self.process = subprocess.Popen(
            [str(peer_python()), "-c", AGENT, address, manner],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.answer() == "ready"

    def ask(self, expression: str) -> None:
        """Send an expression."""
        assert self.process.stdin is not None
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        """Return the reply to the oldest expression without one."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def __call__(self, expression: str) -> str:
        """Evaluate an expression in that process."""
        self.ask(expression)
        return self.answer()

    def end(self) -> None:
        """End the process."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(LONG)
        self.process.stdout.close()


@pytest.fixture(params=NEWEST[:1] or NO_NEWEST)
def newest(request: pytest.FixtureRequest) -> RedisBinary:
    """The newest Redis; to katsdptelstate, Valkey is the same."""
    return SERVERS[request.param]


@pytest.fixture(params=["sync", "asyncio"], ids=["peer-sync", "peer-asyncio"])
def peer(request: pytest.FixtureRequest, newest_url: str) -> Iterator[Peer]:
    """A process that runs katsdptelstate on an empty server, synchronous or asyncio."""
    peer = Peer(newest_url.removeprefix("redis://"), request.param)
    yield peer
    peer.end()


@pytest.fixture
async def ours(newest_url: str, asynchronous: bool) -> AsyncIterator[Subject]:
    """A backend of this package on the same server, synchronous or asyncio."""
    subject = real(asynchronous, newest_url)
    yield subject
    await subject.close()


async def test_katsdptelstate_reads(peer: Peer, ours: Subject) -> None:
    """katsdptelstate reads every kind of key that we write, and refuses the same changes."""
    await ours.execute(SetImmutable(b"fixed", encode_value([1, "two"])))
    samples = [encode_sample(float(time), encode_value(time)) for time in range(1, 6)]
    await ours.execute(AddSample(b"sensor", samples[4]))
    await ours.execute(AddSamples(b"sensor", tuple(samples[:2])))
    await ours.execute(Load(b"sensor", Samples(samples[2:4]), replace=False))
    await ours.execute(SetIndexed(b"table", encode_value(("a", 1)), encode_value(2.5)))
    assert peer("ts['fixed'], ts['sensor'], ts['table']") == "([1, 'two'], 5, {('a', 1): 2.5})"
    assert peer("ts.get_range('sensor', 2, 4)") == "[(2, 2.0), (3, 3.0)]"
    assert peer("ts.get_indexed('table', ('a', 1))") == "2.5"
    assert peer("[ts.key_type(k).name for k in ts.keys()]") == "['IMMUTABLE', 'MUTABLE', 'INDEXED']"
    assert peer("ts.add('sensor', 1, immutable=True)") == "'ImmutableKeyError'"


async def test_katsdptelstate_writes(peer: Peer, ours: Subject) -> None:
    """We read every kind of key that katsdptelstate writes."""
    peer("ts.add('fixed', [1, 'two'], immutable=True)")
    peer("[ts.add('sensor', t, ts=t) for t in (1, 3, 2)]")
    peer("ts.set_indexed('table', ('a', 1), 2.5)")
    keys = (b"fixed", b"sensor", b"table")
    assert [await ours.execute(GetKeyType((key,))) for key in keys] == list(KeyType)
    assert await ours.execute(Get((b"fixed",))) == Immutable(encode_value([1, "two"]))
    assert await ours.execute(Get((b"sensor",))) == Mutable(encode_value(3), 3.0)
    start, end = range_bounds(2.0, 3.0, True)
    assert await ours.execute(GetRange((b"sensor",), start, end)) == [
        encode_sample(2.0, encode_value(2)),
        encode_sample(3.0, encode_value(3)),
    ]
    sub_key = encode_value(("a", 1))
    assert await ours.execute(GetIndexed((b"table",), sub_key)) == encode_value(2.5)
    assert await ours.execute(SetImmutable(b"fixed", b"other")) == encode_value([1, "two"])


async def test_katsdptelstate_waits(peer: Peer, ours: Subject) -> None:
    """Our writes end the waits of katsdptelstate, also with conditions."""
    writes: dict[str, Operation[Any]] = {
        "ts.wait_key('fixed', timeout=20)": SetImmutable(b"fixed", encode_value(1)),
        "ts.wait_key('sensor', lambda v, t: (v, t) == (7, 2.0), timeout=20)": AddSample(
            b"sensor", encode_sample(2.0, encode_value(7))
        ),
        "ts.wait_indexed('table', 'a', lambda v: v == 3, timeout=20)": SetIndexed(
            b"table", encode_value("a"), encode_value(3)
        ),
    }
    for question, write in writes.items():
        peer.ask(question)
        await asyncio.sleep(0.2)
        await ours.execute(write)
        assert await asyncio.to_thread(peer.answer) == "None"


async def test_katsdptelstate_ignores_deletions(peer: Peer, ours: Subject) -> None:
    """Our Delete and Clear do not disturb a wait of katsdptelstate."""
    await ours.execute(SetImmutable(b"fixed", encode_value(1)))
    peer.ask("ts.wait_key('fixed', lambda v, t: v == 2, timeout=20)")
    await asyncio.sleep(0.2)
    async with ours.watch(b"fixed", deletions=True) as watcher:
        assert await watcher.next() is CheckDue.SUBSCRIBED
        await ours.execute(Delete((b"fixed",)))
        await ours.execute(Clear())
        assert [await watcher.next() for _ in range(2)] == [Deleted(b"fixed"), Cleared()]
    await ours.execute(SetImmutable(b"fixed", encode_value(2)))
    assert await asyncio.to_thread(peer.answer) == "None"
    await ours.execute(Delete((b"fixed",)))
    assert peer("'fixed' in ts, ts.keys()") == "(False, [])"


async def test_waiting_for_katsdptelstate(peer: Peer, ours: Subject) -> None:
    """Writes of katsdptelstate end our waits and arrive as updates."""
    seven = Mutable(encode_value(7), 2.0)
    waits = [
        asyncio.create_task(ours.wait(wanted))
        for wanted in (
            KeyWait((b"a_fixed", b"fixed")),
            KeyWait((b"sensor",), lambda contents: contents == seven),
            IndexedWait((b"table",), encode_value("a"), lambda value: value == encode_value(3)),
        )
    ]
    async with ours.watch(b"fixed", b"sensor", b"table") as watcher:
        assert await watcher.next() is CheckDue.SUBSCRIBED
        await asyncio.sleep(0.2)
        peer("ts.add('fixed', 1, immutable=True)")
        peer("[ts.add('sensor', 7, ts=2.0), ts.add('sensor', 8, ts=3.0)]")
        peer("ts.set_indexed('table', 'a', 3)")
        assert [await watcher.next() for _ in range(4)] == [
            Update(b"fixed", KeyType.IMMUTABLE, encode_value(1)),
            Update(b"sensor", KeyType.MUTABLE, encode_value(7), timestamp=2.0),
            Update(b"sensor", KeyType.MUTABLE, encode_value(8), timestamp=3.0),
            Update(b"table", KeyType.INDEXED, encode_value(3), sub_key=encode_value("a")),
        ]
    await asyncio.wait_for(asyncio.gather(*waits), LONG)
