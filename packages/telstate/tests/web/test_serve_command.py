"""The command serve: what it prints, whom it lets in, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest
from state_command import COMMAND, run
from web_client import TIMEOUT, Client, serve

from telstate import TelescopeState
from telstate.cli import _serve
from telstate.web import create_app
from telstate_testing.terminals import Terminal

slow = pytest.mark.slow  # they start processes, which behave alike on every Python


@pytest.fixture(scope="module")
def observation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot."""
    path = tmp_path_factory.mktemp("serve") / "observation.rdb"
    ts = TelescopeState()
    ts.add("m000_gain", 1.5, ts=100.0)
    ts["n_chans"] = 4096
    ts.save(path)
    return path


@attrs.frozen
class Serving:
    """A command that serves a page."""

    process: subprocess.Popen[str]
    url: str
    client: Client

    def interrupt(self) -> tuple[int, str]:
        """Press Ctrl-C; return the status and the messages."""
        self.process.send_signal(signal.SIGINT)
        _, errors = self.process.communicate(timeout=TIMEOUT)
        return self.process.returncode, errors


@contextmanager
def serving(*words: str | Path, **variables: str) -> Iterator[Serving]:
    """Serve a page on a free port."""
    process = subprocess.Popen(
        [*COMMAND, "serve", *map(str, words), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables},
    )
    with process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().rstrip("\n")
            found = re.match(r"http://[^/]+:(\d+)/", url)
            assert found, process.communicate(timeout=TIMEOUT)
            yield Serving(process, url, Client(int(found[1])))
        finally:
            process.kill()


def test_a_file(observation: Path) -> None:
    """The address is printed; Ctrl-C ends the command as the signal does, without a message."""
    with serving(observation) as served:
        assert served.url == f"http://127.0.0.1:{served.client.port}/"
        store = served.client.json("store")
        assert (store["name"], store["live"]) == (str(observation), False)
        assert served.client.json("overview")["snapshot"]["sound"] is True
        assert served.client.request("GET", "/api/store", Host="evil.example").status == 403
        assert served.interrupt() == (-signal.SIGINT, "")


@slow
def test_a_server(any_port: int) -> None:
    """Streams that are open end with the command."""
    with TelescopeState(f"127.0.0.1:{any_port}") as ts:
        ts.add("m000_gain", 1.5, ts=100.0)
        ts["n_chans"] = 4096
        with serving(f"127.0.0.1:{any_port}", "--view", "m000") as served:
            assert served.client.json("keys")["keys"] == [["m000_gain", "m"]]
            with served.client.stream("m000_gain") as stream, served.client.stream() as other:
                stream.until("update", text="1.5")
                other.until("ready")
                status, errors = served.interrupt()
                with pytest.raises((EOFError, OSError)):
                    while True:
                        stream.next()
            assert (status, errors) == (-signal.SIGINT, "")


@slow
def test_a_download_that_is_not_read(tmp_path: Path) -> None:
    """Ctrl-C does not wait for a browser that does not read, and prints nothing."""
    path = tmp_path / "long.rdb"
    ts = TelescopeState()
    ts.add_many("long", range(100_000), range(100_000))
    ts.add_many("text", ["x" * 1000] * 10_000, range(10_000))
    ts.save(path)
    with serving(path) as served:
        with socket.create_connection(("127.0.0.1", served.client.port)) as connection:
            request = "GET /api/csv?key=text&key=long HTTP/1.1\r\nHost: localhost\r\n\r\n"
            connection.sendall(request.encode())
            assert connection.recv(20).startswith(b"HTTP/1.1 200")
            assert served.interrupt() == (-signal.SIGINT, "")


@slow
def test_termination(observation: Path) -> None:
    """SIGTERM ends it too."""
    with serving(observation) as served:
        served.process.terminate()
        _, errors = served.process.communicate(timeout=TIMEOUT)
        assert (served.process.returncode, errors) == (-signal.SIGTERM, "")


@slow
def test_terminal(observation: Path) -> None:
    """On a terminal, Ctrl-C leaves it as it was."""
    words = [*COMMAND, "serve", str(observation), "--port", "0"]
    with Terminal(words, start_new_session=True) as terminal:
        before = terminal.settings
        terminal.read_until("http://127.0.0.1:")
        port = terminal.read_until("/")
        assert Client(int(port)).get("api/store").status == 200
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.process.wait(TIMEOUT) == -signal.SIGINT
        assert terminal.settings == before
        assert "Traceback" not in terminal.read()


