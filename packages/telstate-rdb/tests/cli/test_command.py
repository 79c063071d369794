"""The command: its output and its exit status."""

from __future__ import annotations

import base64
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telstate_rdb import RdbWriter
from telstate_rdb._crc64 import crc64
from telstate_rdb.cli.main import main
from telstate_rdb.summary import show

KEYS = b"\xfe\x00\x00\x04gain\x031.5\x00\x02:x\x01v\x01\x04list\x02\x01a\x01b"
KEYS += b"\xfe\x03\xfc" + (1_700_000_000_000).to_bytes(8, "little") + b"\x00\x05a\x1b[2J\x02vv"
CONTENT = b"REDIS0011\xfa\x09redis-ver\x057.2.4\xfa\x05ctime\xc2\x00\xf1\x53\x65" + KEYS + b"\xff"
SOUND = CONTENT + crc64(CONTENT).to_bytes(8, "little")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A valid file."""
    path = tmp_path / "dump.rdb"
    path.write_bytes(SOUND)
    return path


class Result(NamedTuple):
    """The exit status and the output of a command."""

    exit_code: object
    stdout: str
    stderr: str


def run(*arguments: str | Path) -> Result:
    """Run the command in this process."""
    with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()) as errors:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
    return Result(ended.value.code, output.getvalue(), errors.getvalue())


def test_summary(path: Path) -> None:
    """The summary has the version, the server, the verdict, the types and the biggest keys."""
    result = run(path)
    assert result.exit_code == 0
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert lines[:8] == [
        f"file               {path}",
        "format             RDB version 11 (since Redis 7.2)",
        "written by         Redis 7.2.4",
        "created            2023-11-14 22:13:20 UTC",
        "checksum           ok",
        "sound              yes",
        "keys               4 of 29 bytes",
        "function libraries 0",
    ]
    assert [line.split() for line in lines[8:12]] == [
        ["database", "type", "keys", "bytes"],
        ["0", "list", "1", "9"],
        ["0", "string", "2", "12"],
        ["3", "string", "1", "8"],
    ]
    assert lines[12:] == [
        "",
        "biggest keys:",
        "             9   0 list    list",
        "             8   3 string  a\\x1b[2J (expires 2023-11-14 22:13:20 UTC)",
        "             8   0 string  gain",
        "             4   0 string  :x",
    ]


def test_json(path: Path) -> None:
    """As JSON, the summary has the same facts."""
    result = run(path, "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["sound"] is True
    assert report["checksum"] == "ok"
    assert (report["keys"], report["bytes"]) == (4, 29)
    assert report["databases"] == {
        "0": {"list": {"keys": 1, "bytes": 9}, "string": {"keys": 2, "bytes": 12}},
        "3": {"string": {"keys": 1, "bytes": 8}},
    }
    assert report["facts"] == {"redis-ver": "7.2.4", "ctime": "1700000000"}
    assert [entry["key"] for entry in report["biggest"]] == ["list", "a\\x1b[2J", "gain", ":x"]
    assert "listed" not in report


def test_keys(path: Path) -> None:
    """With a pattern, only the keys that match are listed and counted."""
    result = run(path, "--keys", "[gl]*")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-2:] == [
        "             8   0 string  gain",
        "             9   0 list    list",
    ]
    report = json.loads(run(path, "--json", "--keys", "gain").stdout)
    assert report["keys"] == 1
    assert [entry["key"] for entry in report["listed"]] == ["gain"]


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (SOUND[:-3] + b"abc", "the checksum is"),
        (SOUND + b"!", "more bytes follow the end"),
        (SOUND[:-20], "the file"),
        (
            SOUND.replace(b"\x01\x04list\x02", b"\x0a\x04list\x02"),
            "key list: a ziplist is truncated",
        ),
    ],
)
def test_not_sound(path: Path, data: bytes, complaint: str) -> None:
    """A damaged file is summarised as far as possible, and the exit status is 1."""
    path.write_bytes(data)
    for options in ([], ["--json"]):
        result = run(path, *options)
        assert result.exit_code == 1
        assert complaint in result.stderr
        assert "gain" in result.stdout
    assert json.loads(run(path, "--json").stdout)["sound"] is False


def test_file_that_is_not_a_snapshot(path: Path) -> None:
    """A file that is not a snapshot is refused in one line."""
    path.write_bytes(b"root:x:0:0")
    result = run(path)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        f"{path}, byte 0: this is not an RDB file: it starts with b'root:x:0:'\n"
    )


def test_missing_file(path: Path) -> None:
    """A missing file is an error of usage, with exit status 2."""
    assert run(path / "nothing").exit_code == 2
    assert run().exit_code == 2


def test_standard_input() -> None:
    """A dash means standard input."""
    command = [sys.executable, "-m", "telstate_rdb", "-", "--json"]
    output = subprocess.run(command, input=SOUND, capture_output=True, check=True)
    assert json.loads(output.stdout)["keys"] == 4
    assert output.stderr == b""


def test_progress_on_a_terminal_only(tmp_path: Path) -> None:
    """A large file has a progress bar where standard error is a terminal, and nowhere else."""
    path = tmp_path / "large.rdb"
    value = b"\x00\x01k\x80" + (1 << 20).to_bytes(4, "big") + bytes(1 << 20)
    path.write_bytes(b"REDIS0004" + value * 17 + b"\xff")
    command = [sys.executable, "-m", "telstate_rdb", str(path), "--json"]
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm"}
    try:
        subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, check=True, env=environment)
        assert b"large.rdb" in os.read(ours, 1 << 16)
    finally:
        os.close(ours)
        os.close(theirs)
    quiet = subprocess.run(command, capture_output=True, check=True)
    assert quiet.stderr == b""


COMMAND = (sys.executable, "-m", "telstate_rdb")
NOT_A_ZIPLIST = SOUND.replace(b"\x01\x04list\x02", b"\x0a\x04list\x02")


def in_shell(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run a line of shell in which "$@" is the command with its arguments."""
    command: Sequence[str | Path] = ("bash", "-c", script, "bash", *COMMAND, *arguments)
    return subprocess.run(command, capture_output=True)


