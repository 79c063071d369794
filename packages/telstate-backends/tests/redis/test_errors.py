"""Messages of errors when a server cannot be used: what is wrong, where, and what to do about it."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import redis.asyncio.sentinel
import redis.exceptions as theirs
import redis.sentinel
from conftest import needs_server

from telstate_backends import (
    AddSample,
    AsyncRedisBackend,
    Clear,
    ConnectionError,
    Get,
    RedisBackend,
    RefusedError,
    SetImmutable,
    TelstateError,
)
from telstate_backends.redis._errors import is_locked_out, of_channels, of_operations, translate
from telstate_codec.timestamps import encode_sample
from telstate_testing import RedisBinary, RedisServer, clusters
from telstate_testing.servers import free_port

LONG = 20.0


def of_cluster(cause: Exception) -> Exception:
    """Return the error by which redis-py says that it could not reach a cluster."""
    error = theirs.RedisClusterException(f"Redis Cluster cannot be connected: {cause}")
    error.__cause__ = cause
    return error


MESSAGES = [
    (
        of_cluster(theirs.AuthenticationError("bad")),
        ConnectionError,
        "refused the login.*user name",
    ),
    (of_cluster(theirs.ConnectionError("Error 111")), ConnectionError, r"reached \(Error 111\)"),
    (
        of_cluster(theirs.RedisClusterException("Cluster mode is not enabled on this node")),
        ConnectionError,
        "nodes run in cluster mode",
    ),
    (
        theirs.RedisClusterException("All slots are not covered after query"),
        ConnectionError,
        "serve all slots",
    ),
    (theirs.MovedError("7629 host:2"), RefusedError, r"Use redis\+cluster:// instead of redis://"),
    (
        redis.sentinel.MasterNotFoundError("No master found for 'm'"),
        ConnectionError,
        "Check that the Sentinels run and know this master",
    ),
    (
        redis.asyncio.sentinel.MasterNotFoundError("No master found for 'm' : <c> - E"),
        ConnectionError,
        r"\(No master found for 'm'\)\. Check that the Sentinels run and know this master",
    ),
    (theirs.ResponseError("unknown command 'SENTINEL'"), RefusedError, "No Sentinel answers"),
    (theirs.ResponseError("unknown command `SENTINEL`"), RefusedError, "No Sentinel answers"),
    (theirs.InvalidResponse('got "<"'), ConnectionError, "is a Redis server"),
    (
        theirs.ConnectionError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"),
        ConnectionError,
        "cannot be verified.*ssl_ca_certs",
    ),
    (
        theirs.ConnectionError("[SSL: WRONG_VERSION_NUMBER] wrong version number"),
        ConnectionError,
        "does not speak TLS.*redis:// instead",
    ),
    (theirs.MaxConnectionsError(""), ConnectionError, "max_connections"),
    (theirs.ConnectionError("Too many connections"), ConnectionError, "max_connections"),
]


@pytest.mark.parametrize(("error", "kind", "message"), MESSAGES)
def test_messages(error: Exception, kind: type[TelstateError], message: str) -> None:
    """Each error of redis-py becomes one of ours that says what to do, and where."""
    ours = translate(error, "place:1")
    assert type(ours) is kind
    assert "place:1" in str(ours) and re.search(message, str(ours))


def test_a_key_that_moves_in_a_cluster() -> None:
    """In a cluster, a key that is on another node is a ConnectionError, which is retried."""
    ours = translate(theirs.MovedError("7629 host:2"), "cluster place:1")
    assert type(ours) is ConnectionError and "Try again" in str(ours)


def test_a_wrong_password_of_a_cluster() -> None:
    """A wrong password is recognised though redis-py says it by the cause only."""
    assert is_locked_out(of_cluster(theirs.AuthenticationError("bad")))
    assert not is_locked_out(of_cluster(theirs.ConnectionError("gone")))


@pytest.mark.parametrize(
    ("error", "tls", "said"),
    [
        (theirs.TimeoutError("slow"), True, "whether it speaks TLS"),
        (theirs.TimeoutError("slow"), False, "or allow more time"),
        (theirs.TimeoutError("slow"), None, "or allow more time"),
        (theirs.ConnectionError("Connection reset by peer"), False, "whether it requires TLS"),
        (theirs.ConnectionError("Connection closed by server."), False, "whether it requires TLS"),
        (theirs.ConnectionError("Connection reset by peer"), None, "Check that it runs"),
    ],
)
def test_messages_of_the_first_connection(error: Exception, tls: bool | None, said: str) -> None:
    """That only one side uses TLS is a hint for the very first connection, not for later ones."""
    assert said in str(translate(error, "place:1", tls_at_first=tls))


def test_messages_about_permissions_name_keys() -> None:
    """The keys of the operations, or the channels, are named; of many the first."""
    error = theirs.NoPermissionError("no")
    one, two = Get((b"v_k", b"k")), SetImmutable(b"x", b"1")
    for about, said in [
        (of_operations([two]), "for key 'x' (no)"),
        (of_operations([one, two]), "for key 'v_k' or 2 more (no)"),
        (of_operations([Clear()]), "this (no)"),
        (of_channels([b"update/k", b"delete/k"]), "for channel 'delete/k' or 1 more (no)"),
        (of_channels([]), "this (no)"),
    ]:
        assert f"Redis at place:1 does not permit this {said}".replace("this this", "this") in str(
            translate(error, "place:1", about)
        )
    assert "update/*, delete/* and clear" in str(translate(error, "place:1"))


async def check_refused(url: str, kind: type[TelstateError], message: str) -> None:
    """Check the error for a URL, synchronous and asyncio."""
    with pytest.raises(kind, match=message):
        RedisBackend.from_url(url)
    with pytest.raises(kind, match=message):
        await AsyncRedisBackend.from_url(url)


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """Listen on a port without answering."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@contextlib.contextmanager
def closing_server() -> Iterator[int]:
    """Listen on a port, and close each connection when something arrives."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def cut() -> None:
            with contextlib.suppress(OSError):
                while True:
                    with listener.accept()[0] as each:
                        each.recv(1)  # of more: with a rest unread, it is a reset

        thread = threading.Thread(target=cut)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(LONG)


async def test_a_rediss_url_of_a_silent_server() -> None:
    """The message asks whether the server speaks TLS."""
    with silent_server() as port:
        url = f"rediss://127.0.0.1:{port}?socket_connect_timeout=0.2&socket_timeout=0.2"
        await check_refused(
            url, ConnectionError, f"127.0.0.1:{port} did not .* whether it speaks TLS"
        )


async def test_a_redis_url_of_a_server_that_closes_the_connection() -> None:
    """The message asks whether the server requires TLS."""
    with closing_server() as port:
        await check_refused(f"redis://127.0.0.1:{port}", ConnectionError, "whether it requires TLS")


async def test_sentinels_are_named() -> None:
    """The error names the addresses of the Sentinels."""
    ports = [free_port(), free_port()]
    places = ",".join(f"127.0.0.1:{port}" for port in ports)
    named = f"'store' of Sentinels at 127.0.0.1:{ports[0]}, 127.0.0.1:{ports[1]} cannot be found"
    await check_refused(f"redis+sentinel://:hush@{places}/store", ConnectionError, named)


@pytest.mark.slow
@needs_server
async def test_real_sentinels(newest: RedisBinary) -> None:
    """Sentinels that do not know a master, and a server that is not a Sentinel."""
    with clusters.running_sentinel(newest) as (port, master):
        with RedisBackend.from_url(f"redis+sentinel://127.0.0.1:{port}/store") as backend:
            shown = f"<RedisBackend at master 'store' of Sentinel at 127.0.0.1:{port}>"
            assert repr(backend) == shown
        url = f"redis+sentinel://127.0.0.1:{port}/other"
        await check_refused(url, ConnectionError, "'other'.*know this master")
        url = f"redis+sentinel://127.0.0.1:{master.port}/store"
        await check_refused(url, RefusedError, "No Sentinel answers")


@pytest.mark.slow
@needs_server
async def test_real_clusters(cluster_ports: list[int], server: RedisServer) -> None:
    """A cluster with another password, a server that is not a cluster, and a node used as a server."""
    place = f"127.0.0.1:{cluster_ports[0]}"
    url = f"redis+cluster://anna:hush@{place}"
    await check_refused(url, ConnectionError, f"cluster {place} refused the login")
    await check_refused(
        f"redis+cluster://127.0.0.1:{server.port}", ConnectionError, "nodes run in cluster mode"
    )
    with RedisBackend.from_url(f"redis://{place}") as backend:
        for key in (b"a", b"b", b"c"):
            with contextlib.suppress(RefusedError):
                backend.execute(Get((key,)))
                continue
            break
        else:
            pytest.fail("one node has all keys")
        with pytest.raises(RefusedError, match=r"Use redis\+cluster://"):
            backend.execute(Get((key,)))


@needs_server
async def test_users_without_permission(newest_url: str) -> None:
    """The error names the key or the channel, and says what a user needs; in batches too."""
    sample = encode_sample(1.0, b"v")
    rights = {
        "scriptless": {"keys": ["*"], "channels": ["*"], "commands": ["+@all", "-@scripting"]},
        "keyless": {"keys": ["open*"], "channels": ["*"], "commands": ["+@all"]},
        "shy": {"keys": ["*"], "channels": [], "commands": ["+@all"]},
    }
    needed = r"run scripts, and use the channels update/\*, delete/\* and clear"
    with redis.Redis.from_url(newest_url) as admin:
        for user, these in rights.items():
            some: Any = these
            admin.acl_setuser(user, enabled=True, passwords=["+hush"], reset_channels=True, **some)
        try:
            for user in rights:
                url = newest_url.replace("//", f"//{user}:hush@")
                with RedisBackend.from_url(url) as backend:
                    with pytest.raises(RefusedError, match=f"for key 'k'.*{needed}"):
                        backend.execute(AddSample(b"k", sample))
                    (error,) = backend.execute_many([AddSample(b"k", sample)])
                    assert isinstance(error, RefusedError) and "for key 'k'" in str(error)
                    if user == "shy":
                        with backend.watch([b"k"]) as watcher:
                            with pytest.raises(RefusedError, match=f"'update/k'.*{needed}"):
                                watcher.next(LONG)
                async with await AsyncRedisBackend.from_url(url) as other:
                    with pytest.raises(RefusedError, match=f"for key 'k'.*{needed}"):
                        await other.execute(AddSample(b"k", sample))
                    (error,) = await other.execute_many([AddSample(b"k", sample)])
                    assert isinstance(error, RefusedError) and "for key 'k'" in str(error)
        finally:
            admin.acl_deluser(*rights)
