"""Saving stores to an RDB file with the old API; see `rdb_writer_base`."""

import telstate
from telstate import TelescopeState
from telstate_backends import Backend

from .rdb_writer_base import RDBWriterBase

__all__ = ["Backend", "RDBWriter", "RDBWriterBase", "TelescopeState"]


class RDBWriter(RDBWriterBase, telstate.RDBWriter):
    """Write keys of one or more stores to an RDB file; without a ``with`` statement, `close` it."""
