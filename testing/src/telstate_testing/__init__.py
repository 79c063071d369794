"""What the tests of all packages share; knows nothing of telstate itself.

`servers` finds the Redis servers of this machine and runs them; `peer` finds the environment that
holds katsdptelstate; `amount` says how many examples property tests try; `plugin` tells pytest about both and executes the examples of READMEs.
"""

from telstate_testing.amount import examples
from telstate_testing.peer import peer_python
from telstate_testing.servers import RedisBinary, RedisServer, redis_binaries

__all__ = ["RedisBinary", "RedisServer", "examples", "peer_python", "redis_binaries"]
