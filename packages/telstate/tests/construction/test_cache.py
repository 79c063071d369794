"""A cache of immutables saves commands and changes no results."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis
import state_subjects

from telstate import KeyType, TelescopeState, aio
from telstate_backends import AsyncCachedBackend, CachedBackend

Pair = tuple[state_subjects.Subject, state_subjects.Subject]


def commands(client: redis.Redis) -> int:
    """Return how many commands the server has run, without the ones that count them."""
    statistics: dict[str, dict[str, int]] = client.info("commandstats")
    return sum(entry["calls"] for name, entry in statistics.items() if name != "cmdstat_info")


@pytest.fixture
async def pair(
    asynchronous: bool, newest_port: int
) -> AsyncIterator[tuple[state_subjects.Subject, state_subjects.Subject, redis.Redis]]:
    """A plain telescope state, a cached one on the same server, and a client to count commands."""
    url = f"redis://127.0.0.1:{newest_port}"
    plain = await state_subjects.real(asynchronous, url)
    cached = await state_subjects.real(asynchronous, url, cache_size=100)
    with redis.Redis.from_url(url) as client:
        yield plain, cached, client
    await cached.close()
    await plain.close()


async def test_reads_of_immutables_are_not_sent(
    pair: tuple[state_subjects.Subject, state_subjects.Subject, redis.Redis],
) -> None:
    """Cached immutables are read, tested and read in batches without a command, in any view."""
    plain, cached, client = pair
    await plain.set("n_chans", 4096)
    await plain.set("beam_n_pols", {"h": [1, 2]})
    view = cached.view("beam")
    for _ in range(3):
        assert await view.item("n_chans") == 4096
        assert await view.get("n_pols") == {"h": [1, 2]}
        await asyncio.sleep(0.1)  # until the subscription is confirmed
    before = commands(client)
    for _ in range(100):
        assert await view.item("n_chans") == 4096
        assert await view.exists("n_pols")
        assert await view.key_type("n_chans") is KeyType.IMMUTABLE
        assert await cached.get("beam_n_pols") == {"h": [1, 2]}
        assert await view.get_many(["n_pols", "n_chans"]) == {
            "n_pols": {"h": [1, 2]},
            "n_chans": 4096,
        }
    assert commands(client) == before


async def test_what_is_read_can_be_changed(
    pair: tuple[state_subjects.Subject, state_subjects.Subject, redis.Redis],
) -> None:
    """Changing a value that was read does not change the cached one."""
    plain, cached, _ = pair
    await plain.set("list", [1, 2])
    for _ in range(4):
        value = await cached.get("list")
        assert value == [1, 2]
        value.append(3)
        await asyncio.sleep(0.05)


async def test_deletions_by_others_are_noticed(
    pair: tuple[state_subjects.Subject, state_subjects.Subject, redis.Redis],
) -> None:
    """A key that another client deletes, hides or clears is read again."""
    plain, cached, _ = pair
    view = cached.view("beam")
    changes: list[tuple[Callable[[], Any], object]] = [
        (lambda: plain.delete("n_chans"), None),
        (lambda: plain.set("n_chans", 2), 2),
        (lambda: plain.set("beam_n_chans", 3), 3),
        (lambda: plain.clear(), None),
    ]
    await plain.set("n_chans", 1)
    for change, expected in changes:
        for _ in range(3):
            await view.get("n_chans")
            await asyncio.sleep(0.02)
        await change()
        async with asyncio.timeout(state_subjects.LONG):
            while await view.get("n_chans") != expected:
                await asyncio.sleep(0.002)


def test_a_base_shares_its_cache() -> None:
    """Views and instances with a base share its cache; without a size there is no cache."""
    ts = TelescopeState(cache_size=5)
    assert isinstance(ts.backend, CachedBackend)
    assert ts.view("a").backend is ts.backend
    assert TelescopeState(base=ts).backend is ts.backend
    assert not isinstance(TelescopeState().backend, CachedBackend)
    ats = aio.TelescopeState(cache_size=5)
    assert isinstance(ats.backend, AsyncCachedBackend)
    assert aio.TelescopeState(base=ats).backend is ats.backend


@pytest.mark.parametrize("make", [TelescopeState, aio.TelescopeState])
def test_contradictions_are_refused(make: Any) -> None:
    """A cache size together with a base, and a negative size, are refused."""
    with pytest.raises(ValueError, match="cache"):
        make(base=make(), cache_size=5)
    with pytest.raises(ValueError, match="-1"):
        make(cache_size=-1)
