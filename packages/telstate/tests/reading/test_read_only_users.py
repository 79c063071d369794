"""What a telescope state can do for a user of the server who may only read, in every way that is left."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from conftest import SERVERS, marked, needs_server
from rich.console import Console
from state_subjects import LONG

from telstate import KeyType, KeyUpdate, RefusedError, TelescopeState, aio
from telstate.overview import key_tree, summarise

pytestmark = needs_server

COMMON = "~* +@read +ping +select +subscribe +unsubscribe +psubscribe +punsubscribe &*"
RIGHTS = {
    "read-only scripts": COMMON.replace("~", "%R~") + " +eval_ro +evalsha_ro",
    "scripts": f"{COMMON} +eval +evalsha",
    "transactions": f"{COMMON} +multi +exec",
    "plain commands": COMMON,
}


@pytest.fixture(params=marked(*SERVERS))
def port(request: pytest.FixtureRequest, server_port: Callable[[str], int]) -> int:
    """The port of an empty server of each version."""
    return server_port(request.param)


@contextmanager
def reader(port: int, rights: str) -> Iterator[str]:
    """Make a user; yield the URL."""
    with redis.Redis(port=port) as client:
        client.execute_command("ACL SETUSER", "reader", "reset", "on", "nopass", *rights.split())
        try:
            yield f"redis://reader:any@127.0.0.1:{port}"
        finally:
            client.execute_command("ACL DELUSER", "reader")


@pytest.mark.parametrize("way", RIGHTS)
async def test_reader(port: int, way: str, tmp_path: Path) -> None:
    """Values, ranges, listings, trees, waits, watches and snapshots are as for any other user."""
    ours = TelescopeState(f"127.0.0.1:{port}")
    ours["n_chans"] = 4096
    for time in range(100):
        ours.add("l0_gain", float(time), ts=time)
    ours.set_indexed("l0_cal", ("a", 1), [1, 2])
    kinds = {"n_chans": KeyType.IMMUTABLE, "l0_gain": KeyType.MUTABLE, "l0_cal": KeyType.INDEXED}
    with redis.Redis(port=port) as client:
        if way == "read-only scripts" and client.info("server")["redis_version"] < "7":
            return  # the server does not know such users
    with reader(port, RIGHTS[way]) as url:
        ts = TelescopeState(url).view("l0")
        assert ts["n_chans"] == 4096 and ts["gain"] == 99.0 and ts["cal"] == {("a", 1): [1, 2]}
        assert ts.get_indexed("cal", ("a", 1)) == [1, 2] and ts.get("missing") is None
        assert ts.get_range("gain") == [(99.0, 99.0)]
        assert len(ts.get_range("gain", st=10.0)) == 90
        assert ts.get_range("gain", 9.5, 10.5, True) == [(9.0, 9.0), (10.0, 10.0)]
        assert "gain" in ts and ts.key_type("cal") is KeyType.INDEXED
        assert ts.keys() == sorted(kinds) and ts.key_types() == kinds
        assert ts.get_many(["gain", "n_chans"]) == {"gain": 99.0, "n_chans": 4096}
        Console(file=io.StringIO()).print(key_tree(summarise(ts), "all"))
        assert summarise(ts) == summarise(ours)
        assert ts.save(tmp_path / "snapshot.rdb") == 3
        assert TelescopeState.from_snapshot(tmp_path / "snapshot.rdb").key_types() == kinds
        waiting = threading.Thread(target=ts.wait_key, args=("later",), kwargs={"timeout": LONG})
        with ts.watch("gain", "new") as changes:
            waiting.start()
            ours["later"] = 1
            ours.add("l0_gain", 5.0, ts=200.0)
            change = next(iter(changes))
            assert isinstance(change, KeyUpdate) and change.value == 5.0
        waiting.join()
        with pytest.raises(RefusedError, match="not permit"):
            ts["other"] = 1
        backend = await aio.RedisBackend.from_url(url)
        async with aio.TelescopeState(backend) as other:
            assert await other["n_chans"] == 4096
            assert len(await other.get_range("l0_gain", st=10.0)) == 91
            assert await other.key_types("l0_*") == {
                "l0_gain": KeyType.MUTABLE,
                "l0_cal": KeyType.INDEXED,
            }
            with pytest.raises(RefusedError, match="not permit"):
                await other.add("l0_gain", 1.0)