@slow
def test_beyond_this_machine(observation: Path) -> None:
    """There a token is made and printed; with the cookie that it buys, data can be read."""
    with serving(observation, "--host", "0.0.0.0", "--allowed-host", "proxy.example") as served:
        name, _, token = served.url.partition("#token=")
        assert name == f"http://{socket.gethostname()}:{served.client.port}/"
        assert len(token) >= 32
        client = served.client
        assert client.get("api/store").status == 401
        login = client.request("POST", "/api/login", json.dumps({"token": token}).encode())
        cookie = login.headers["set-cookie"].partition(";")[0]
        for host in (
            f"127.0.0.1:{client.port}",
            socket.gethostname(),
            "proxy.example",
            "localhost",
        ):
            answer = client.request("GET", "/api/store", Cookie=cookie, Host=host)
            assert answer.status == 200
        assert client.request("GET", "/api/store", Cookie=cookie, Host="evil.example").status == 403
        assert served.interrupt() == (-signal.SIGINT, "")


@slow
def test_a_chosen_token(observation: Path) -> None:
    """A token that was chosen is needed here too, and is not printed."""
    with serving(observation, TELSTATE_TOKEN="a long secret") as served:
        assert "secret" not in served.url
        assert served.client.get("api/store").status == 401
        login = served.client.request("POST", "/api/login", b'{"token": "a long secret"}')
        assert login.status == 204


@slow
def test_open(observation: Path, tmp_path: Path) -> None:
    """--open opens the page in the browser of the user, whose arguments do not have the token."""
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}.part && mv {opened}.part {opened}\n')
    browser.chmod(0o755)
    words = (observation, "--open", "--token", "a long secret")
    with serving(*words, BROWSER=f"{browser} %s") as served:
        deadline = time.monotonic() + TIMEOUT
        while not opened.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert opened.read_text() == f"http://127.0.0.1:{served.client.port}/\n"


def test_port_in_use(observation: Path) -> None:
    """A port that is in use is one line."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run("serve", str(observation), "--port", str(port))
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        f"Cannot listen on 127.0.0.1:{port}: Address already in use. "
        "Choose another with --port or --host.\n"
    )


@pytest.mark.parametrize(
    "words, expected",
    [
        (["FILE", "--host", "192.0.2.1"], "Cannot listen on 192.0.2.1:0: "),
        (["FILE", "--host", "no.such.host.invalid"], "not an address of this machine"),
        (["FILE", "--token", ""], "--token is empty"),
        (["missing.rdb"], "missing.rdb: No such file or directory."),
        (["127.0.0.1:1"], "127.0.0.1:1"),
    ],
)
def test_errors(observation: Path, words: list[str], expected: str) -> None:
    """What cannot be served is one line."""
    named = [str(observation) if word == "FILE" else word for word in words]
    done = run("serve", *named, "--port", "0")
    assert done.exit_code == 2
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1


@slow
@pytest.mark.parametrize("package", ["starlette", "sse_starlette", "uvicorn", "plotly"])
def test_without_the_extra(observation: Path, package: str) -> None:
    """One line says what to install."""
    code = "import sys; sys.modules[sys.argv.pop(1)] = None; from telstate.__main__ import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, package, "serve", str(observation), "--port", "0"],
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"The web page needs {package}. Install telstate with its extra 'web'.\n"
    )


def test_idle_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection on which no request arrives, or no other one, is closed; an open stream is not."""
    monkeypatch.setattr(_serve, "_HEAD_SECONDS", 0.2)
    request = b"GET /api/store HTTP/1.1\r\nHost: localhost\r\n"
    ts = TelescopeState()
    with (
        serve(create_app(ts, live=True), http=_serve.make_protocol()) as client,
        client.stream() as stream,
    ):
        stream.until("ready")
        for begun in (b"", request, request + b"\r\n" + request):
            with socket.create_connection(("127.0.0.1", client.port), TIMEOUT) as connection:
                connection.sendall(begun)
                while connection.recv(10_000):
                    pass
        ts["new"] = 1
        stream.until("keys")
