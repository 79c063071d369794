"""``except telstate.TelstateError`` catches every error about a snapshot."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import telstate
import telstate_rdb
from telstate import RDBWriter, TelescopeState, aio
from telstate.aio.rdb_writer import RDBWriter as AsyncRDBWriter

#: The beginning of a snapshot that ends within the value of key ``k``.
TRUNCATED = b"REDIS0009\xfe\x00\x00\x01k\x05ab"


def load(source: Any, strict: bool) -> object:
    return TelescopeState().load_from_file(source, strict=strict)


def load_async(source: Any, strict: bool) -> object:
    return asyncio.run(aio.TelescopeState().load_from_file(source, strict=strict))


def open_as_state(source: Any, strict: bool) -> object:
    return TelescopeState.from_snapshot(source, strict=strict)


def open_as_state_async(source: Any, strict: bool) -> object:
    return asyncio.run(aio.TelescopeState.from_snapshot(source, strict=strict))


@pytest.mark.parametrize("read", [load, load_async, open_as_state, open_as_state_async])
@pytest.mark.parametrize("named", [True, False], ids=["path", "file"])
@pytest.mark.parametrize(
    ("content", "strict"), [(TRUNCATED, True), (b"text", True), (b"text", False)]
)
def test_reading(
    tmp_path: Path, read: Callable[[Any, bool], object], named: bool, content: bytes, strict: bool
) -> None:
    """A broken snapshot is telstate's own error, with the attributes of the one from telstate_rdb."""
    path = tmp_path / "broken.rdb"
    path.write_bytes(content)
    with pytest.raises(telstate.TelstateError) as caught:
        read(path if named else io.BytesIO(content), strict)
    error = caught.value
    assert type(error) is telstate.RdbParseError
    assert isinstance(error, telstate_rdb.RdbParseError)
    assert error.file == (str(path) if named else None)
    assert error.offset is not None and error.reason in str(error)


def test_writing_a_payload(tmp_path: Path) -> None:
    """A payload that is not valid is telstate's own error, synchronous and asyncio."""

    async def write_async(path: Path) -> None:
        async with AsyncRDBWriter(path) as writer:
            writer.write_key(b"k", b"text")

    with pytest.raises(telstate.TelstateError) as caught, RDBWriter(tmp_path / "a") as writer:
        writer.write_key(b"k", b"text")
    assert type(caught.value) is telstate.RdbParseError
    with pytest.raises(telstate.RdbParseError):
        asyncio.run(write_async(tmp_path / "b"))


def test_writing_without_opening(tmp_path: Path) -> None:
    """A writer that is not open raises telstate's own error."""
    with pytest.raises(telstate.TelstateError) as caught:
        RDBWriter(tmp_path / "a").write_key(b"k", b"")
    assert type(caught.value) is telstate.RdbWriteError
    assert isinstance(caught.value, telstate_rdb.RdbWriteError)


def test_drop_in(tmp_path: Path) -> None:
    """The drop-in raises telstate's own errors, from callbacks, writers and payload functions too."""
    from telstate.dropin.katsdptelstate import rdb_reader, rdb_utility, rdb_writer_base

    path = tmp_path / "broken.rdb"
    path.write_bytes(TRUNCATED)
    make_callback: Any = (
        rdb_reader.BackendCallback
    )  # mypy takes its empty methods for abstract ones
    with pytest.raises(telstate.TelstateError) as caught:
        rdb_reader.load_from_file(make_callback(), path)
    assert type(caught.value) is rdb_reader.RdbParseError is telstate.RdbParseError
    assert caught.value.file == str(path)
    with pytest.raises(telstate.RdbWriteError):
        rdb_utility.dump_zset([])
    with pytest.raises(telstate.RdbParseError):
        rdb_writer_base.encode_item(b"k", b"text")


async def save_async(path: Any) -> None:
    async with AsyncRDBWriter(path):
        pass


@pytest.mark.parametrize(
    "use",
    [
        lambda path: load(path, True),
        lambda path: load(path, False),
        lambda path: load_async(path, True),
        lambda path: open_as_state(path, True),
        lambda path: open_as_state_async(path, True),
        lambda path: TelescopeState().save(path, keep_empty=True),
        lambda path: RDBWriter(path).__enter__(),
        lambda path: RDBWriter(path).save(TelescopeState()),
        lambda path: asyncio.run(save_async(path)),
    ],
)
@pytest.mark.parametrize("make", [str, Path])
def test_url_in_place_of_a_path(use: Callable[[Any], object], make: Callable[[str], Any]) -> None:
    """No error for a URL that is given as a path, nor a cause of it, shows its password."""
    with pytest.raises((OSError, telstate.TelstateError)) as failed:
        use(make("redis://anna:sesame@localhost:1/0"))
    error: BaseException | None = failed.value
    while error is not None:
        assert "sesame" not in str(error) and "sesame" not in repr(error)
        assert "***@localhost" in str(error)
        error = error.__cause__ or error.__context__
