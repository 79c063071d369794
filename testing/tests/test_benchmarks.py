"""An interrupted benchmark leaves nothing behind, and the documentation has the recorded results."""

from __future__ import annotations

import json
import os
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from telstate_testing import missing, peer_python, redis_binaries

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def command_lines() -> list[bytes]:
    """Return the command lines of all processes of this machine."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes())
        except OSError:  # It has just ended.
            pass
    return lines


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_process_and_no_file(
    number: signal.Signals, tmp_path: Path
) -> None:
    """Servers, both sides, their proxies and their temporary files are gone when the benchmark has ended."""
    peer = peer_python()
    if peer is None:
        pytest.skip(missing("katsdptelstate"))
    if not redis_binaries():
        pytest.skip(missing("server"))
    command = [sys.executable, "-u", str(BENCHMARKS / "run.py"), str(peer), "--rows", "network*"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stdout is not None
        lines = [run.stdout.readline() for _ in range(3)]  # The third is that of the first row.
        assert "connect and get" in lines[2]
        assert any(os.fsencode(tmp_path) in line for line in command_lines())
        run.send_signal(number)
        run.stdout.read()
    assert run.returncode == 128 + number
    assert [] == [line for line in command_lines() if os.fsencode(tmp_path) in line]
    assert [] == list(tmp_path.iterdir())


def test_documents_are_those_of_the_recorded_results() -> None:
    """`python benchmarks/report.py benchmarks/recorded` would change nothing."""
    folder = BENCHMARKS / "recorded"
    documents = runpy.run_path(str(BENCHMARKS / "report.py"))["documents"](folder)
    for name, content in documents.items():
        assert content == (folder / name).read_text(), name


def test_the_readme_quotes_the_recorded_results() -> None:
    """The time to open a large archive, and how much faster that is."""
    results = json.loads((BENCHMARKS / "recorded" / "speed.json").read_text())["results"]
    title = "files: import, open and read one key, by megabytes: 1,500"
    (row,) = [each for each in results if each["row"] == title]
    text = (BENCHMARKS.parent / "README.md").read_text()
    quoted = re.findall(r"1\.5 GB open in ([\d.]+) s, (\d+) times as fast", text)
    assert quoted == [(f"{row['ours']:.1f}", f"{row['ratio']:.0f}")]
