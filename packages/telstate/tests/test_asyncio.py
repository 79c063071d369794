"""The asyncio telescope state does what the synchronous one does."""

import asyncio
import inspect
from pathlib import Path

import pytest

import telstate
from telstate import ImmutableKeyError, KeyType
from telstate.aio import TelescopeState
from telstate.aio.memory import MemoryBackend
from telstate.aio.rdb_writer import RDBWriter

# What cannot be the same: awaiting takes the place of a timeout and a future.
LEFT_OUT = {"timeout", "cancel_future"}
# Operators of the one that have names in the other.
NAMES = {"__contains__": "exists", "__setitem__": "set"}


def parameters(function: object) -> list[str]:
    """List what a method takes, in order, with defaults."""
    assert callable(function)
    found = inspect.signature(function).parameters.values()
    return [f"{one.name}={one.default!r}" for one in found if one.name not in LEFT_OUT]


def test_same_signatures() -> None:
    """Every method of the synchronous class is here, with the same parameters in the same order."""
    sync = telstate.TelescopeState
    methods = [name for name, value in vars(sync).items() if inspect.isfunction(value)]
    public = [name for name in methods if not name.startswith("_") or name in NAMES]
    assert len(public) > 12
    for name in public:
        twin = getattr(TelescopeState, NAMES.get(name, name))
        assert parameters(twin) == parameters(getattr(sync, name)), name


async def test_walkthrough(ats: TelescopeState, real_snapshot: Path) -> None:
    """What the walk through the API shows, awaited."""
    ts = ats
    await ts.set("n_chans", 4096)
    assert await ts.get("n_chans") == await ts["n_chans"] == 4096
    assert await ts.exists("n_chans")
    with pytest.raises(ImmutableKeyError):
        await ts.set("n_chans", 1024)
    with pytest.raises(KeyError, match="'nope'"):
        await ts["nope"]
    await ts.add("gain", 1.5, ts=100.0)
    assert await ts.get_range("gain") == [(1.5, 100.0)]
    await ts.set_indexed("peak", 1, 2)
    assert await ts.get_indexed("peak", 1) == 2
    await ts.wait_key("gain")
    await ts.wait_indexed("peak", 1, lambda value: value == 2)
    assert await ts.view("beam").get("n_chans") == 4096
    assert await ts.key_type("peak") is KeyType.INDEXED
    with pytest.warns(FutureWarning, match="key_type"):
        assert await ts.is_immutable("n_chans")
    assert await ts.keys() == ["gain", "n_chans", "peak"]
    await ts.delete("gain")
    assert await ts.load_from_file(real_snapshot) == 199
    assert await ts.get("sub_band") == "l"
    await ts.clear()
    assert await ts.keys() == []


async def test_wait(tmp_path: Path) -> None:
    """A wait in one task is ended by a write in another, or by cancelling it."""
    ts = TelescopeState()
    waiting = asyncio.create_task(ts.wait_key("gain", lambda value, t: value == 2 and t == 5.0))
    await asyncio.sleep(0)
    await ts.add("gain", 1, ts=5.0)
    await ts.add("gain", 2, ts=5.0)
    await asyncio.wait_for(waiting, 30)
    forever = asyncio.create_task(ts.wait_key("never"))
    await asyncio.sleep(0)
    forever.cancel()
    with pytest.raises(asyncio.CancelledError):
        await forever


def test_shared_with_a_synchronous_one() -> None:
    """An asyncio backend and a synchronous one may share their data."""
    sync = telstate.TelescopeState()
    assert isinstance(sync.backend, telstate.MemoryBackend)
    ts = TelescopeState(MemoryBackend.from_sync(sync.backend))
    asyncio.run(ts.set("a", 1))
    assert sync["a"] == 1
    assert telstate.TelescopeState(MemoryBackend().to_sync()).keys() == []


def test_contradiction() -> None:
    """A backend and a base together are refused."""
    base = TelescopeState()
    assert TelescopeState(base=base).backend is base.backend
    with pytest.raises(ValueError):
        TelescopeState(MemoryBackend(), base=base)


async def test_save(tmp_path: Path, real_snapshot: Path) -> None:
    """An asyncio store is saved as a synchronous one is, keys that are missing logged and counted."""
    ts = TelescopeState()
    await ts.load_from_file(real_snapshot)
    async with RDBWriter(tmp_path / "all.rdb") as writer:
        await writer.save(ts)
    assert (writer.keys_written, writer.keys_failed) == (199, 0)
    async with RDBWriter(tmp_path / "one.rdb") as writer:
        await writer.save(ts.backend, keys=["sub_band", "nope"])
    assert (writer.keys_written, writer.keys_failed) == (1, 1)
    again = telstate.TelescopeState()
    assert again.load_from_file(tmp_path / "all.rdb") == 199
    assert again["sub_band"] == "l"


async def test_attributes_are_refused() -> None:
    """Setting a key without awaiting is an error that says how to do it."""
    ts = TelescopeState()
    with pytest.raises(AttributeError, match="await ts.set"):
        ts.n_chans = 4096
    ts._note = 3
    assert vars(ts)["_note"] == 3
    with pytest.raises(TypeError, match="backend"):
        TelescopeState("localhost")  # type: ignore[arg-type]  # that it is refused is the test
