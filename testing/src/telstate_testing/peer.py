"""Where the peer is: a Python whose environment holds katsdptelstate and rdbtools.

Ours and theirs never share an environment. The nox sessions that need the peer make the
environment and say where it is in ``TELSTATE_PEER_PYTHON``.
"""

import os
from pathlib import Path

VARIABLE = "TELSTATE_PEER_PYTHON"


def peer_python() -> Path | None:
    """Give the peer's interpreter, or None where no environment was made for it.

    Raises
    ------
    FileNotFoundError
        If the variable names a file that is not there: a test that silently skips would hide it.
    """
    value = os.environ.get(VARIABLE)
    if not value:
        return None
    path = Path(value)
    if not path.is_file():
        raise FileNotFoundError(f"{VARIABLE} names {value}, which does not exist.")
    return path
