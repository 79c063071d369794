"""A server's own point-in-time snapshot: the RDB file that it sends to a replica that says ``SYNC``.

Rules: a snapshot has a connection of its own, which is closed at its end, however it ends, and can be cut
from another thread. It is read synchronously; asyncio code reads it in a thread. Before the file the server
sends newlines to show that it is alive; then ``$<length>``, or ``$EOF:<mark>`` if it does not know the length,
in which case the mark follows the file. Failures raise redis-py's errors, as for other commands.
"""

from __future__ import annotations

import asyncio
import builtins
import socket
import time
from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, TypeAlias, TypeVar

import attrs
from redis.crc import key_slot
from redis.exceptions import (
    ConnectionError,
    InvalidResponse,
    MasterDownError,
    NoPermissionError,
    ResponseError,
    TimeoutError,
)

from telstate_backends._load_operations import EXPIRED, contents_of_record
from telstate_backends.abc import Consume, SnapshotEntry, Wants
from telstate_backends.errors import ForeignKeyError, RefusedError, translate_rdb_errors
from telstate_backends.operations.base import Operation
from telstate_backends.operations.bulk import Export, unpacked
from telstate_backends.operations.inspect import Keys
from telstate_backends.redis import _client
from telstate_backends.redis._cluster import AnyAsyncServer, AnyServer, AsyncCluster, Cluster
from telstate_backends.redis._server import AsyncServer, Server
from telstate_backends.redis._slots import Ownership
from telstate_codec.keys import key_repr
from telstate_rdb import read_rdb

Result = TypeVar("Result")
ExecuteMany: TypeAlias = Callable[[Sequence[Operation[Any]]], list[Any]]

#: Seconds without a byte after which a server counts as lost. A replica waits as long (``repl-timeout``).
SILENCE = 60.0
#: What a replica tells the server about itself; unknown options are ignored. With ``rdb-only`` no commands
#: follow the file. Without a version, Valkey 9 sends a file that has no room for fields that expire. A port
#: that does not exist keeps Sentinels, which learn of replicas from the master, from adding this one.
_CAPABILITIES = (
    ("listening-port", "65536"),
    ("rdb-only", "1"),
    ("capa", "eof"),
    ("version", "255.255.255"),
)
_NOT_REAL = "it is not a real server"
_MARK_SIZE = 40
_MAX_HEADER = 256
#: How many keys of moved slots are read at once.
_BATCH = 100


@attrs.frozen
class Source:
    """A server to take a snapshot of."""

    address: str
    #: Returns a new connection of redis-py, which is not connected yet.
    make_connection: Callable[[], Any]


class ErrorReply(Exception):
    """The error with which a server replied to ``SYNC``."""


