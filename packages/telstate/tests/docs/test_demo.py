"""The example program, run as a user runs it."""

import subprocess
import sys
from pathlib import Path

DEMO = str(Path(__file__).parents[2] / "examples" / "observation.py")


def test_demo() -> None:
    """The program simulates, saves and loads an observation, and prints it and the real one."""
    output = subprocess.run([sys.executable, DEMO], capture_output=True, text=True, timeout=300)
    assert output.returncode == 0, output.stderr
    shown = output.stdout
    assert "1testdata_sdp_l0.rdb: 199 keys, " in shown
    assert "observation.rdb: " in shown
    assert "B0  6 samples, " in shown
    assert "peak_flux  72 sub-keys" in shown
    assert "What was saved and loaded again is the same." in shown


def test_demo_on_a_file_of_your_own(real_snapshot: Path, tmp_path: Path) -> None:
    """The program takes a file as its argument, and reports a broken one."""
    copy = tmp_path / "mine.rdb"
    copy.write_bytes(real_snapshot.read_bytes())
    run = [sys.executable, DEMO, str(copy)]
    output = subprocess.run(run, capture_output=True, text=True, timeout=300)
    assert output.returncode == 0, output.stderr
    assert "mine.rdb: 199 keys, " in output.stdout
    copy.write_bytes(b"REDIS0006 and then rubbish")
    output = subprocess.run(run, capture_output=True, text=True, timeout=300)
    assert output.returncode != 0
    assert "mine.rdb" in output.stderr
