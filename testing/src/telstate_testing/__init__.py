"""Helpers that the tests of all packages share; they know nothing of telstate itself.

`servers` finds and runs the Redis and Valkey servers of this machine, `clusters` runs a Redis Cluster or a Sentinel,
`commands` runs a command, `terminals` runs a program on a pseudo-terminal, `console` checks examples of commands, `pages` runs the examples of documentation, `observations` makes up what a telescope state holds, `interruptions` raises in the middle
of a call, `environment` reads what the nox sessions say about the run, and `plugin` is the pytest plugin.
"""

from telstate_testing.environment import example_count, missing, peer_python
from telstate_testing.servers import RedisBinary, RedisServer, newest_binaries, redis_binaries

__all__ = [
    "RedisBinary",
    "RedisServer",
    "example_count",
    "missing",
    "newest_binaries",
    "peer_python",
    "redis_binaries",
]
