"""The telescope state."""

from telstate import TelescopeState

__all__ = ["TelescopeState"]