@pytest.mark.parametrize("pattern", ["list", "gain", "nothing"])
def test_keys_do_not_change_the_verdict(path: Path, pattern: str) -> None:
    """The verdict is on the whole file, whichever keys are listed."""
    path.write_bytes(NOT_A_ZIPLIST)
    result = run(path, "--keys", pattern)
    assert result.exit_code == 1
    assert "key list: a ziplist is truncated" in result.stderr
    assert "sound              NO" in result.stdout


def test_keys_in_order(path: Path) -> None:
    """The listed keys are ordered by database and name."""
    with RdbWriter(path) as writer:
        for database, key in ((1, b"a"), (0, b"c"), (0, b"a"), (0, b"b")):
            writer.write(key, b"value", database=database)
    listed = json.loads(run(path, "--json", "--keys", "*").stdout)["listed"]
    found = [(entry["database"], entry["key"]) for entry in listed]
    assert found == [(0, "a"), (0, "b"), (0, "c"), (1, "a")]


def test_no_key_matches(path: Path) -> None:
    """A pattern without matches is reported, and JSON has an empty list."""
    assert run(path, "--keys", "nothing").stdout.endswith("\n\nNo key matches.\n")
    assert json.loads(run(path, "--json", "--keys", "nothing").stdout)["listed"] == []


def test_keys_that_are_not_text(path: Path) -> None:
    """Different keys are shown differently, and JSON has their exact bytes."""
    keys = [b"\xff\x00k\n", rb"\xff\x00k\n", b"plain"]
    with RdbWriter(path) as writer:
        for key in keys:
            writer.write(key, b"value")
    listed = json.loads(run(path, "--json", "--keys", "*").stdout)["listed"]
    assert len({entry["key"] for entry in listed}) == 3
    exact = [
        base64.b64decode(entry["key_base64"]) if "key_base64" in entry else entry["key"].encode()
        for entry in listed
    ]
    assert exact == sorted(keys)


@given(st.lists(st.binary() | st.text().map(str.encode), max_size=5, unique=True))
def test_names_are_shown_differently(names: list[bytes]) -> None:
    """No two names are shown alike."""
    assert len({show(name) for name in names}) == len(names)


def test_times_without_a_date(path: Path) -> None:
    """The time 0 is a date; a time beyond all dates is a number with its unit."""
    with RdbWriter(path) as writer:
        writer.write(b"early", b"1", expiry=0)
        writer.write(b"late", b"2", expiry=(1 << 63) - 1)
    output = run(path, "--keys", "*").stdout
    assert "early (expires 1970-01-01 00:00:00 UTC)" in output
    assert "late (expires 9223372036854775807 ms since 1970)" in output


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (b"REDIS0003\xff", "yes, as far as can be told without a checksum (this version"),
        (b"REDIS0009\xff" + bytes(8), "yes, as far as can be told without a checksum (it was not"),
    ],
)
def test_sound_without_a_checksum(path: Path, data: bytes, verdict: str) -> None:
    """Without a checksum the verdict says so."""
    path.write_bytes(data)
    result = run(path)
    assert result.exit_code == 0
    assert f"sound              {verdict}" in result.stdout


def test_version() -> None:
    """The command prints its version."""
    result = run("--version")
    assert (result.exit_code, result.stdout[:21]) == (0, "telstate-rdb, version")


@pytest.mark.parametrize(("data", "status"), [(SOUND, b"0"), (NOT_A_ZIPLIST, b"1")])
def test_closed_pipe(path: Path, data: bytes, status: bytes) -> None:
    """A pipe that is closed early does not change the exit status, and prints no message."""
    path.write_bytes(data)
    result = in_shell('"$@" 2> /dev/null | true; echo ${PIPESTATUS[0]}', path, "--json")
    assert (result.stdout.split(), result.stderr) == ([status], b"")


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ('"$@" > /dev/full', b"The summary cannot be written: No space left on device.\n"),
        ('"$@" - <&-', b"standard input cannot be read: it is closed.\n"),
        ('"$@" /proc/self/mem', b"/proc/self/mem cannot be read: Input/output error.\n"),
    ],
)
def test_other_errors(path: Path, script: str, complaint: bytes) -> None:
    """Any other error is reported in one line, with exit status 2."""
    result = in_shell(script, *([path] if "full" in script else []))
    assert (result.returncode, result.stderr) == (2, complaint)


def test_characters_outside_the_encoding(path: Path) -> None:
    """A key that cannot be shown in the encoding of the output is escaped."""
    with RdbWriter(path) as writer:
        writer.write("größe".encode(), b"1")
    result = in_shell('PYTHONIOENCODING=ascii "$@"', path)
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"gr\\xf6\\xdfe" in result.stdout


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_missing_extra(missing: str, path: Path) -> None:
    """Without the packages of the extra, the command names it in one line and exits with status 2."""
    code = "import sys; sys.modules[sys.argv[1]] = None; from telstate_rdb.__main__ import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, missing, path], capture_output=True, text=True
    )
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert f"needs {missing}." in line
    assert "pip install 'telstate-rdb[cli]'" in line
