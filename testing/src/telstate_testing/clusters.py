"""A Redis Cluster and a Redis Sentinel for tests, on free loopback ports.

This module needs redis-py, which the packages whose tests use it declare.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

import redis
from attrs import frozen

from telstate_testing.servers import RedisBinary, RedisServer, free_port

SLOTS = 16384
BUS_OFFSET = 10_000
TIMEOUT_SECONDS = 30.0


def _port_with_bus() -> int:
    """Return a free port whose cluster bus is free too; on Redis 6.2 it is always 10,000 above."""
    while True:
        port = free_port()
        if port + BUS_OFFSET >= 1 << 16:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port + BUS_OFFSET))
            return port


@contextmanager
def running_cluster(
    binary: RedisBinary,
    replicas: bool = False,
    spare: bool = False,
    node_timeout: int | None = None,
) -> Iterator[list[RedisServer]]:
    """Run three masters that serve all slots.

    On request they are followed by a replica of each, or by a master without slots. A node is declared down
    that does not answer for `node_timeout` milliseconds.
    """
    # Tests with replicas want a master to be replaced soon. In the others a node that is only slow, on a
    # busy machine, must not be declared down.
    timeout = node_timeout or (1000 if replicas else 15000)
    options = ["--cluster-enabled", "yes", "--cluster-node-timeout", str(timeout)]
    # Redis would turn a master without slots into a replica.
    options += ["--cluster-allow-replica-migration", "no"] if spare else []
    with ExitStack() as stack:
        servers = [
            stack.enter_context(RedisServer(binary, options, port=_port_with_bus()))
            for _ in range(3 + 3 * replicas + spare)
        ]
        # redis-py leaves some of its methods without annotations.
        nodes: list[Any] = [
            stack.enter_context(redis.Redis(port=server.port)) for server in servers
        ]
        for number, node in enumerate(nodes[:3]):
            first, last = number * SLOTS // 3, (number + 1) * SLOTS // 3 - 1
            node.execute_command("CLUSTER ADDSLOTS", *range(first, last + 1))
        for server in servers[1:]:
            nodes[0].execute_command("CLUSTER MEET", "127.0.0.1", server.port)
        _until(lambda: all(_knows(node, len(servers)) for node in nodes))
        for master, replica in zip(nodes[:3], nodes[3:6] if replicas else []):
            name = master.execute_command("CLUSTER MYID").decode()
            replica.execute_command("CLUSTER REPLICATE", name)
        _until(lambda: all(node.cluster("info")["cluster_state"] == "ok" for node in nodes))
        if replicas:
            _until(lambda: all(_replicated(node) for node in nodes[3:]))
        _await_messages(nodes)
        yield servers


@contextmanager
def shared_clusters() -> Iterator[Callable[[RedisBinary], list[int]]]:
    """Yield a function that returns the ports of an empty cluster, of one for each binary."""
    running: dict[RedisBinary, list[int]] = {}
    with ExitStack() as stack:

        def ports(binary: RedisBinary) -> list[int]:
            if binary not in running:
                servers = stack.enter_context(running_cluster(binary))
                running[binary] = [server.port for server in servers]
            empty_cluster(running[binary])
            return running[binary]

        yield ports


def empty_cluster(ports: Sequence[int]) -> None:
    """Empty the masters of a cluster, and wait until earlier messages have arrived on every node.

    A message that is published on one node reaches the others over the cluster bus, in order but later.
    Without the wait, a watcher of the next test on another node would receive updates of the last test.
    """
    with ExitStack() as stack:
        nodes = [stack.enter_context(redis.Redis(port=port)) for port in ports]
        for node in nodes:
            node.flushall()
            node.script_flush()
        _await_messages(nodes)


def _await_messages(nodes: Sequence[Any]) -> None:
    """Wait until a message that is published on any node arrives on every node.

    For some seconds, nodes of a new cluster of Valkey drop each other's messages.
    """
    channel = f"test {time.monotonic_ns()}"
    with ExitStack() as stack:
        subscribers = [stack.enter_context(node.pubsub()) for node in nodes]
        for subscriber in subscribers:
            subscriber.subscribe(channel)
            subscriber.get_message(timeout=TIMEOUT_SECONDS)
        missing = {(number, reader) for number in range(len(nodes)) for reader in subscribers}

        def all_arrived() -> bool:
            for number in {number for number, _ in missing}:
                nodes[number].publish(channel, str(number))
            for reader in subscribers:
                while any(each is reader for _, each in missing):
                    message = reader.get_message(timeout=0.1)
                    if message is None:
                        break
                    missing.discard((int(message["data"]), reader))
            return not missing

        _until(all_arrived)


@contextmanager
def joined_node(binary: RedisBinary, ports: Sequence[int]) -> Iterator[int]:
    """Let a new master without slots join a cluster, and yield its port; it leaves at the end."""
    # Redis would turn a master without slots into a replica.
    options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "15000"]
    options += ["--cluster-allow-replica-migration", "no"]
    with RedisServer(binary, options, port=_port_with_bus()) as server, ExitStack() as stack:
        nodes: list[Any] = [
            stack.enter_context(redis.Redis(port=port)) for port in (*ports, server.port)
        ]
        nodes[0].execute_command("CLUSTER MEET", "127.0.0.1", server.port)
        _until(lambda: all(_knows(node, len(nodes)) for node in nodes))
        _until(lambda: all(node.cluster("info")["cluster_state"] == "ok" for node in nodes))
        yield server.port
        leave_cluster(server.port, ports)


def leave_cluster(port: int, others: Sequence[int]) -> None:
    """Let a master without slots leave a cluster; it goes on running alone."""
    name = _command(port, "MYID").decode()
    for other in others:
        with contextlib.suppress(redis.ResponseError):  # it has left already
            _command(other, "FORGET", name)
    _command(port, "RESET", "SOFT")
    with ExitStack() as stack:
        nodes = [stack.enter_context(redis.Redis(port=each)) for each in others]
        _until(lambda: all(_knows(node, len(others)) for node in nodes))


def owner_first(ports: Sequence[int], slot: int) -> list[int]:
    """Return the ports of a new cluster's masters, first that of the one that has a slot."""
    owner = ports[slot * len(ports) // 16384]
    return [owner, *(port for port in ports if port != owner)]


class SlotMove:
    """The migration of a slot from one node of a cluster to another.

    Parameters
    ----------
    slot : int
        The slot to move.
    ports : sequence of int
        The ports of all masters: first the source, then the target, then the others.
    """

    def __init__(self, slot: int, ports: Sequence[int]) -> None:
        self.slot = slot
        self._ports = ports
        source, target = self._names = [_command(port, "MYID").decode() for port in ports[:2]]
        _command(ports[1], "SETSLOT", slot, "IMPORTING", source)
        _command(ports[0], "SETSLOT", slot, "MIGRATING", target)

    def move(self, *keys: bytes) -> None:
        """Move these keys, or up to ten that are in the slot if none are named."""
        with redis.Redis(port=self._ports[0]) as source:
            found = keys or _command(self._ports[0], "GETKEYSINSLOT", self.slot, 10)
            if found:
                source.execute_command(
                    "MIGRATE", "127.0.0.1", self._ports[1], "", 0, 5000, "KEYS", *found
                )

    def finish(self) -> None:
        """Move all remaining keys, and assign the slot to the target."""
        while _command(self._ports[0], "COUNTKEYSINSLOT", self.slot):
            self.move()
        for port in (self._ports[1], self._ports[0], *self._ports[2:]):
            _command(port, "SETSLOT", self.slot, "NODE", self._names[1])


def _command(port: int, *words: object) -> Any:
    # redis-py leaves some of its methods without annotations.
    with redis.Redis(port=port) as client:
        return cast(Any, client).execute_command(f"CLUSTER {words[0]}", *words[1:])


class Sentinel:
    """A Sentinel that looks after a master named ``store``, as a context manager.

    Within it, `kill` and `start` may be called any number of times; the port stays the same.

    Parameters
    ----------
    binary
        The server to run.
    settings
        The lines of its configuration file, which Sentinel rewrites.
    """

    def __init__(self, binary: RedisBinary, settings: Sequence[str]) -> None:
        self.port = free_port()
        self._binary = binary
        self._folder = Path(tempfile.mkdtemp(prefix="telstate-sentinel-"))
        self._file = self._folder / "sentinel.conf"
        own = [f"port {self.port}", f"dir {self._folder}", "sentinel announce-ip 127.0.0.1"]
        self._file.write_text("\n".join([*own, *settings, ""]))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process_id(self) -> int:
        """The id of the Sentinel's process."""
        assert self._process is not None, "The Sentinel is not running. Start it first."
        return self._process.pid

    def start(self) -> None:
        """Start the Sentinel."""
        self._process = subprocess.Popen(
            [self._binary.path, self._file, "--sentinel"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        """Kill the Sentinel."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Sentinel:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


@frozen
class SentinelGroup:
    """A master named ``store``, its replica, and the Sentinels that look after them.

    Attributes
    ----------
    master, replica
        The servers.
    master_port
        The port by which the Sentinels know the master: its own, or that of the gate before it.
    sentinels
        The Sentinels.
    password
        The password of the Sentinels, empty if they have none.
    """

    master: RedisServer
    replica: RedisServer
    master_port: int
    sentinels: list[Sentinel]
    password: str = ""

    @property
    def url(self) -> str:
        """The URL for clients."""
        places = ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels)
        option = f"?sentinel_password={self.password}" if self.password else ""
        return f"redis+sentinel://{places}/store{option}"

    def master_ports(self) -> set[int]:
        """Return the ports that the Sentinels name as the master's."""
        return {
            int(self.ask(each, "GET-MASTER-ADDR-BY-NAME", "store")[1]) for each in self.sentinels
        }

    def ask(self, sentinel: Sentinel, *words: str) -> Any:
        """Return the reply of a Sentinel to a command."""
        with _sentinel_client(sentinel.port, self.password) as client:
            return cast(Any, client).execute_command(f"SENTINEL {words[0]}", *words[1:])

    def switch(self) -> None:
        """Have the Sentinels make the replica the master, and wait until all of them say so."""
        # It refuses while it does not yet know enough of the replica.
        _until(lambda: self.ask(self.sentinels[0], "FAILOVER", "store") is not None)
        _until(lambda: self.master_ports() == {self.replica.port})


#: From where the replica and the Sentinels connect, so that a gate can tell them from clients.
PEER_HOST = "127.0.0.2"


@contextmanager
def running_sentinels(
    binary: RedisBinary,
    *,
    count: int = 3,
    down_after: int = 500,
    gate: Callable[[int], AbstractContextManager[Gate]] | None = None,
    options: Sequence[str] = (),
    settings: Sequence[str] = (),
    password: str = "",
) -> Iterator[SentinelGroup]:
    """Run a master named ``store``, its replica and Sentinels, most of which must agree on a failover.

    Parameters
    ----------
    binary
        The server to run.
    count
        The number of Sentinels.
    down_after
        Sentinels declare a master down that does not answer for so many milliseconds. A test without a
        failover should allow many, as servers answer late on a busy machine.
    gate
        Called with the master's port, returns a proxy by which all reach the master: the replica and the
        Sentinels from `PEER_HOST`. It needs Redis 7.
    options
        Further options of both servers.
    settings
        Further lines of the Sentinels' configuration files.
    password
        The password of the Sentinels.
    """
    with ExitStack() as stack:
        master = stack.enter_context(RedisServer(binary, options))
        place = master.port
        source: Sequence[str] = ()
        if gate is not None:
            place = stack.enter_context(gate(master.port)).port
            source = ("bind-source-addr", PEER_HOST)
            with redis.Redis(port=master.port) as client:
                client.config_set("replica-announce-port", place)
        follow = ["--replicaof", "127.0.0.1", str(place), "--replica-announce-ip", "127.0.0.1"]
        # For Redis 7.0, only 127.0.0.1 is local.
        follow += [f"--{source[0]}", source[1], "--protected-mode", "no"] if source else []
        replica = stack.enter_context(RedisServer(binary, (*options, *follow)))
        lines = [
            "bind 127.0.0.1",
            " ".join(source),
            f"requirepass {password}" if password else "",
            f"sentinel monitor store 127.0.0.1 {place} {count // 2 + 1}",
            f"sentinel down-after-milliseconds store {down_after}",
            "sentinel failover-timeout store 3000",
            *settings,
        ]
        sentinels = [stack.enter_context(Sentinel(binary, lines)) for _ in range(count)]
        with redis.Redis(port=replica.port) as client:
            _until(lambda: _replicated(client))
        group = SentinelGroup(master, replica, place, sentinels, password)
        for each in sentinels:
            with _sentinel_client(each.port, password) as client:
                _until(lambda: _sees(client, count))
        yield group


class Gate(Protocol):
    """A proxy before a server."""

    port: int


@contextmanager
def running_sentinel(
    binary: RedisBinary, *, down_after: int = 500
) -> Iterator[tuple[int, RedisServer]]:
    """Run :func:`running_sentinels` with one Sentinel; yield its port and the master."""
    with running_sentinels(binary, count=1, down_after=down_after) as group:
        yield group.sentinels[0].port, group.master


def _sentinel_client(port: int, password: str) -> redis.Redis:
    return redis.Redis(port=port, password=password or None)


def _sees(client: redis.Redis, sentinels: int) -> bool:
    """Return whether a Sentinel knows the replica and all Sentinels."""
    known = client.info("sentinel")["master0"]
    return bool(known["slaves"] == 1 and known["sentinels"] == sentinels)


def _knows(node: Any, count: int) -> bool:
    lines = node.execute_command("CLUSTER NODES")
    return len(lines) == count and all(line["connected"] for line in lines.values())


def _replicated(node: redis.Redis) -> bool:
    return node.info("replication").get("master_link_status") == "up"


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        try:
            if condition():
                return
        except redis.RedisError:
            pass  # not yet
        assert time.monotonic() < deadline, "The servers did not reach the expected state in time."
        time.sleep(0.05)