class Payload:
    """The RDB file in a replication stream, to be read like a file.

    Parameters
    ----------
    receive : callable
        Returns up to so many bytes of the stream, none at its end.
    """

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        self._receive = receive
        header = self._read_header()
        #: How many bytes are left, if that is known.
        self._left = 0
        self._mark = b""
        self._held = b""  # may be the beginning of the mark
        self._has_ended = False
        if header.startswith(b"$EOF:") and len(header) == len(b"$EOF:") + _MARK_SIZE:
            self._mark = header[-_MARK_SIZE:]
        elif header[:1] == b"$" and header[1:].isdigit():
            self._left = int(header[1:])
        elif header[:1] == b"-":
            raise ErrorReply(header[1:].decode(errors="replace"))
        else:
            raise InvalidResponse(f"unexpected reply to SYNC: {header!r}")

    def _read_header(self) -> bytes:
        header = b""
        while not header.endswith(b"\n"):
            byte = self._some(1)
            if header or byte != b"\n":  # otherwise it only shows that the server is alive
                header += byte
            if len(header) > _MAX_HEADER:
                raise InvalidResponse(f"unexpected reply to SYNC: {header!r}")
        return header.strip()

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none at the end of the file."""
        if not self._mark:
            data = self._some(min(size, self._left)) if self._left else b""
            self._left -= len(data)
            return data
        while not self._has_ended:
            data = self._held + self._some(size)
            end = data.find(self._mark)
            if end >= 0:
                self._has_ended = True
                return data[:end]
            ready, self._held = data[: 1 - _MARK_SIZE], data[1 - _MARK_SIZE :]
            if ready:
                return ready
        return b""

    def _some(self, size: int) -> bytes:
        data = self._receive(size)
        if not data:
            raise ConnectionError("the connection was closed in the middle of a snapshot")
        return data


class Snapshot:
    """The keys of servers at one moment each, for one iteration.

    Parameters
    ----------
    sources : sequence of Source
        The servers, one after the other.
    database : int
        The number of the database.
    wants : callable
        Returns whether a key is wanted.
    ownership : callable, optional
        Returns which node of a cluster serves which slot.
    execute_many : callable, optional
        Executes operations on a cluster.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        database: int,
        wants: Wants,
        ownership: Callable[[], Ownership] | None = None,
        execute_many: ExecuteMany | None = None,
    ) -> None:
        self._sources = sources
        self._database = database
        self._wants = wants
        self._ownership = ownership
        self._execute_many = execute_many
        self._connection: Any = None
        self._is_cut = False

    def feed(self, consume: Consume[Result]) -> Future[Result]:
        """Pass the entries to a function; return its result or error, raise those of the snapshot."""
        outcome: Future[Result] = Future()
        failures: list[Exception] = []
        with closing(self._watched(failures)) as entries:
            try:
                outcome.set_result(consume(entries))
            except Exception as error:
                if failures:
                    raise failures[0]
                outcome.set_exception(error)
        return outcome

    def cut(self) -> None:
        """Make the iteration fail soon; can be called from any thread."""
        self._is_cut = True
        connection = self._connection
        if connection is not None:
            _client.shut_down(connection)

    def _watched(self, failures: list[Exception]) -> Generator[SnapshotEntry]:
        try:
            yield from self._entries()
        except Exception as error:
            failures.append(error)
            raise

    def _entries(self) -> Iterator[SnapshotEntry]:
        if self._ownership is None or self._execute_many is None:
            for source in self._sources:
                yield from self._entries_of(source)
            return
        before = self._ownership()
        seen: set[bytes] = set()
        read: set[int] = set()
        for source in self._sources:
            # Of a slot that it is about to get, a node has some keys, perhaps not whole.
            slots = before.slots_of(source.address)
            read |= slots
            for key, contents in self._entries_of(source):
                if key_slot(key) in slots:
                    seen.add(key)
                    yield key, contents
        # A node that has become a master since the sources were listed is not among them.
        served = {slot for _, slot in before.served}
        moved = before.moved(self._ownership()) | (served - read)
        if moved:
            # Neither node may have had such a key at its moment.
            yield from _read_rest(
                self._execute_many,
                lambda key: key_slot(key) in moved and key not in seen and self._wants(key),
            )

    def _entries_of(self, source: Source) -> Iterator[SnapshotEntry]:
        name = f"the snapshot of Redis at {source.address}"
        now = time.time()
        with self._open(source) as payload, translate_rdb_errors():
            for record in read_rdb(payload, raw=True, databases=self._database, name=name):
                key = record.key
                if not self._wants(key):
                    continue
                contents = contents_of_record(record, now, name)
                if not isinstance(contents, str):
                    yield key, unpacked(contents)
                elif contents != EXPIRED:
                    yield key, ForeignKeyError(
                        f"Key {key_repr(key)} holds {contents}, which telstate does not support."
                    )

    @contextmanager
    def _open(self, source: Source) -> Iterator[Payload]:
        connection = source.make_connection()
        try:
            self._connection = connection
            connection.connect()
            sock = _client.socket_of(connection)
            if sock is None:
                raise _refused(source.address, _NOT_REAL)
            for words in _CAPABILITIES:
                connection.send_command("REPLCONF", *words, check_health=False)
                try:
                    connection.read_response()
                except ResponseError:
                    pass  # without it the snapshot comes in another form
            connection.send_command("SYNC", check_health=False)
            # From here on the bytes are not those of redis-py's protocol.
            timeout = sock.gettimeout()
            sock.settimeout(None if timeout is None else max(timeout, SILENCE))
            try:
                payload = Payload(partial(self._receive, sock))
            except ErrorReply as reply:
                if str(reply).startswith("NOMASTERLINK "):  # for other commands it is MASTERDOWN
                    raise MasterDownError(str(reply)) from None
                error = _client.error_factory(connection)(str(reply))
                if isinstance(error, NoPermissionError) or "unknown command" in str(reply):
                    raise _refused(source.address, str(reply)) from error
                raise error from None
            yield payload
        finally:
            self._connection = None
            connection.disconnect()

    def _receive(self, sock: socket.socket, size: int) -> bytes:
        try:
            data = sock.recv(size)
        except builtins.TimeoutError as error:
            raise TimeoutError(f"no data for {sock.gettimeout():.0f} s") from error
        if self._is_cut:
            raise ConnectionError("the snapshot was cancelled")
        return data


