"""telstate for asyncio under the names of katsdptelstate."""

from __future__ import annotations

from telstate._lazy import lazy_exports
from telstate.aio import TelescopeState
from telstate.dropin import VERSION

__version__ = VERSION

__all__ = ["TelescopeState"]

_SUBMODULES = ("backend", "memory", "rdb_writer", "redis", "telescope_state")

__getattr__, __dir__, _ = lazy_exports(__name__, {__name__: _SUBMODULES})
