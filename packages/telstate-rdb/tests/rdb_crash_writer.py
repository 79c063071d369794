"""A process that writes a file repeatedly, to be killed by a test at a random moment.

Usage: ``python rdb_crash_writer.py TARGET WAY``. A file is complete if all of its keys have the same number.
WAY is ``nameless`` or ``named``, the kind of part file, see `telstate_rdb.atomic_file`.
"""

from __future__ import annotations

import itertools
import sys

from telstate_rdb import RdbWriter, atomic_file


def main() -> None:
    """Write until killed, and print a number when a file is started."""
    target, way = sys.argv[1:]
    if way == "named":  # private, as no system without O_TMPFILE can be made here
        atomic_file._O_TMPFILE = None
    for number in itertools.count(1):
        with RdbWriter(target) as writer:
            print(number, flush=True)
            for key in range(64):
                writer.write(b"key %d" % key, b"%d" % number * 20_000)


if __name__ == "__main__":
    main()
