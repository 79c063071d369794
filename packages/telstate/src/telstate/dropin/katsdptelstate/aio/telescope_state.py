"""The telescope state for asyncio."""

from telstate.aio import TelescopeState

__all__ = ["TelescopeState"]
