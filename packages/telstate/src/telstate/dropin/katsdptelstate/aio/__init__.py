"""telstate for asyncio, by the names of katsdptelstate."""

from __future__ import annotations

from importlib import import_module

from telstate.aio import TelescopeState
from telstate.dropin import VERSION

__version__ = VERSION

__all__ = ["TelescopeState"]

_SUBMODULES = frozenset(("backend", "memory", "rdb_writer", "redis", "telescope_state"))


def __getattr__(name: str) -> object:
    if name in _SUBMODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBMODULES})
