"""The command ``telstate plot``."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from state_command import run, run_on_terminal

from telstate import ENCODING_PICKLE, TelescopeState, set_allow_pickle
from telstate_backends import AddSample
from telstate_codec import encode_sample

# These are in the `test` dependency group, but an environment made by hand may not have them.
pytest.importorskip("matplotlib")
pytest.importorskip("plotext")

T = 1_700_000_000.0  # 2023-11-14 22:13:20


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """A snapshot with sensors of numbers and text."""
    ts = TelescopeState()
    for number in range(2):
        ts.add_many(f"m{number:03d}_azim", [1.0, 2.0, 4.0], [T, T + 60, T + 3600])
    ts.add_many("beam_activity", ["slew", "track"], [T, T + 1800])
    ts["n_chans"] = 4096
    path = tmp_path / "obs.rdb"
    ts.save(path)
    return path


def test_in_a_pipe(snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pipe a plot has no colours, and the width of COLUMNS or 80."""
    shown = run("plot", snapshot, "beam_activity")
    assert (shown.exit_code, shown.stderr) == (0, "")
    lines = shown.stdout.splitlines()
    assert re.sub(" +", " ", lines[0]) == "beam_activity 2 samples"
    assert lines[2].startswith(" slew┤") and lines[3].startswith("track┤")
    assert max(map(len, lines)) == 80
    assert "\x1b" not in shown.stdout
    monkeypatch.setenv("COLUMNS", "120")
    assert len(run("plot", snapshot, "beam_activity").stdout.splitlines()[0]) == 120


@pytest.mark.parametrize("columns", [80, 200])
def test_on_a_terminal(snapshot: Path, columns: int) -> None:
    """On a terminal a plot has colours, and fits its width and height."""
    status, shown = run_on_terminal("plot", str(snapshot), "m000_azim", columns=columns)
    assert status == 0
    assert "\x1b[38;5;" in shown
    lines = re.sub(r"\x1b\[[\d;]*m", "", shown).splitlines()
    assert len(lines) == 40
    assert max(map(len, lines)) == columns


def test_file(snapshot: Path, tmp_path: Path) -> None:
    """With -o the plot is a file, which does not replace another one without --force."""
    path = tmp_path / "azim.png"
    assert run("plot", snapshot, "m*_azim", "-o", path)[:3] == (0, "", "")
    assert path.read_bytes().startswith(b"\x89PNG")
    path.write_bytes(b"old")
    refused = run("plot", snapshot, "m*_azim", "-o", path)
    assert refused.exit_code == 2
    assert refused.stderr == f"{path} exists. Use --force to overwrite it.\n"
    assert run("plot", snapshot, "nope", "-o", path, "--force").exit_code == 1
    assert path.read_bytes() == b"old"
    assert run("plot", snapshot, "beam_activity", "-o", path, "--force").exit_code == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["azim.png", "obs.rdb"]


@pytest.mark.parametrize(("name", "start"), [("azim.svg", b"<?xml"), ("azim.PDF", b"%PDF")])
def test_formats(snapshot: Path, tmp_path: Path, name: str, start: bytes) -> None:
    """The suffix of the file chooses the format."""
    assert run("plot", snapshot, "beam_activity", "-o", tmp_path / name)[:3] == (0, "", "")
    assert (tmp_path / name).read_bytes().startswith(start)


def test_range_and_view(snapshot: Path) -> None:
    """A range is given by times of any form, also relative to the last sample; keys are those of the view."""
    options = ("--view", "beam", "--start", "-1h", "--end", "2023-11-14T23:00")
    shown = run("plot", snapshot, "activity", *options).stdout
    assert shown.endswith("UTC, 2023-11-14 21:43:20 to 2023-11-14 23:00:00\n")
    shown = run("plot", snapshot, "beam_activity", "--end", "+1h").stdout
    assert shown.endswith(" to 2023-11-14 23:13:20\n")
    shown = run("plot", snapshot, "m*_azim", "--shared", "--start", str(T + 60)).stdout
    assert "m00…_azim (2 sensors)" in shown
    assert "A m000_azim  B m001_azim" in shown


def test_unreadable_samples(snapshot: Path, tmp_path: Path) -> None:
    """The error for samples that cannot be read says why, and pickles of plain data are read with the option."""
    ts = TelescopeState()
    ts.add("old", "track", ts=T, encoding=ENCODING_PICKLE)
    ts.backend.execute(AddSample(b"bad", encode_sample(T, b"?")))
    path = tmp_path / "old.rdb"
    ts.save(path)
    refused = run("plot", path, "old")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == (
        "1 of 1 keys cannot be read: 'old'. They are pickles. --allow-pickle safe reads those that are plain data.\n"
    )
    assert run("plot", path, "bad").stderr.startswith(
        "1 of 1 keys cannot be read: 'bad'. Key 'bad': "
    )
    try:
        assert "track┤" in run("plot", path, "old", "--allow-pickle", "safe").stdout
    finally:
        set_allow_pickle(False)


def test_not_installed(snapshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, one line says what to install."""
    for name in ("matplotlib", "matplotlib.figure", "plotext"):
        monkeypatch.setitem(sys.modules, name, None)
    for options in ((), ("-o", tmp_path / "a.png")):
        refused = run("plot", snapshot, "m000_azim", *options)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert refused.stderr.endswith("Install telstate with its extra 'plot'.\n")
        assert refused.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == [snapshot]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("nope",), 1, "'nope' not found"),
        (("x*",), 1, "No mutable key matches 'x*'"),
        (("n_chans",), 2, "Only mutable keys have samples, and these are not mutable: 'n_chans'."),
        (("m000_azim", "-o", "a.gif"), 2, "'a.gif' does not end in .png, .svg or .pdf."),
        (("m000_azim", "--start", "5", "--end", "4"), 2, "The range is empty"),
        (("m000_azim", "--start", "soon"), 2, "'soon' is not a time"),
        ((), 2, "Missing argument"),
    ],
)
def test_errors(
    snapshot: Path, arguments: tuple[str, ...], status: int, message: str, monkeypatch: Any
) -> None:
    """An error is one line, and a key that does not exist the answer "no"."""
    monkeypatch.chdir(snapshot.parent)
    refused = run("plot", snapshot, *arguments)
    assert (refused.exit_code, refused.stdout) == (status, "")
    assert message in refused.stderr and refused.stderr.count("\n") == 1
