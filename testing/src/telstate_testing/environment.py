"""What the nox sessions tell the tests through environment variables."""

import os
from pathlib import Path

PEER_VARIABLE = "TELSTATE_PEER_PYTHON"
EXAMPLES_VARIABLE = "TELSTATE_EXAMPLES"


def peer_python() -> Path | None:
    """Return the interpreter of the environment that holds katsdptelstate and rdbtools.

    Our packages and those never share an environment. The sessions that need the peer create its
    environment; elsewhere the result is None.

    Raises
    ------
    FileNotFoundError
        If ``TELSTATE_PEER_PYTHON`` names a file that does not exist. Skipping the tests would hide that.
    """
    value = os.environ.get(PEER_VARIABLE)
    if not value:
        return None
    path = Path(value)
    if not path.is_file():
        raise FileNotFoundError(f"{PEER_VARIABLE} names {value}, which does not exist.")
    return path


def example_count(full: int) -> int:
    """Return how many examples a property test tries: a third if ``TELSTATE_EXAMPLES`` is ``few``."""
    return full // 3 if os.environ.get(EXAMPLES_VARIABLE) == "few" else full
