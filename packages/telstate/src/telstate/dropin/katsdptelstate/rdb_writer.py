"""Saving stores to an RDB file, in the old manner; see `rdb_writer_base`."""

import telstate

from .rdb_writer_base import RDBWriterBase

__all__ = ["RDBWriter", "RDBWriterBase"]


class RDBWriter(RDBWriterBase, telstate.RDBWriter):
    """Write keys of one or more stores to an RDB file; without a ``with`` statement, `close` it."""
