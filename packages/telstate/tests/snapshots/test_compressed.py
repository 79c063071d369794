"""Snapshots that gzip compressed are read by their paths."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from threading import Thread

import pytest
from state_subjects import Subject

import telstate
from telstate import RdbParseError, TelescopeState


@pytest.fixture
def compressed(tmp_path: Path) -> Path:
    """A compressed snapshot."""
    ts = TelescopeState()
    ts["n_chans"] = 4096
    ts["blob"] = os.urandom(10_000)
    ts.save(tmp_path / "observation.rdb")
    path = tmp_path / "observation.rdb.gz"
    path.write_bytes(gzip.compress((tmp_path / "observation.rdb").read_bytes()))
    return path


async def test_a_compressed_file_is_recognised_by_its_contents(
    subject: Subject, compressed: Path
) -> None:
    """Its name does not matter, and a file that is called so but is not compressed is read too."""
    plain = compressed.with_suffix("")
    renamed = plain.rename(plain.with_name("plain.rdb.gz"))
    for path in (compressed, str(compressed), compressed.rename(plain), renamed):
        if Path(path).exists():
            assert await subject.load_from_file(path) == 2
    assert await subject.item("n_chans") == 4096


@pytest.mark.parametrize("missing", [1, 8, 9, 5000])
async def test_a_truncated_file_is_an_error(
    subject: Subject, compressed: Path, missing: int
) -> None:
    """Nothing of it is loaded, even if it lacks only a part of the checksum of gzip."""
    compressed.write_bytes(compressed.read_bytes()[:-missing])
    with pytest.raises(RdbParseError, match="ended before the end-of-stream marker") as caught:
        await subject.load_from_file(compressed)
    assert str(compressed) in str(caught.value)
    assert await subject.keys() == []


def test_a_pipe_and_an_open_file_may_be_compressed(compressed: Path, tmp_path: Path) -> None:
    """What a shell passes as a file, and an open file, are recognised in the same way."""
    with compressed.open("rb") as file:
        assert TelescopeState.from_snapshot(file)["n_chans"] == 4096
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = Thread(target=pipe.write_bytes, args=(compressed.read_bytes(),))
    writer.start()
    assert TelescopeState.from_snapshot(pipe)["n_chans"] == 4096
    writer.join()


def test_a_compressed_file_is_verified(compressed: Path) -> None:
    """What is verified is the snapshot in it, and that it is complete."""
    assert telstate.verify_snapshot(compressed).sound
    compressed.write_bytes(compressed.read_bytes()[:-1])
    [problem] = telstate.verify_snapshot(compressed).problems
    assert "ended before the end-of-stream marker" in str(problem)
