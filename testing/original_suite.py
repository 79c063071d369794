"""Run the tests of the original katsdptelstate on the distribution of that name that imports telstate.

Usage: ``python original_suite.py FOLDER``, where FOLDER has a folder ``katsdptelstate`` with the tests of the
original's wheel and nothing else. It fails unless as many tests pass as did with the original, except for
those that test what docs/how-to/moving-from-katsdptelstate.md names as different, which must fail.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from outcomes import Outcomes

import telstate

#: How many tests pass and are skipped, and the ones that fail, by their names, each with the reason.
PASSED = 376
SKIPPED = 1
DIFFERENT = {
    "test_immutable_same_value_str": "it calls a method of the backend, which executes operations",
    "test_undecodable_bytes_in_key": "it calls a method of the backend, which executes operations",
    "test_wait_key_concurrent": "it reads private attributes of the asyncio backend",
    "test_wait_key_concurrent_same": "it reads private attributes of the asyncio backend",
    "test_callback_errors_are_preserved": "it expects redis-py's ConnectionError, not telstate's",
    "test_write_some": "it expects the name of the original's logger",
}


def find_problems(outcomes: Outcomes) -> list[str]:
    """Return how the outcome differs from the expected one, in sentences."""
    found = []
    counts = outcomes.counts
    if (counts["passed"], counts["skipped"]) != (PASSED, SKIPPED):
        found.append(f"Expected {PASSED} passed and {SKIPPED} skipped, but got {dict(counts)}.")
    unexpected = sorted(set(outcomes.failed) - set(DIFFERENT))
    if unexpected:
        found.append(f"These failed: {', '.join(unexpected)}.")
    missing = sorted(set(DIFFERENT) - set(outcomes.failed))
    if missing:
        found.append(f"These pass now; take them out of the list: {', '.join(missing)}.")
    return found


def main(folder: Path) -> int:
    """Run the tests and return 0 if the outcome is as expected, else 1."""
    # By name, as the original is not typed, and imports of it are looked up in its stubs.
    katsdptelstate = import_module("katsdptelstate")
    asynchronous = import_module("katsdptelstate.aio")
    assert katsdptelstate.TelescopeState is telstate.TelescopeState
    assert katsdptelstate.__version__ == version("katsdptelstate")
    tests = folder / "katsdptelstate"
    katsdptelstate.__path__.append(str(tests))
    asynchronous.__path__.append(str(tests / "aio"))
    # Without these files, pytest imports the tests under other names.
    for package in (tests, tests / "aio"):
        (package / "__init__.py").touch()
    outcomes = Outcomes()
    outcomes.run(str(folder), "-rN", "--tb=no", "-o", "asyncio_mode=auto", str(tests))
    found = find_problems(outcomes)
    for problem in found:
        print(f"katsdptelstate: {problem}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
