"""What `open_store` takes for a snapshot, and what for a server."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from archive_server import TOKEN, ArchiveServer

import telstate
from telstate import TelescopeState


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def content(folder: Path) -> bytes:
    """A snapshot, which is in no file any more."""
    ts = TelescopeState()
    ts["n_chans"] = 4096
    ts["m000_gain"] = 1.5
    path = folder / "saved.rdb"
    ts.save(path)
    content = path.read_bytes()
    path.unlink()
    return content


@pytest.mark.parametrize("name", ["obs.rdb", "obs", "localhost", "a/obs.snapshot", "host:6379"])
def test_a_name_is_a_file_if_there_is_one(folder: Path, content: bytes, name: str) -> None:
    """This holds for all names, also for those of servers."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    for store in (name, path):
        with telstate.open_store(store, prefixes=("m000_", "")) as ts:
            assert (ts["gain"], ts["n_chans"]) == (1.5, 4096)


def test_compressed_open_and_remote_snapshots(
    folder: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that gzip compressed, an open file and an address are snapshots too."""
    path = folder / "obs.rdb.gz"
    path.write_bytes(gzip.compress(content))
    assert telstate.open_store(path, keys=["n_*"]).keys() == ["n_chans"]
    with path.open("rb") as file:
        assert telstate.open_store(file)["n_chans"] == 4096
    monkeypatch.setenv("no_proxy", "*")
    amounts: list[tuple[int, int | None]] = []
    with ArchiveServer({"/obs": content}, token=TOKEN) as server:
        ts = telstate.open_store(
            f"{server.url}/obs?token={TOKEN}", progress=lambda *amount: amounts.append(amount)
        )
    assert ts["n_chans"] == 4096
    assert amounts[-1] == (len(content), len(content))


def test_servers(newest_port: int) -> None:
    """An address of a server is connected to, with the database that is chosen."""
    with telstate.open_store(f"redis://127.0.0.1:{newest_port}/3", prefixes=("x_", "")) as ts:
        ts["a"] = 1
    with telstate.open_store(f"127.0.0.1:{newest_port}", database=3) as ts:
        assert ts["x_a"] == 1
    assert telstate.open_store(f"127.0.0.1:{newest_port}").keys() == []


@pytest.mark.parametrize("name", ["obs.rdb", "obs.rdb.gz", "./obs", "a/b"])
def test_a_file_that_does_not_exist(name: str) -> None:
    """What ends as a snapshot or has a slash is a path."""
    with pytest.raises(FileNotFoundError, match=f"No such file or directory: '{name}'"):
        telstate.open_store(name)


def test_a_misspelt_name(folder: Path) -> None:
    """The error for a name that is neither a file nor a server says both."""
    with pytest.raises(telstate.ConnectionError) as caught:
        telstate.open_store("obs.rbd.invalid")
    text = str(caught.value)
    assert text.startswith(
        "There is no file obs.rbd.invalid, and no server of that name: Redis at "
    )
    assert "\n" not in text
    (folder / "data.invalid").mkdir()
    with pytest.raises(telstate.ConnectionError, match="^data.invalid is a folder, and no server"):
        telstate.open_store("data.invalid")
    with pytest.raises(telstate.ConnectionError, match="^Redis at 127.0.0.1:1 cannot be reached"):
        telstate.open_store("127.0.0.1:1")
    with pytest.raises(ValueError, match="empty text"):
        telstate.open_store("")
