"""Snapshots are read from object stores through s3fs."""

from __future__ import annotations

import logging
import random
import socket
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from archive_server import status, truncate
from object_store import KEY, ObjectStore

from telstate import TelescopeState, _download
from telstate_testing import missing

s3fs = pytest.importorskip("s3fs", reason=missing("s3fs"))
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
URL = "s3://1600000000/observation.rdb"
BLOB = random.Random(2).randbytes(1 << 20)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """An object store with a snapshot, to which the environment points."""
    ts = TelescopeState()
    ts["blob"], ts["n_chans"] = BLOB, 4096
    ts.save(tmp_path / "observation.rdb")
    content = (tmp_path / "observation.rdb").read_bytes()
    s3fs.S3FileSystem.clear_instance_cache()
    with ObjectStore({"/1600000000/observation.rdb": content}) as store:
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("no_proxy", "*")
        yield store
        s3fs.S3FileSystem.clear_instance_cache()


def test_an_object_is_read(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read in several requests, signed with the key of the environment."""
    monkeypatch.setattr(_download, "_BLOCK", 1 << 18)
    ts = TelescopeState.from_snapshot(URL)
    assert ts["n_chans"] == 4096 and ts["blob"] == BLOB
    assert len(store.requests) > 3


def test_a_failure_that_passes_is_retried(store: ObjectStore) -> None:
    """s3fs repeats what fails."""
    store.faults += [status(500), truncate(1000)]
    assert TelescopeState.from_snapshot(URL)["blob"] == BLOB


def test_a_public_bucket_needs_no_key(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting of fsspec for anonymous requests is respected."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(
        PermissionError, match="no credentials to read s3://1600000000/obs.*AWS_ACC"
    ):
        TelescopeState.from_snapshot(URL)
    store.is_public = True
    settings = import_module("fsspec.config").conf
    monkeypatch.setitem(settings, "s3", {"anon": "true"})
    assert TelescopeState.from_snapshot(URL)["n_chans"] == 4096


def test_errors_name_the_object(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An object that does not exist, a key that is not accepted, and a key in the address."""
    with (
        caplog.at_level(logging.INFO),
        pytest.raises(FileNotFoundError, match="There is no file at s3://1600000000/no.rdb"),
    ):
        TelescopeState.from_snapshot("s3://1600000000/no.rdb")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(PermissionError, match=f"refuses access to {URL}"):
        TelescopeState.from_snapshot(URL)
    with pytest.raises(ValueError, match="holds no access key") as caught:
        TelescopeState.from_snapshot(f"s3://{KEY}:{SECRET}@1600000000/observation.rdb")
    assert SECRET not in str(caught.value) + caplog.text
    with pytest.raises(ValueError, match="names no object. Write s3://bucket/name"):
        TelescopeState.from_snapshot("s3://1600000000")


@pytest.mark.slow
def test_an_object_that_ends_too_early_is_an_error(store: ObjectStore) -> None:
    """A store that sends less than it announced each time is an error that names the object."""
    store.faults += [lambda handler: handler.answer()] + [truncate(1000)] * 1000
    size = len(store.files["/1600000000/observation.rdb"])
    with pytest.raises(ConnectionError) as caught:
        TelescopeState.from_snapshot(URL)
    assert f"Only 0 of {size} bytes of {URL} were received" in str(caught.value)
    assert f"so {size} are missing" in str(caught.value)


@pytest.mark.slow
def test_nothing_listens_at_the_endpoint(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object store that cannot be reached is an error that names the object."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with pytest.raises(ConnectionError, match=f"{URL} cannot be downloaded: .*{endpoint}"):
            TelescopeState.from_snapshot(URL)
