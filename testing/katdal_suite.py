"""Run the tests of katdal with telstate as its katsdptelstate, and check for the known outcome.

Usage: ``python katdal_suite.py PASSED SKIPPED``. It fails unless exactly these numbers of tests pass and are
skipped (all because there is no MinIO server), none fails, and the katsdptelstate that katdal imported is
ours. It cannot succeed by running nothing.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from importlib import import_module
from importlib.machinery import PathFinder

from outcomes import Outcomes

import telstate

SKIPPED_FOR = "Could not run minio"


def find_problems(counts: Counter[str], passed: int, skipped: int) -> list[str]:
    """Return how the outcome differs from the expected one, in sentences."""
    found = []
    if counts != Counter(passed=passed, skipped=skipped):
        found.append(f"Expected {passed} passed and {skipped} skipped, but got {dict(counts)}.")
    used = import_module("katdal.datasources").katsdptelstate
    if used.TelescopeState is not telstate.TelescopeState:
        found.append(f"katdal imported {used.__file__}, which is not telstate's.")
    if PathFinder.find_spec("katsdptelstate") is not None:
        found.append("katsdptelstate itself is installed in this environment. Uninstall it.")
    return found


def main(passed: int, skipped: int) -> int:
    """Run the tests and return 0 if the outcome is as expected, else 1."""
    telstate.install_as_katsdptelstate()
    outcomes = Outcomes(SKIPPED_FOR)
    outcomes.run(os.getcwd(), "--pyargs", "katdal")
    found = find_problems(outcomes.counts, passed, skipped)
    for problem in found:
        print(f"katdal: {problem}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
