"""The pytest plugin: reports what the tests run against, and runs the examples of documentation."""

import faulthandler
import gc
import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from telstate_testing.environment import CRASHES_VARIABLE, is_required, peer_python
from telstate_testing.pages import Page
from telstate_testing.servers import redis_binaries


# Last, because pytest's own plugin directs the traceback to stderr.
@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the markers that all packages use, see that SIGINT arrives, and keep tracebacks of crashes."""
    folder = os.environ.get(CRASHES_VARIABLE)
    if folder:
        # A descriptor, which stays open for the life of the process: a file object would be closed with a warning.
        faulthandler.enable(os.open(Path(folder, f"{os.getpid()}.txt"), os.O_WRONLY | os.O_CREAT))
    # A process that a script started in the background ignores it, and so would those that tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "slow: takes seconds; runs on one Python version only")


def pytest_report_header() -> list[str]:
    """Return which servers and which peer the tests use."""
    servers = ", ".join(f"{binary} ({binary.path})" for binary in redis_binaries())
    return [
        f"servers: {servers or 'none found: tests that need one are skipped'}",
        f"peer: {peer_python() or 'none: tests against katsdptelstate are skipped'}",
    ]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip for want of something that is required into a failure."""
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple) and is_required(report.longrepr[2]):
        report.outcome = "failed"
        report.longrepr = f"{report.longrepr[2]} It is required here."
    return report


def pytest_collection_finish() -> None:
    """Exempt what exists before the first test from garbage collection, which makes it much faster."""
    gc.collect()
    gc.freeze()


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect the examples of a page of the documentation, or the Python examples of a README."""
    if file_path.suffix == ".md" and any((p / "conf.py").is_file() for p in file_path.parents):
        return None if "_build" in file_path.parts else Page(file_path).collect(parent)
    if file_path.name != "README.md" and not file_path.match("docs/*.md"):
        return None
    sybil = Sybil(
        parsers=[PythonCodeBlockParser()], path=str(file_path.parent), patterns=[file_path.name]
    )
    collected: pytest.Collector | None = sybil.pytest()(file_path, parent)
    return collected
