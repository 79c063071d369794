"""The child of a fork has connections and threads of its own, whatever its parent's threads were doing."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import needs_server

pytestmark = [
    pytest.mark.slow,
    needs_server,
]

LONG = 60.0

USE_SEVERAL_NODES = """
import os, signal, sys, time
from telstate_backends import Exists, Keys, RedisBackend

backend = RedisBackend.from_url(sys.argv[1])
view = tuple(b"k%d" % number for number in range(30))
for _ in range(3):
    backend.execute(Exists(view))
time.sleep(0.3)  # until the backend's threads are idle
child = os.fork()
if child == 0:
    signal.alarm(30)  # in case it hangs
    assert backend.execute(Exists(view)) is False
    assert backend.execute(Keys()) == []
    backend.close()
    os._exit(0)
_, status = os.waitpid(child, 0)
assert backend.execute(Exists(view)) is False
backend.close()
print(status, flush=True)
"""

CLOSE = """
import os, sys, threading, time
import attrs, redis
from telstate_backends import Exists, Operation, RedisBackend
from telstate_backends.operations.base import Command

@attrs.frozen
class Block(Operation):
    def apply(self, store): ...
    def command(self): return Command("BLPOP", (b"signal",), (0,))
    def parse(self, reply): return reply

def until(count):
    # The server notices a closed connection a little later.
    deadline = time.monotonic() + 30
    while len(admin.client_list()) != count and time.monotonic() < deadline:
        time.sleep(0.01)
    return len(admin.client_list())

backend = RedisBackend.from_url(sys.argv[1] + "?socket_timeout=60")
admin = redis.Redis.from_url(sys.argv[1])
backend.execute(Exists((b"k",)))
count = len(admin.client_list())
thread = threading.Thread(target=backend.execute, args=(Block(),))
thread.start()
while admin.info("clients")["blocked_clients"] == 0:
    time.sleep(0.01)
child = os.fork()
if child == 0:
    admin = redis.Redis.from_url(sys.argv[1])
    admin.ping()
    backend.execute(Exists((b"k",)))
    counts = [until(count + 2)]
    backend.close()
    counts.append(until(count + 1))
    print(counts == [count + 2, count + 1], flush=True)
    os._exit(0)
os.waitpid(child, 0)
admin.rpush("signal", "x")
thread.join()
print(backend.execute(Exists((b"k",))), flush=True)
backend.close()
"""

FAIL_TO_CONNECT = """
import os, sys
import redis
from telstate_backends import ConnectionError, Exists, RedisBackend, RetryPolicy

