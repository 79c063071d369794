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
