"""Snapshots are read from archives over HTTP: all of them, or an error that says why, without the token."""

from __future__ import annotations

import asyncio
import gzip
import logging
import random
import shutil
import socket
import subprocess
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from archive_server import (
    TOKEN,
    ArchiveServer,
    Fault,
    hang,
    hang_up,
    reset,
    status,
    truncate,
    truncate_chunks,
)

from telstate import RdbParseError, TelescopeState, _download, aio
from telstate_backends import RetryPolicy
from telstate_testing import missing

PATH = "/1600000000/1600000000_sdp_l0.full.rdb"
SECRET = f"?token={TOKEN}"
#: More than arrives in one piece.
BLOB = random.Random(1).randbytes(1 << 20)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A snapshot of a megabyte."""
    path = tmp_path_factory.mktemp("remote") / "observation.rdb"
    ts = TelescopeState()
    ts["blob"], ts["n_chans"] = BLOB, 4096
    ts.save(path)
    return path.read_bytes()


@pytest.fixture(autouse=True)
def on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use no proxy, and give up sooner than an archive deserves."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(_download, "RETRY", RetryPolicy(seconds=0.5, first_delay=0.01))


@pytest.fixture
def serve(content: bytes) -> Iterator[Callable[..., ArchiveServer]]:
    """Return a function that starts a server of the snapshot with some faults."""
    with ExitStack() as stack:

        def start(*faults: Fault, **options: Any) -> ArchiveServer:
            server = ArchiveServer({PATH: content}, faults, **options)
            return stack.enter_context(server)

        yield start


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry for as long as a download gets further, however slow the machine is."""
    monkeypatch.setattr(_download, "RETRY", RetryPolicy(seconds=60.0, first_delay=0.01))


@pytest.fixture
def load(asynchronous: bool) -> Callable[..., TelescopeState]:
    """Return a function that loads a snapshot into memory, with either class."""

    def from_snapshot(*args: Any, **options: Any) -> TelescopeState:
        if not asynchronous:
            return TelescopeState.from_snapshot(*args, **options)
        ats = asyncio.run(aio.TelescopeState.from_snapshot(*args, **options))
        ts = TelescopeState()
        for key in asyncio.run(ats.keys()):
            ts[key] = asyncio.run(ats[key])
        return ts

    return from_snapshot


Load = Callable[..., TelescopeState]
Serve = Callable[..., ArchiveServer]


def test_an_archive_takes_the_token_from_the_address_as_a_header(load: Load, serve: Serve) -> None:
    """The address is that of the archive's page; the server sees the token in the header that it expects."""
    server = serve(token=TOKEN)
    ts = load(f"{server.url}{PATH}?version=1&token={TOKEN}")
    assert ts["n_chans"] == 4096 and ts["blob"] == BLOB
    [(path, headers)] = server.requests
    assert path == f"{PATH}?version=1"
    assert headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "fault",
    [
        truncate(0),
        truncate(1000),
        truncate(1 << 19),
        reset(1 << 19),
        truncate_chunks(1 << 19),
        hang_up,
        status(500),
        status(503),
        status(429),
    ],
    ids=lambda fault: fault.__qualname__.partition(".")[0],
)
@pytest.mark.parametrize("resumes", [True, False])
def test_a_failure_that_passes_is_retried(
    load: Load, serve: Serve, fault: Fault, resumes: bool
) -> None:
    """A download that fails twice is complete in the end; the token is sent each time."""
    server = serve(fault, fault, token=TOKEN, resumes=resumes)
    assert load(f"{server.url}{PATH}{SECRET}")["blob"] == BLOB
    assert len(server.requests) == 3
    assert {headers["Authorization"] for _, headers in server.requests} == {f"Bearer {TOKEN}"}


