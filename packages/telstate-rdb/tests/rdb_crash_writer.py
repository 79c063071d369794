"""A process that writes a file over and over, to be killed by a test at a random moment.

Run as ``python rdb_crash_writer.py TARGET WAY``: each file is whole if all of its keys say the same
number. WAY is ``nameless`` or ``named``, see `telstate_rdb.atomic_file`.
"""

from __future__ import annotations

import itertools
import sys

from telstate_rdb import RdbWriter, atomic_file


def main() -> None:
    """Write until killed, telling on standard output when a file is begun."""
    target, way = sys.argv[1:]
    if way == "named":
        atomic_file._O_TMPFILE = None
    for number in itertools.count(1):
        with RdbWriter(target) as writer:
            print(number, flush=True)
            for key in range(64):
                writer.write(b"key %d" % key, b"%d" % number * 20_000)


if __name__ == "__main__":
    main()
