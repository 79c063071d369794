"""TLS, Unix sockets, Sentinel and Cluster, on real servers, with failovers."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import threading
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

from telstate_backends import (
    AddSample,
    AsyncRedisBackend,
    CheckDue,
    ConnectionError,
    GetRange,
    KeyWait,
    RedisBackend,
    RetryPolicy,
    SetImmutable,
    TelstateError,
    Update,
    wait_async,
)
from telstate_backends.redis._client import cut
from telstate_backends.redis.url import connect_async, parse_url
from telstate_codec import encode_sample
from telstate_testing import RedisBinary, RedisServer, clusters, missing, redis_binaries
from telstate_testing.servers import free_port

PATIENT = RetryPolicy(seconds=30)
LONG = 40.0


async def use(url: str) -> None:
    """Write, read, watch and take snapshots, synchronously and with asyncio."""
    with RedisBackend.from_url(url) as backend:
        backend.execute(SetImmutable(b"sync", b"x" * 100_000))
        with backend.watch([b"k"]) as watcher:
            assert watcher.next(LONG) is CheckDue.SUBSCRIBED
            async with await AsyncRedisBackend.from_url(url) as asynchronous:
                waiting = asyncio.create_task(wait_async(asynchronous, KeyWait((b"k",))))
                await asyncio.sleep(0.1)
                await asynchronous.execute(SetImmutable(b"k", b"y" * 100_000))
                await asyncio.wait_for(waiting, LONG)
                assert sorted(await asynchronous.take_snapshot(dict)) == [b"k", b"sync"]
            event = watcher.next(LONG)
            assert isinstance(event, Update)
            assert event.value == b"y" * 100_000
            assert sorted(backend.take_snapshot(dict)) == [b"k", b"sync"]


async def test_unix_sockets(server: RedisServer) -> None:
    """A unix:// URL reaches a server by its socket."""
    await use(f"unix://{server.unix_socket}?db=1")


async def count_commands(url: str, ports: list[int]) -> Counter[str]:
    """Return the commands that servers get until backends, synchronous and asyncio, are connected."""
    with ExitStack() as stack:
        clients = [stack.enter_context(redis.Redis(port=port)) for port in ports]
        for client in clients:
            client.config_resetstat()
        with RedisBackend.from_url(url):
            async with await AsyncRedisBackend.from_url(url):
                statistics = [client.info("commandstats") for client in clients]
    calls: Counter[str] = Counter()
    for name, values in (item for each in statistics for item in each.items()):
        calls[name.removeprefix("cmdstat_")] += values["calls"]
    if (7, 2) <= redis.VERSION < (8,):
        del calls["client|setinfo"]  # these always send the name of the library
    return calls


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", {"ping": 2}),
        ("/1", {"ping": 2, "select": 2}),
        ("?username=default&password=", {"ping": 2, "auth": 2}),
        ("?protocol=3&client_name=ours", {"ping": 2, "hello": 2, "client|setname": 2}),
    ],
)
async def test_a_connection_is_made_by_few_commands(
    server: RedisServer, options: str, expected: dict[str, int]
) -> None:
    """Nothing is sent but what is needed, unless the URL says so."""
    if server.binary.version < (7,):
        pytest.skip("Redis 6 does not count subcommands by themselves")
    calls = await count_commands(server.url + options, [server.port])
    ignored = ("config|resetstat", "client|maint_notifications")
    assert {name: calls[name] for name in calls if name not in ignored} == expected


async def test_connections_to_a_cluster_are_made_by_few_commands(cluster_ports: list[int]) -> None:
    """The nodes are not told the name of the library, and only redis-py's synchronous client asks for all commands."""
    calls = await count_commands(f"redis+cluster://127.0.0.1:{cluster_ports[0]}", cluster_ports)
    assert calls["hello"] == calls["client|setinfo"] == 0 < calls["ping"]
    assert calls["command"] == 1


@pytest.mark.slow
async def test_an_asyncio_client_of_a_cluster_takes_little_memory(cluster_ports: list[int]) -> None:
    """It keeps no table of all commands, and a small one of the slots."""
    url = f"redis+cluster://127.0.0.1:{cluster_ports[0]}"
    async with await AsyncRedisBackend.from_url(url):  # which imports all modules
        tracemalloc.start()
        try:
            async with await AsyncRedisBackend.from_url(url):
                taken, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert taken < 400_000  # with both tables, it is 1.9 MB