def _refused(address: str, reason: str) -> RefusedError:
    return RefusedError(
        f"Redis at {address} does not send a consistent snapshot ({reason}). The user must be allowed the "
        "commands SYNC and REPLCONF; saving without consistent=True needs neither."
    )


def _read_rest(execute_many: ExecuteMany, wants: Wants) -> Iterator[SnapshotEntry]:
    """Read the keys that are wanted in the usual way."""
    (listed,) = execute_many([Keys()])
    keys = [key for key in _checked(listed) if wants(key)]
    for start in range(0, len(keys), _BATCH):
        some = keys[start : start + _BATCH]
        for key, contents in zip(some, execute_many([Export(key) for key in some]), strict=True):
            if isinstance(contents, ForeignKeyError):
                yield key, contents
            elif contents is not None:  # otherwise it has been deleted meanwhile
                yield key, _checked(contents)


def _checked(result: Any) -> Any:
    if isinstance(result, Exception):
        raise result
    return result


def open_snapshot(server: AnyServer, wants: Wants, execute_many: ExecuteMany) -> Snapshot:
    """Return the snapshot of a server, or of all masters of a cluster."""
    if isinstance(server, Cluster):
        sources = [_source(each) for each in server.masters()]
        return Snapshot(sources, 0, wants, server.ownership, execute_many)
    return Snapshot([_source(server)], _client.database_of(server.client), wants)


def _source(server: Server) -> Source:
    return Source(server.address, partial(_client.make_connection, server.client.connection_pool))


async def open_snapshot_async(
    server: AnyAsyncServer,
    wants: Wants,
    execute_many: Callable[[Sequence[Operation[Any]]], Coroutine[Any, Any, list[Any]]],
) -> Snapshot:
    """Return the snapshot of a server, or of all masters of a cluster, to be fed in a thread."""
    if not isinstance(server, AsyncCluster):
        return Snapshot([await _source_async(server)], _client.database_of(server.client), wants)
    loop = asyncio.get_running_loop()
    return Snapshot(
        [await _source_async(each) for each in await server.masters()],
        0,
        wants,
        lambda: asyncio.run_coroutine_threadsafe(server.ownership(), loop).result(),
        lambda work: asyncio.run_coroutine_threadsafe(execute_many(work), loop).result(),
    )


async def _source_async(server: AsyncServer) -> Source:
    pool = server.client.connection_pool
    if not _client.is_real(pool):
        raise _refused(server.address, _NOT_REAL)
    place = {}
    if _client.follows_master(pool):
        host, port = await pool.get_master_address()
        place = {"host": host, "port": port}
    return Source(server.address, partial(_client.make_sync_connection, pool, place))