@pytest.mark.usefixtures("patient")
def test_a_download_is_resumed_where_it_was_interrupted(
    load: Load, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """Only the rest is requested again, and only of the same version of the file; that is logged once."""
    server = serve(truncate(1 << 19), truncate(1 << 18))
    assert load(f"{server.url}{PATH}{SECRET}")["blob"] == BLOB
    [record] = caplog.records
    assert record.getMessage() == (
        f"The download of {server.url}{PATH} was interrupted after {1 << 19} bytes, and is tried again: "
        "the connection was closed."
    )
    assert server.ranges == [None, f"bytes={1 << 19}-", f"bytes={(1 << 19) + (1 << 18)}-"]


@pytest.mark.usefixtures("patient")
def test_a_file_that_changes_meanwhile_is_downloaded_from_its_start(
    load: Load, serve: Serve, content: bytes, tmp_path: Path
) -> None:
    """The parts of two versions are not put together."""
    ts = TelescopeState()
    ts["n_chans"] = 1024
    ts.save(tmp_path / "new.rdb")
    server = serve()

    def change(handler: Any) -> None:
        truncate(1 << 19)(handler)
        server.files[PATH] = (tmp_path / "new.rdb").read_bytes()

    server.faults.append(change)
    again = load(f"{server.url}{PATH}")
    assert again.keys() == ["n_chans"] and again["n_chans"] == 1024


@pytest.mark.usefixtures("patient")
def test_a_server_that_hangs_is_asked_again(
    load: Load, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that sends nothing for a time counts as lost, before the answer and in the middle of it."""
    monkeypatch.setattr(_download, "TIMEOUT", 0.3)

    def say_nothing(handler: Any) -> None:
        handler.server.archive.ends.wait()

    server = serve(hang(1 << 19), say_nothing)
    assert load(f"{server.url}{PATH}")["blob"] == BLOB


def check_error(error: BaseException, *words: str) -> None:
    """Check that an error has some words, and that nothing shown of it has the token."""
    for word in words:
        assert word in str(error)
    text = "".join(traceback.format_exception(error))
    assert TOKEN not in text and TOKEN not in repr(error)
    assert isinstance(error, OSError)


@pytest.mark.parametrize("fault", [truncate(1000), reset(1000), truncate_chunks(1000)])
def test_a_truncated_download_says_how_much_is_missing(
    load: Load,
    serve: Serve,
    content: bytes,
    fault: Fault,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The error names the address and the number of bytes that are missing; the log has no token either."""
    server = serve(*([fault] * 1000), resumes=False)
    with caplog.at_level(logging.DEBUG), pytest.raises(ConnectionError) as caught:
        load(f"{server.url}{PATH}{SECRET}")
    place = f"{server.url}{PATH}"
    check_error(caught.value, "Only 1000 ", f" of {place} were received")
    if fault.__qualname__ != truncate_chunks(1).__qualname__:
        missing = len(content) - 1000
        check_error(caught.value, f"of {len(content)} bytes", f"so {missing} are missing")
    assert TOKEN not in caplog.text


REFUSALS = [
    (status(401), PermissionError, ["refuses access", "HTTP status 401", "token may have expired"]),
    (status(403), PermissionError, ["refuses access", "HTTP status 403", "no such file"]),
    (status(404), FileNotFoundError, ["There is no file at", "HTTP status 404"]),
    (status(418), ConnectionError, ["cannot be downloaded", "HTTP status 418"]),
    (status(302), ConnectionError, ["cannot be downloaded", "HTTP status 302"]),
    (
        status(302, Location=f"ftp://user:{TOKEN}@127.0.0.1/x"),
        ConnectionError,
        ["redirects to ftp://127.0.0.1"],
    ),
    (
        status(302, Location=f"file:///{TOKEN}"),
        ConnectionError,
        ["cannot be downloaded", "HTTP status 302"],
    ),
]


@pytest.mark.parametrize("fault, kind, words", REFUSALS)
def test_a_refusal_is_one_clear_error(
    load: Load, serve: Serve, fault: Fault, kind: type[OSError], words: list[str]
) -> None:
    """What no retry mends is an error at once, which names the address without the token."""
    server = serve(fault)
    with pytest.raises(kind) as caught:
        load(f"{server.url}{PATH}{SECRET}")
    check_error(caught.value, f"{server.url}{PATH}", *words)
    assert len(server.requests) == 1


def test_a_server_that_keeps_failing_is_an_error(load: Load, serve: Serve) -> None:
    """After the last retry the error says what the server answers."""
    server = serve(*([status(500)] * 1000))
    with pytest.raises(ConnectionError) as caught:
        load(f"{server.url}{PATH}{SECRET}")
    check_error(caught.value, f"{server.url}{PATH} cannot be downloaded", "HTTP status 500")


def test_a_token_is_not_sent_to_another_host(load: Load, serve: Serve) -> None:
    """A redirect to another server is an error if there is a token, and is followed otherwise."""
    other = serve()
    server = serve(*([status(302, Location=f"{other.url}{PATH}")] * 2))
    with pytest.raises(ConnectionError) as caught:
        load(f"{server.url}{PATH}{SECRET}")
    check_error(caught.value, f"{server.url}{PATH} redirects to {other.url}", "not sent")
    assert not other.requests
    assert load(f"{server.url}{PATH}")["n_chans"] == 4096
    [(_, headers)] = other.requests
    assert "Authorization" not in headers


def test_a_token_is_sent_to_the_same_host_again(load: Load, serve: Serve) -> None:
    """A redirect on the same server is followed with the token."""
    server = serve(status(302, Location=PATH), token=TOKEN)
    assert load(f"{server.url}/latest{SECRET}")["n_chans"] == 4096


def test_user_and_password_of_an_address_are_sent_and_not_shown(load: Load, serve: Serve) -> None:
    """They are sent as HTTP's basic authentication."""
    server = serve(status(403))
    place = server.url.removeprefix("http://")
    with pytest.raises(PermissionError) as caught:
        load(f"http://anna:{TOKEN}@{place}{PATH}")
    check_error(caught.value, f"http://{place}{PATH}")
    assert "anna" not in str(caught.value)
    assert server.requests[0][1]["Authorization"].startswith("Basic ")


def test_nothing_listens_at_the_address(load: Load) -> None:
    """A refused connection and a host without an address are errors at once."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}{PATH}"
        with pytest.raises(ConnectionError) as caught:
            load(url + SECRET)
    check_error(caught.value, f"{url} cannot be reached: Connection refused.")
    with pytest.raises(ConnectionError) as caught:
        load(f"https://nowhere.invalid{PATH}{SECRET}")
    check_error(caught.value, f"https://nowhere.invalid{PATH} cannot be reached")


def test_a_server_that_never_answers(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that accepts connections and says nothing, and one that does not even accept them."""
    monkeypatch.setattr(_download, "TIMEOUT", 0.2)
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}{PATH}"
        with pytest.raises(TimeoutError) as caught:
            load(url + SECRET)
        check_error(caught.value, f"{url} cannot be ", "the server did not answer in time")
        for _ in range(3):  # more than wait to be accepted
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        with pytest.raises(TimeoutError) as caught:
            load(url + SECRET)
        check_error(caught.value, f"{url} cannot be reached: the server did not answer in time")


@pytest.mark.parametrize(
    "address",
    [
        f"https:///x{SECRET}",
        f"https://[::1{SECRET}",
        f"https://host:port/x{SECRET}",
        f"https://user:{TOKEN}@host:{TOKEN}/x",
        f"https://host/x?token={TOKEN}%0d%0aX-Header:%20x",
    ],
)
def test_an_address_that_is_not_valid_shows_no_token(load: Load, address: str) -> None:
    """A slip in the address is a ValueError."""
    with pytest.raises(ValueError) as caught:
        load(address)
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


def test_a_server_that_does_not_speak_http(load: Load) -> None:
    """Something else at the port is an error at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(b"-ERR unknown command\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(ConnectionError) as caught:
            load(f"http://127.0.0.1:{listener.getsockname()[1]}{PATH}{SECRET}")
        thread.join()
    check_error(caught.value, "the server does not speak HTTP")


def test_what_is_not_a_snapshot_names_the_address(load: Load, serve: Serve) -> None:
    """A page in place of the file is an error that names the address without the token."""
    server = serve()
    server.files["/login"] = b"<!DOCTYPE html><title>Log in</title>"
    with pytest.raises(RdbParseError) as caught:
        load(f"{server.url}/login{SECRET}")
    assert f"{server.url}/login" in str(caught.value)
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


def test_warnings_about_the_file_name_the_address(
    load: Load, serve: Serve, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """What is lost of a damaged file is logged with its address, without the token."""
    server = serve()
    server.files["/damaged.rdb"] = content[:-100]
    load(f"{server.url}/damaged.rdb{SECRET}", strict=False)
    assert f"of {server.url}/damaged.rdb" in caplog.text and TOKEN not in caplog.text


def test_a_compressed_file_is_recognised(load: Load, serve: Serve, content: bytes) -> None:
    """A file that gzip compressed is read, whatever it is called."""
    server = serve()
    server.files["/observation"] = gzip.compress(content, 1)
    assert load(f"{server.url}/observation", keys=["n_*"]).keys() == ["n_chans"]


def test_https_checks_the_certificate(
    load: Load, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate that is trusted is accepted, and another one is an error at once."""
    if shutil.which("openssl") is None:
        pytest.skip(missing("openssl to make certificates"))
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=archive -keyout key.pem "
        "-out certificate.pem -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    certificate = tmp_path / "certificate.pem"
    both = tmp_path / "both.pem"
    both.write_text(certificate.read_text() + (tmp_path / "key.pem").read_text())
    server = serve(certificate=str(both), token=TOKEN)
    with pytest.raises(ConnectionError) as caught:
        load(f"{server.url}{PATH}{SECRET}")
    check_error(caught.value, f"{server.url}{PATH} cannot be reached", "self-signed certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert load(f"{server.url}{PATH}{SECRET}")["n_chans"] == 4096


def test_a_server_is_left_alone_by_a_damaged_download(
    serve: Serve, content: bytes, newest_port: int
) -> None:
    """Nothing is loaded into a Redis server from a file whose end is missing, or damaged."""
    server = serve(resumes=False)
    server.files["/damaged.rdb"] = content[:-100]
    with TelescopeState(f"127.0.0.1:{newest_port}") as ts:
        with pytest.raises(RdbParseError):
            ts.load_from_file(f"{server.url}/damaged.rdb")
        server.faults += [truncate(1000)] * 1000
        with pytest.raises(ConnectionError):
            ts.load_from_file(f"{server.url}{PATH}")
        assert ts.keys() == []


async def test_a_cancelled_download_ends(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that is cancelled does not go on to download in its thread."""
    stopped = threading.Event()
    real = _download.download

    def download(*args: Any) -> Any:
        try:
            return real(*args)
        finally:
            stopped.set()

    monkeypatch.setattr(_download, "download", download)
    monkeypatch.setattr(_download, "RETRY", RetryPolicy(seconds=600.0, first_delay=0.01))
    server = serve(*([status(503)] * 100_000))
    task = asyncio.create_task(aio.TelescopeState.from_snapshot(f"{server.url}{PATH}"))
    while not server.requests:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(stopped.wait, 30.0)
