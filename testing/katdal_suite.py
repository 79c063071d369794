"""Run the tests of katdal with telstate as its katsdptelstate, and insist on the known outcome.

Usage: ``python katdal_suite.py PASSED SKIPPED``. It fails unless exactly so many tests pass and are
skipped (all for want of MinIO, a server of theirs), nothing else happens, and the katsdptelstate that
katdal has used is ours; so it cannot succeed by running nothing.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from importlib import import_module
from importlib.machinery import PathFinder

import pytest

import telstate

SKIPPED_FOR = "Could not run minio"


class Outcomes:
    """A pytest plugin that counts how tests end."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test once: when it was called, or when it was not for what came before or after."""
        if report.when == "call" or report.outcome != "passed":
            text: str = report.outcome
            if text == "skipped" and SKIPPED_FOR not in str(report.longrepr):
                text = f"skipped for another reason: {report.longrepr}"
            self.counts[text] += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Count what could not even be collected."""
        if report.outcome != "passed":
            self.counts[f"not collected: {report.nodeid}"] += 1


def complaints(counts: Counter[str], passed: int, skipped: int) -> list[str]:
    """List what is not as it should be."""
    found = []
    if counts != Counter(passed=passed, skipped=skipped):
        found.append(f"expected {passed} passed and {skipped} skipped, but got {dict(counts)}")
    used = import_module("katdal.datasources").katsdptelstate
    if used.TelescopeState is not telstate.TelescopeState:
        found.append(f"katdal has used {used.__file__}, which is not ours")
    if PathFinder.find_spec("katsdptelstate") is not None:
        found.append("katsdptelstate itself is installed here; this should do without")
    return found


def main(passed: int, skipped: int) -> int:
    """Run the tests; 0 if all is as it should be."""
    telstate.install_as_katsdptelstate()
    outcomes = Outcomes()
    # Our own settings (warnings are errors, for one) are none of katdal's.
    own = ["-c", os.devnull, "--rootdir", os.getcwd(), "-p", "no:cacheprovider"]
    pytest.main(["-q", "--disable-warnings", *own, "--pyargs", "katdal"], plugins=[outcomes])
    found = complaints(outcomes.counts, passed, skipped)
    for complaint in found:
        print(f"katdal: {complaint}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
