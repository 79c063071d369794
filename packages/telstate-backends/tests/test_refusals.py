"""What is said when a server cannot be used: what is the matter, where, and what to do about it."""

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
from conftest import SERVERS

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
from telstate_testing import RedisServer, clusters
from telstate_testing.servers import free_port

LONG = 20.0
needs_server = pytest.mark.skipif(not SERVERS, reason="there is no Redis server")


def of_cluster(cause: Exception) -> Exception:
    """Make the error by which redis-py says that it could not reach a cluster."""
    error = theirs.RedisClusterException(f"Redis Cluster cannot be connected: {cause}")
    error.__cause__ = cause
    return error


SAID = [
    (of_cluster(theirs.AuthenticationError("bad")), ConnectionError, "let us in.*user name"),
    (of_cluster(theirs.ConnectionError("Error 111")), ConnectionError, r"reached \(Error 111\)"),
    (
        of_cluster(theirs.RedisClusterException("Cluster mode is not enabled on this node")),
        ConnectionError,
        "is no cluster.*use redis:// instead",
    ),
    (
        theirs.RedisClusterException("All slots are not covered after query"),
        ConnectionError,
        "does not serve all keys",
    ),
    (theirs.MovedError("7629 host:2"), RefusedError, r"use redis\+cluster:// instead of redis://"),
    (theirs.ResponseError("MOVED 7629 host:2"), RefusedError, r"use redis\+cluster://"),
    (
        redis.sentinel.MasterNotFoundError("No master found for 'm'"),
        ConnectionError,
        "Sentinels, which do answer, know this master",
    ),
    (
        redis.asyncio.sentinel.MasterNotFoundError("No master found for 'm' : <c> - E"),
        ConnectionError,
        r"\(No master found for 'm'\); check that the Sentinels run and know this master",
    ),
    (theirs.ResponseError("unknown command 'SENTINEL'"), RefusedError, "no Sentinel answers"),
    (theirs.ResponseError("unknown command `SENTINEL`"), RefusedError, "no Sentinel answers"),
    (theirs.InvalidResponse('got "<"'), ConnectionError, "is a Redis server"),
    (
        theirs.ConnectionError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"),
        ConnectionError,
        "not to be trusted.*ssl_ca_certs",
    ),
    (
        theirs.ConnectionError("[SSL: WRONG_VERSION_NUMBER] wrong version number"),
        ConnectionError,
        "does not speak TLS.*redis:// instead",
    ),
]


@pytest.mark.parametrize(("error", "kind", "said"), SAID)
def test_what_is_said(error: Exception, kind: type[TelstateError], said: str) -> None:
    """Each error of redis-py becomes one of ours that says what to do, and where."""
    ours = translate(error, "place:1")
    assert type(ours) is kind
    assert "place:1" in str(ours) and re.search(said, str(ours))


def test_a_key_that_moves_in_a_cluster() -> None:
    """In a cluster, a key that is on another node is worth another attempt."""
    ours = translate(theirs.MovedError("7629 host:2"), "cluster place:1")
    assert type(ours) is ConnectionError and "try again" in str(ours)


def test_a_wrong_password_of_a_cluster_locks_out() -> None:
    """It is of no use to try again with a wrong password, though redis-py says it by the cause only."""
    assert is_locked_out(of_cluster(theirs.AuthenticationError("bad")))
    assert not is_locked_out(of_cluster(theirs.ConnectionError("gone")))


@pytest.mark.parametrize(
    ("error", "tls", "said"),
    [
        (theirs.TimeoutError("slow"), True, "whether it speaks TLS"),
        (theirs.TimeoutError("slow"), False, "or allow more time"),
        (theirs.TimeoutError("slow"), None, "or allow more time"),
        (theirs.ConnectionError("Connection reset by peer"), False, "whether it wants TLS"),
        (theirs.ConnectionError("Connection closed by server."), False, "whether it wants TLS"),
        (theirs.ConnectionError("Connection reset by peer"), None, "check that it runs"),
    ],
)
def test_what_is_said_at_first(error: Exception, tls: bool | None, said: str) -> None:
    """TLS on one side only is thought of at the very first, and not later."""
    assert said in str(translate(error, "place:1", tls_at_first=tls))


def test_no_permission_names_what_was_asked_for() -> None:
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


async def refused(url: str, kind: type[TelstateError], said: str) -> None:
    """See that a URL is refused in both manners, with these words."""
    with pytest.raises(kind, match=said):
        RedisBackend.from_url(url)
    with pytest.raises(kind, match=said):
        await AsyncRedisBackend.from_url(url)


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """Listen on a port, and say nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@contextlib.contextmanager
def rude() -> Iterator[int]:
    """Listen on a port, and cut off whoever connects and says something."""
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


async def test_tls_with_who_does_not_speak_it() -> None:
    """Who says nothing on a rediss:// URL may not speak TLS."""
    with silent() as port:
        url = f"rediss://127.0.0.1:{port}?socket_connect_timeout=0.2&socket_timeout=0.2"
        await refused(url, ConnectionError, f"127.0.0.1:{port} did not .* whether it speaks TLS")


async def test_who_may_want_tls() -> None:
    """Who cuts the connection on a redis:// URL may want TLS."""
    with rude() as port:
        await refused(f"redis://127.0.0.1:{port}", ConnectionError, "whether it wants TLS")


async def test_sentinels_are_named() -> None:
    """The error, and what represents the backend, name where the Sentinels are."""
    ports = [free_port(), free_port()]
    places = ",".join(f"127.0.0.1:{port}" for port in ports)
    named = f"'store' of Sentinels at 127.0.0.1:{ports[0]}, 127.0.0.1:{ports[1]} cannot be found"
    await refused(f"redis+sentinel://:hush@{places}/store", ConnectionError, named)


@pytest.mark.slow
@needs_server
async def test_real_sentinels() -> None:
    """Sentinels that do not know a master, and a server that is no Sentinel."""
    with clusters.running_sentinel(list(SERVERS.values())[-1]) as (port, master):
        with RedisBackend.from_url(f"redis+sentinel://127.0.0.1:{port}/store") as backend:
            shown = f"<RedisBackend at master 'store' of Sentinel at 127.0.0.1:{port}>"
            assert repr(backend) == shown
        url = f"redis+sentinel://127.0.0.1:{port}/other"
        await refused(url, ConnectionError, "'other'.*do answer, know this master")
        url = f"redis+sentinel://127.0.0.1:{master.port}/store"
        await refused(url, RefusedError, "no Sentinel answers there")


@pytest.mark.slow
@needs_server
async def test_real_clusters(cluster_ports: list[int], server: RedisServer) -> None:
    """A cluster that does not let us in, a server that is none, and a node taken for a server."""
    place = f"127.0.0.1:{cluster_ports[0]}"
    url = f"redis+cluster://anna:hush@{place}"
    await refused(url, ConnectionError, f"cluster {place} does not let us in")
    await refused(f"redis+cluster://127.0.0.1:{server.port}", ConnectionError, "is no cluster")
    with RedisBackend.from_url(f"redis://{place}") as backend:
        for key in (b"a", b"b", b"c"):
            with contextlib.suppress(RefusedError):
                backend.execute(Get((key,)))
                continue
            break
        else:
            pytest.fail("one node has all keys")
        with pytest.raises(RefusedError, match=r"use redis\+cluster://"):
            backend.execute(Get((key,)))


@needs_server
async def test_users_who_may_not(newest_url: str) -> None:
    """A refusal names the key or the channel, and says what a user needs; in batches too."""
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
