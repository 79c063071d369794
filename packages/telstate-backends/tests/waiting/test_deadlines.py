"""Timeouts hold on every connection, even if the server is silent.

The servers here do not reply, and the socket timeouts are endless, so that whatever ends does so because of
the timeout of the wait.
"""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
import redis
from conftest import needs_server
from proxy import Proxy
from redis.crc import key_slot
from subjects import LONG

from telstate_backends import (
    ConnectionError,
    Deadline,
    Exists,
    Find,
    Follower,
    Keys,
    KeyWait,
    RedisBackend,
    SetImmutable,
    TimeoutError,
    wait,
)
from telstate_backends.redis import _connection
from telstate_testing import RedisBinary
from telstate_testing.clusters import running_cluster

pytestmark = needs_server

#: Seconds, far longer than any test may take.
NEVER = 3600


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time that a reply is always waited for."""
    monkeypatch.setattr(_connection, "GRACE", 0.2)


def silent_url(proxy: Proxy) -> str:
    """Return the URL of a proxy, with an endless socket timeout."""
    return f"redis://127.0.0.1:{proxy.port}?socket_timeout={NEVER}"


def test_a_second_thread_that_waits(newest_url: str) -> None:
    """The timeout holds for a second thread, which uses a connection of the pool."""
    cancel: Future[None] = Future()
    with (
        ThreadPoolExecutor(2) as threads,
        Proxy(int(newest_url.rpartition(":")[2])) as proxy,
        RedisBackend.from_url(silent_url(proxy)) as backend,
    ):
        with redis.Redis.from_url(newest_url) as admin:
            # So that both use the backend at the same time, and the second has a connection too.
            admin.client_pause(200)
            for each in [threads.submit(backend.execute, Exists((b"k",))) for _ in range(2)]:
                each.result(LONG)
        proxy.swallow = True
        first = threads.submit(wait, backend, KeyWait((b"k",)), None, cancel)
        time.sleep(0.1)
        second = threads.submit(wait, backend, KeyWait((b"k",)), 0.1)
        with pytest.raises(TimeoutError, match="'k'"):
            second.result(LONG)
        assert not first.done()
        cancel.set_result(None)
        assert first.exception(LONG) is not None
        proxy.swallow = False
        assert backend.execute_many([Exists((b"k",)), Exists((b"l",))]) == [False, False]


def test_a_follower_that_queries_the_store(newest_url: str) -> None:
    """The timeout of a follower holds for its queries, which are batches."""
    with (
        ThreadPoolExecutor(1) as threads,
        RedisBackend.from_url(newest_url) as writer,
        Proxy(int(newest_url.rpartition(":")[2])) as proxy,
        RedisBackend.from_url(silent_url(proxy)) as backend,
    ):
        writer.execute(SetImmutable(b"v_k", b"1"))
        with Follower(backend, [(b"v_k", b"k")]) as follower:
            # The follower must query the store, because this key may be shadowed.
            writer.execute(SetImmutable(b"k", b"2"))
            time.sleep(0.2)  # for the update to arrive
            proxy.swallow = True
            assert threads.submit(follower.next, 0.1).result(LONG) is None
            proxy.swallow = False


@pytest.mark.slow
def test_candidates_on_several_nodes_of_a_cluster(newest: RedisBinary) -> None:
    """The timeout holds for each node, in whatever thread, and for several keys of one node."""
    on_node: list[list[bytes]] = [[], [], []]
    for number in range(200):
        on_node[key_slot(b"k%d" % number) * 3 // 16384].append(b"k%d" % number)
    view = tuple(key for keys in on_node for key in keys[:2])
    with ThreadPoolExecutor(1) as threads, running_cluster(newest) as servers:
        url = f"redis+cluster://127.0.0.1:{servers[0].port}?socket_timeout={NEVER}"
        with RedisBackend.from_url(url) as backend:
            for key in view:
                backend.execute(Find((key,)))
            os.kill(servers[1].process_id, signal.SIGSTOP)
            try:
                with pytest.raises(TimeoutError, match="'k"):
                    threads.submit(wait, backend, KeyWait(view), 0.1).result(LONG)
            finally:
                os.kill(servers[1].process_id, signal.SIGCONT)
            assert backend.execute(Find(view)) is None


@pytest.mark.slow
def test_an_operation_on_all_nodes_of_a_cluster(newest: RedisBinary) -> None:
    """The deadline also holds while the nodes of the cluster are listed."""
    with ThreadPoolExecutor(1) as threads, running_cluster(newest) as servers:
        url = f"redis+cluster://127.0.0.1:{servers[0].port}?socket_timeout={NEVER}"
        with RedisBackend.from_url(url) as backend:
            assert backend.execute(Keys()) == []
            for server in servers:
                os.kill(server.process_id, signal.SIGSTOP)
            try:
                call = threads.submit(backend.execute, Keys(), deadline=Deadline.after(0.1))
                with pytest.raises(ConnectionError, match="did not answer in time"):
                    call.result(LONG)
            finally:
                for server in servers:
                    os.kill(server.process_id, signal.SIGCONT)
            assert backend.execute(Keys()) == []
