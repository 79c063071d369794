"""The demonstration, as a new user runs it."""

from __future__ import annotations

from pathlib import Path

import numpy
from state_command import run, run_on_terminal

from telstate import TelescopeState
from telstate_testing.observations import write_old_observation


def test_without_files(tmp_path: Path) -> None:
    """An observation is played, saved, loaded and shown; it can be kept for other commands."""
    shown = run("demo")
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert "What was loaded again is the same." in shown.stdout
    assert "$ telstate ls demo.rdb --tree --limit 50\ndemo.rdb\n├── 1600000000\n" in shown.stdout
    assert "$ telstate range demo.rdb m000_pos_actual_scan_azim --last 8" in shown.stdout
    assert "2020-09-13T12:41:36Z\t210.41\n" in shown.stdout
    kept = tmp_path / "demo.rdb"
    assert run("demo", "-o", kept).exit_code == 0
    ts = TelescopeState.from_snapshot(kept)
    assert [value for value, _ in ts.get_range("m000_activity", 0)][:6] == ["slew", "track"] * 2 + [
        "slew",
        "scan",
    ]
    times, azimuth = ts.get_range_arrays("m000_pos_actual_scan_azim", 0)
    turns = numpy.count_nonzero(numpy.diff(numpy.sign(numpy.diff(azimuth[56:75]))))
    assert turns == 3  # in the four rows of a raster
    refused = run("demo", "-o", kept)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "exists. Use --force" in refused.stderr


def test_it_goes_on_after_each_file(real_snapshot: Path, tmp_path: Path) -> None:
    """A broken file is one line of error, and pickles are explained; the files after them are shown."""
    broken, old, real = tmp_path / "broken.rdb", tmp_path / "old.rdb", tmp_path / "mine.rdb"
    broken.write_bytes(b"REDIS0006 and then rubbish")
    write_old_observation(old)
    real.write_bytes(real_snapshot.read_bytes())
    shown = run("demo", broken, tmp_path / "none.rdb", "https:///a.rdb", "localhost:x", old, real)
    assert shown.exit_code == 2
    errors = shown.stderr.splitlines()
    assert errors[0].startswith(f"{broken}, byte ")
    assert errors[1] == f"{tmp_path}/none.rdb: No such file or directory."
    assert errors[2].startswith("This address names no host.")
    assert errors[3].startswith("'localhost:x' is not an endpoint")
    assert errors[4:] == [
        "Pickles are not read. --allow-pickle safe reads those that are plain data."
    ]
    for file in (old, real):
        assert f"$ telstate ls {file} --tree --limit 50\n{file}\n├── " in shown.stdout
    assert " hold pickles. They can run code, so they are not read by default;" in shown.stdout
    assert f"telstate pickles {old}" in shown.stdout


def test_on_a_terminal(tmp_path: Path) -> None:
    """No line is wider than the terminal."""
    old = tmp_path / "old.rdb"
    write_old_observation(old)
    status, shown = run_on_terminal("demo", old, environment={"NO_COLOR": "1"})
    assert status == 0
    # The path is that of a temporary folder, and longer.
    assert max(len(line) for line in shown.splitlines() if str(old) not in line) <= 80
