"""What the nox sessions tell the tests through environment variables."""

import os
from pathlib import Path

PEER_VARIABLE = "TELSTATE_PEER_PYTHON"
EXAMPLES_VARIABLE = "TELSTATE_EXAMPLES"
REQUIRE_VARIABLE = "TELSTATE_REQUIRE"
#: A folder in which each test process leaves the traceback of all its threads if it crashes.
CRASHES_VARIABLE = "TELSTATE_CRASHES"
_MISSING = "This machine has no "


def missing(what: str) -> str:
    """Return the reason of a skip for want of something that CI installs.

    If ``TELSTATE_REQUIRE`` is set, as it is in CI, the plugin turns skips with this reason into failures.

    Examples
    --------
    >>> missing("Valkey server with TLS")
    'This machine has no Valkey server with TLS.'
    """
    return f"{_MISSING}{what}."


def is_required(reason: str) -> bool:
    """Return whether a skip for this reason is a failure."""
    return bool(os.environ.get(REQUIRE_VARIABLE)) and _MISSING in reason


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
    """Return how many examples a property test tries: a fifth if ``TELSTATE_EXAMPLES`` is ``few``."""
    return full // 5 if os.environ.get(EXAMPLES_VARIABLE) == "few" else full