@pytest.mark.slow
async def test_a_client_of_a_cluster_asks_for_all_commands_when_it_needs_them(
    cluster_ports: list[int],
) -> None:
    """The client of a backend works for other uses too."""
    client = connect_async(parse_url(f"redis+cluster://127.0.0.1:{cluster_ports[0]}", None))
    async with client:
        await client.set("key", b"value")
        assert await client.execute_command("OBJECT ENCODING", "key") == b"embstr"


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A folder with a certificate authority, and a certificate for the loopback address."""
    if shutil.which("openssl") is None:
        pytest.skip(missing("openssl to make certificates"))
    (tmp_path / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=authority -keyout ca.key -out ca.crt"
        " -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign",
        "req -newkey rsa:2048 -nodes -subj /CN=store -keyout store.key -out store.csr",
        "x509 -req -days 1 -in store.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out store.crt"
        " -extfile names",
    ):
        subprocess.run(["openssl", *command.split()], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


@pytest.fixture
def tls_port(newest: RedisBinary, certificates: Path) -> Iterator[int]:
    """The TLS port of the newest Redis and the newest Valkey in turn that have TLS."""
    family = [binary for binary in redis_binaries() if binary.family == newest.family]
    binaries = [binary for binary in family if binary.has_tls]
    if not binaries:
        pytest.skip(missing(f"{newest.family.title()} server with TLS"))
    port = free_port()
    options = ["--tls-port", str(port), "--tls-auth-clients", "no"]
    for name, file in (("cert", "store.crt"), ("key", "store.key"), ("ca-cert", "ca.crt")):
        options += [f"--tls-{name}-file", str(certificates / file)]
    with RedisServer(binaries[-1], options):
        yield port


@pytest.mark.slow
async def test_tls(tls_port: int, certificates: Path) -> None:
    """A rediss:// URL speaks TLS and checks the certificate."""
    url = f"rediss://127.0.0.1:{tls_port}"
    await use(f"{url}?ssl_ca_certs={certificates / 'ca.crt'}")
    with pytest.raises(ConnectionError, match=f"127.0.0.1:{tls_port}"):
        RedisBackend.from_url(url)


@pytest.mark.slow
async def test_a_tls_connection_is_cut(tls_port: int, certificates: Path) -> None:
    """When Sentinels switch, a read that waits on a TLS connection to the old master ends at once."""
    # The private function that does it, because Sentinels with TLS take long to set up.
    place: dict[str, Any] = {"host": "127.0.0.1", "port": tls_port}
    place |= {"ssl_ca_certs": str(certificates / "ca.crt"), "socket_timeout": 2 * LONG}
    connection: Any = redis.SSLConnection(**place)
    connection.send_command("BLPOP", "k", 0)
    reading = asyncio.create_task(asyncio.to_thread(connection.read_response))
    await asyncio.sleep(0.1)
    cut(connection)
    with pytest.raises(redis.ConnectionError):
        await asyncio.wait_for(reading, LONG)
    asynchronous = redis.asyncio.SSLConnection(**place)
    await asynchronous.send_command("BLPOP", "k", 0)
    reading = asyncio.create_task(asynchronous.read_response())
    await asyncio.sleep(0.1)
    cut(asynchronous)
    with pytest.raises(redis.ConnectionError):
        await asyncio.wait_for(reading, LONG)


class Writer:
    """A thread that adds samples during a failover, and records those that were acknowledged."""

    def __init__(self, backend: RedisBackend) -> None:
        self.backend = backend
        self.acknowledged: list[bytes] = []
        self._stop = threading.Event()
        self._failure: TelstateError | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            while not self._stop.wait(0.01):
                sample = encode_sample(float(len(self.acknowledged)), b"v")
                self.backend.execute(AddSample(b"s", sample))
                self.acknowledged.append(sample)
        except TelstateError as error:
            self._failure = error

    async def acknowledge(self, count: int) -> None:
        """Wait until so many samples are acknowledged."""
        while len(self.acknowledged) < count:
            if self._failure is not None:
                raise self._failure
            await asyncio.sleep(0.01)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def replicate(master: RedisServer) -> None:
    """Wait until a replica has all that the master has."""
    with redis.Redis(port=master.port) as client:
        client.set("{s}mark", b"1")
        assert client.wait(1, int(LONG * 1000)) >= 1


async def fail_over(url: str, master: RedisServer) -> None:
    """Kill the master under a writer and waiters, and check that all continue with the next."""
    with RedisBackend.from_url(url, retry=PATIENT) as backend:
        async with await AsyncRedisBackend.from_url(url, retry=PATIENT) as asynchronous:
            waiting = asyncio.create_task(wait_async(asynchronous, KeyWait((b"k",))))
            with Writer(backend) as writer:
                await writer.acknowledge(20)
                before = len(writer.acknowledged)
                await asyncio.to_thread(replicate, master)
                master.kill()
                after = len(writer.acknowledged)
                await writer.acknowledge(after + 50)
            await asyncio.to_thread(backend.execute, SetImmutable(b"k", b"1"))
            await asyncio.wait_for(waiting, LONG)
            kept = await asynchronous.execute(GetRange((b"s",), bytes(8), b"\xff" * 8))
            assert kept is not None
            assert len(set(kept)) == len(kept)
            lost = set(writer.acknowledged) - set(kept)
            # Writes that have not reached a replica when the master dies are lost, as Redis documents.
            assert lost <= set(writer.acknowledged[before : after + 1])


@pytest.mark.slow
async def test_a_sentinel_failover(newest: RedisBinary) -> None:
    """When Sentinel makes a replica the master, a writer and a waiter continue with it."""
    with clusters.running_sentinel(newest) as (port, master):
        await fail_over(f"redis+sentinel://127.0.0.1:{port}/store", master)


@pytest.mark.slow
async def test_a_cluster_failover(newest: RedisBinary) -> None:
    """When a replica in a cluster takes over, a writer and a waiter continue with it."""
    with clusters.running_cluster(newest, replicas=True) as servers:
        # The slot of b"s" (3828) is on the first master.
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers[:2])
        await fail_over(f"redis+cluster://{hosts}", servers[0])
