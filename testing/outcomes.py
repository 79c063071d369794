"""Running the test suite of another program, and counting how its tests end."""

from __future__ import annotations

import os
from collections import Counter

import pytest


class Outcomes:
    """A pytest plugin that counts how tests end, and the names of those that fail.

    Parameters
    ----------
    skipped_for
        The reason for which tests may be skipped; those that are skipped for others are counted apart.
        Default: any reason.
    """

    def __init__(self, skipped_for: str = "") -> None:
        self.counts: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._skipped_for = skipped_for

    def run(self, folder: str, *arguments: str) -> None:
        """Run the tests that the arguments name, with `folder` as the root and without our settings."""
        # Ours (warnings are errors, for example) are not meant for other programs.
        own = ["-c", os.devnull, "--rootdir", folder, "-p", "no:cacheprovider"]
        pytest.main(["-q", "--disable-warnings", *own, *arguments], plugins=[self])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test once: its call, or a setup or teardown that did not pass."""
        if report.when == "call" or report.outcome != "passed":
            text: str = report.outcome
            if text == "skipped" and self._skipped_for not in str(report.longrepr):
                text = f"skipped for another reason: {report.longrepr}"
            self.counts[text] += 1
            if text == "failed":
                self.failed[report.nodeid.rpartition("::")[2]] += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Count what could not be collected."""
        if report.outcome != "passed":
            self.counts[f"not collected: {report.nodeid}"] += 1
            self.failed[report.nodeid] += 1
