"""The pytest plugin turns skips for want of what is required into failures, and keeps tracebacks of crashes."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

TESTS = """
import pytest
from telstate_testing import missing

@pytest.fixture
def server():
    pytest.skip(missing("server"))

def test_with_a_fixture(server):
    pass

@pytest.mark.skipif(True, reason=missing("server with TLS"))
def test_with_a_mark():
    pass

def test_that_skips():
    pytest.skip(missing("server"))

def test_that_is_skipped_for_another_reason():
    pytest.skip("It is not meant for this version.")

def test_that_passes():
    pass
"""


@pytest.mark.parametrize("required", ["", "servers"])
def test_skips(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, required: str) -> None:
    """Without the variable, tests are skipped with the reason; with it, they fail with the reason."""
    monkeypatch.setenv("TELSTATE_REQUIRE", required)
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess("-rs", "-p", "no:xdist")
    if required:
        result.assert_outcomes(passed=1, skipped=1, failed=1, errors=2)
        result.stdout.fnmatch_lines(["*This machine has no server with TLS. It is required here.*"])
    else:
        result.assert_outcomes(passed=1, skipped=4)
        result.stdout.fnmatch_lines(["*This machine has no server with TLS.*"])


CRASH = """
import ctypes
import threading
import time

def wait():
    time.sleep(60)

def test_that_crashes():
    threading.Thread(target=wait, daemon=True).start()
    ctypes.string_at(0)

def test_that_passes():
    pass
"""


def test_a_crash(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A worker that crashes leaves a traceback of all its threads in a file; the others leave nothing."""
    monkeypatch.setenv("TELSTATE_CRASHES", str(tmp_path))
    pytester.makepyfile(CRASH)
    result = pytester.runpytest_subprocess("-n", "1", "-p", "no:randomly")
    result.assert_outcomes(passed=1, failed=1)
    (text,) = filter(None, (file.read_text() for file in tmp_path.iterdir()))
    assert "Segmentation fault" in text
    assert "in test_that_crashes" in text and "in wait" in text