admin = redis.Redis.from_url(sys.argv[1])
client = redis.Redis.from_url(sys.argv[1])
backend = RedisBackend(client, retry=RetryPolicy(0.0))
backend.execute(Exists((b"k",)))
count = len(admin.client_list())
child = os.fork()
if child == 0:
    def refuse():
        raise redis.ConnectionError("refused")
    pool = client.connection_pool
    connect, pool.make_connection = pool.make_connection, refuse
    try:
        backend.execute(Exists((b"k",)))
    except ConnectionError:
        pool.make_connection = connect
    backend.execute(Exists((b"k",)))
    # Those of the backend and of `admin` are new.
    print(len(admin.client_list()) - count, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(backend.execute(Exists((b"k",))), flush=True)
backend.close()
"""


HAMMER = """
import os, signal, sys, threading
from telstate_backends import (
    CachedBackend, CheckDue, Delete, Get, Immutable, KeyWait, RedisBackend, SetImmutable, TimeoutError, wait,
)

backend = RedisBackend.from_url(sys.argv[1])
cached = CachedBackend(RedisBackend.from_url(sys.argv[1]))
key = b"k"
backend.execute(SetImmutable(key, b"1"))
ended = threading.Event()

def hammer():
    while not ended.is_set():
        for each in (backend, cached):
            each.execute_many([Get((key,)), Get((b"l",))])
            each.execute(Get((key,)))
        try:
            wait(backend, KeyWait((b"missing",)), timeout=0.001)
        except TimeoutError:
            pass

def work(number):
    mine = b"from a child %d" % number
    for each in (backend, cached):
        assert each.execute(Get((key,))) == Immutable(b"1")
        each.execute(SetImmutable(mine, b"2"))
        wait(each, KeyWait((mine,)), timeout=20)
        assert each.execute_many([Get((mine,)), Delete((mine,))]) == [Immutable(b"2"), 1]
    with backend.watch([mine]) as watcher:
        assert watcher.next(20) is CheckDue.SUBSCRIBED
    backend.close()
    cached.close()

threads = [threading.Thread(target=hammer) for _ in range(4)]
for thread in threads:
    thread.start()
statuses = set()
for number in range(30):
    child = os.fork()
    if child == 0:
        signal.alarm(50)  # in case it hangs
        work(number)
        os._exit(0)
    statuses.add(os.waitpid(child, 0)[1])
ended.set()
for thread in threads:
    thread.join()
backend.close()
cached.close()
print(statuses, flush=True)
"""

HOLD_LOCKS = """
import os, signal, sys, threading
import redis, redis.cluster
from telstate_backends import CheckDue, Exists, Keys, RedisBackend

kind = redis.cluster.RedisCluster if sys.argv[1].startswith("redis+cluster") else redis.Redis
client = kind.from_url(sys.argv[1].replace("+cluster", ""))
backend = RedisBackend(client)
backend.execute(Exists((b"k", b"l")))
if kind is redis.Redis:
    owners = [client.connection_pool]
else:
    nodes = client.get_nodes()
    owners = [client.nodes_manager, *(node.redis_connection.connection_pool for node in nodes)]
taken, ended = threading.Event(), threading.Event()

def hold():
    # What another thread might be doing at the fork.
    for owner in owners:
        owner._lock.acquire()
    taken.set()
    ended.wait()
    for owner in owners:
        owner._lock.release()

holding = threading.Thread(target=hold)
holding.start()
taken.wait()
child = os.fork()
if child == 0:
    signal.alarm(50)
    assert backend.execute(Exists((b"k", b"l"))) is False
    assert backend.execute(Keys()) == []
    with backend.watch([b"k"]) as watcher:
        assert watcher.next(20) is CheckDue.SUBSCRIBED
    backend.close()
    os._exit(0)
print(os.waitpid(child, 0)[1], flush=True)
ended.set()
holding.join()
"""

GO_ON_WATCHING = """
import os, signal, sys
from telstate_backends import CheckDue, Delete, RedisBackend, SetImmutable

backend = RedisBackend.from_url(sys.argv[1])
with backend.watch([b"k"]) as watcher:
    assert watcher.next(20) is CheckDue.SUBSCRIBED
    child = os.fork()
    if child == 0:
        signal.alarm(50)
        assert watcher.next(20) is CheckDue.RECONNECTED
        backend.execute(SetImmutable(b"k", b"1"))
        assert watcher.next(20).value == b"1"
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
    print(watcher.next(20).value, flush=True)
backend.close()
"""


def run(code: str, url: str) -> str:
    """Run Python code in a process of its own, and return its output."""
    done = subprocess.run(
        # Python 3.12 and later warn of any fork of a process with threads.
        [sys.executable, "-W", "ignore", "-c", code, url],
        capture_output=True,
        text=True,
        timeout=2 * LONG,
    )
    assert done.stderr == ""
    return done.stdout


def test_a_child_uses_several_nodes_of_a_cluster(cluster_ports: list[int]) -> None:
    """It has threads of its own for that, though those of its parent were idle at the fork."""
    assert run(USE_SEVERAL_NODES, f"redis+cluster://127.0.0.1:{cluster_ports[0]}") == "0\n"


def test_a_child_closes_its_own_connections(newest_url: str) -> None:
    """Also if a thread of its parent was waiting for a reply, which is not disturbed."""
    assert run(CLOSE, newest_url) == "True\nFalse\n"


def test_a_child_that_fails_to_connect_at_first(newest_url: str) -> None:
    """It never uses the connection of its parent, not even after it has failed to make one."""
    assert run(FAIL_TO_CONNECT, newest_url) == "2\nFalse\n"


def test_forks_while_threads_use_a_backend(newest_url: str) -> None:
    """Each child reads, writes, waits and watches, whatever the threads of its parent were doing."""
    assert run(HAMMER, newest_url) == "{0}\n"


def test_a_fork_while_threads_hold_the_locks_of_redis_py(newest_url: str) -> None:
    """The child does not wait for a lock that is never released there."""
    assert run(HOLD_LOCKS, newest_url) == "0\n"


def test_a_fork_while_threads_hold_the_locks_of_a_cluster_client(cluster_ports: list[int]) -> None:
    """The same for a cluster, whose nodes have pools of their own."""
    assert run(HOLD_LOCKS, f"redis+cluster://127.0.0.1:{cluster_ports[0]}") == "0\n"


def test_a_watch_goes_on_in_a_child(newest_url: str) -> None:
    """On a connection of its own, so that its parent misses nothing."""
    assert run(GO_ON_WATCHING, newest_url) == "0\nb'1'\n"
