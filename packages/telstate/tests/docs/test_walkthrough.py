"""The walkthrough of the API in data/walkthrough.md runs as written on every backend."""

from collections.abc import Callable
from pathlib import Path

import pytest
import redis.asyncio
from conftest import ALL_KINDS, DATA
from fakeredis import FakeAsyncRedis
from markdown_examples import blocks, steps, walk
from state_subjects import Subject, SyncSubject

from telstate import RDBWriter, TelescopeState, aio, telescope_state

SYNC, ASYNCIO, SAVING = blocks(DATA / "walkthrough.md")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the snapshot that the walkthrough loads."""
    source = TelescopeState()
    source["sub_band"] = "l"
    with RDBWriter(tmp_path / "observation.rdb") as writer:
        writer.save(source)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("asynchronous", [False], ids=["sync"])
async def test_sync(
    subject: Subject, asynchronous: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each synchronous line has the result in its comment; `TelescopeState()` uses the test's backend."""
    assert isinstance(subject, SyncSubject)
    backend = subject.backend
    monkeypatch.setattr(telescope_state, "open_backend", lambda *arguments: backend)
    names: dict[str, object] = {}
    await walk(SYNC, names)
    (ts,) = (
        value
        for value in names.values()
        if type(value) is TelescopeState and value.prefixes == ("",)
    )
    assert ts.backend is backend
    values = await walk(SAVING, names)
    assert values == [(5, 0)]
    monkeypatch.undo()
    again = TelescopeState()
    assert again.load_from_file(folder / "out.rdb") == 5
    assert again.get_range("gain", st=0) == [(1.5, 100.0), (1.75, 105.0), (2.0, 110.0)]
    assert again["peak"] == {("J1939-6342", 17): 14.9}


@pytest.mark.parametrize("kind", ALL_KINDS[1:])
async def test_asyncio(
    kind: str,
    server_port: Callable[[str], int],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The asyncio lines run on any server behind `redis.asyncio.from_url`."""
    if kind == "fakeredis":
        client: redis.asyncio.Redis | redis.asyncio.RedisCluster = FakeAsyncRedis()
    elif kind.endswith("-cluster"):
        port, *_ = request.getfixturevalue("ports_of_cluster")(kind.removesuffix("-cluster"))
        client = redis.asyncio.RedisCluster(host="127.0.0.1", port=port)
    else:
        version, _, protocol = kind.partition("-resp")
        client = redis.asyncio.Redis(port=server_port(version), protocol=int(protocol or 2))
    asked: list[str] = []

    def from_url(url: str) -> object:
        asked.append(url)
        return client

    monkeypatch.setattr(redis.asyncio, "from_url", from_url)
    names: dict[str, object] = {}
    values = await walk(ASYNCIO, names)
    assert asked == ["redis://localhost"]
    assert type(names["ts"]) is aio.TelescopeState
    assert values == [None, 4096, 4096, None, None, None, None]


@pytest.mark.parametrize(
    "wrong",
    [
        "1 + 1  # 3",
        "[1]  # [1, ...]",
        "1 + 1  # ImmutableKeyError",
        "1 / 0  # ImmutableKeyError",
        "1 / 0",
        "await nothing()  # 2",
        "1 + 1  # two",
    ],
)
async def test_comments_are_checked(wrong: str) -> None:
    """A line whose result or exception differs from its comment fails."""

    async def nothing() -> None:
        """Do nothing."""

    assert await walk(steps("1 + 1  # 2\n[1, 2, 3]  # [1, 2, ...]"), {}) == [2, [1, 2, 3]]
    with pytest.raises((AssertionError, ValueError)):
        await walk(steps(wrong), {"nothing": nothing})
