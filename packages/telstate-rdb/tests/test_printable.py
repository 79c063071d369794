"""Names that are shown: nothing in them steers a terminal, and no URL shows a password."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telstate_rdb import RdbParseError, RdbWriteError, RdbWriter, read_rdb
from telstate_rdb.printable import escape, escape_path, hide_credentials

UGLY = "a\x1b[2J\u202e\u2028\x07\udcff.rdb"
URLS = [
    "redis://anna:gehe:im?@localhost:6379/0",
    "rediss://:geheim@localhost",
    "redis://localhost/0?password=geheim&db=1",
    "redis+sentinel://anna:gehe/im@one,two/service?sentinel_password=geheim",
    "unix://:geheim@/run/redis.sock",
    "https://host/a.rdb?token=geheim&X-Amz-Signature=geheim",
]


@given(st.text(alphabet=st.characters(), max_size=20) | st.binary(max_size=20))
def test_what_is_escaped_can_be_printed(name: str | bytes) -> None:
    """Only printable characters are left; printable text without backslashes stays as it is."""
    shown = escape(name)
    assert shown.isprintable()
    assert escape(shown) == shown
    if isinstance(name, str) and name.isprintable():
        assert shown == name


def test_ugly_name_is_spelled_out() -> None:
    """Control, bidirectional and separating characters, and bytes that are not UTF-8, are spelled out."""
    assert escape(UGLY) == r"a\x1b[2J\u202e\u2028\x07\xff.rdb"
    assert escape("\U000e0001") == r"\U000e0001"


@pytest.mark.parametrize("url", URLS)
def test_url_as_path_shows_no_password(url: str, tmp_path: Path) -> None:
    """Errors for a URL that is given for a path name the server, without user and password."""
    errors: list[BaseException] = [RdbParseError(file=url)]
    for path in (url, Path(url), tmp_path / url):
        with pytest.raises(OSError) as failed:
            read_rdb(path)
        errors.append(failed.value)
        with pytest.raises(OSError) as failed:
            RdbWriter(path).__enter__()
        errors.append(failed.value)
    (tmp_path / url).mkdir(parents=True)
    with pytest.raises(RdbWriteError) as refused:
        RdbWriter(tmp_path / url).__enter__()
    errors.append(refused.value)
    for error in errors:
        while error is not None:
            assert "gehe" not in str(error)
            error = error.__cause__ or error.__context__  # type: ignore[assignment]  # the last one has none


def test_ordinary_paths_stay() -> None:
    """A path that is no URL is not changed, even with an at sign or a colon in it."""
    for path in ("/data/a@b.rdb", "C:/data/a@b.rdb", "a:b@c", "", "12:30/x@y", "http://host/a.rdb"):
        assert hide_credentials(path) == path
    with pytest.raises(FileNotFoundError, match="no/such/file@x.rdb") as missing:
        read_rdb("no/such/file@x.rdb")
    assert missing.value.filename == "no/such/file@x.rdb"


def test_error_keeps_the_exact_file_name() -> None:
    """The text of an error is escaped; its attribute is the name itself, also after pickling."""
    error = RdbParseError("broken", file=UGLY)
    assert str(error) == f"{escape_path(UGLY)}: broken"
    assert pickle.loads(pickle.dumps(error)).file == UGLY


@pytest.mark.parametrize("is_broken", [False, True])
def test_command_escapes_the_file_name(tmp_path: Path, is_broken: bool) -> None:
    """The command prints no byte of a file name that could steer a terminal."""
    pytest.importorskip("click")
    pytest.importorskip("rich")
    path = os.fsencode(tmp_path) + b"/" + UGLY.encode("utf-8", "surrogateescape")
    with RdbWriter(tmp_path / "plain.rdb") as writer:
        writer.write(b"key", b"value")
    content = (tmp_path / "plain.rdb").read_bytes()
    with open(path, "wb") as file:
        file.write(content[:-9] if is_broken else content)
    for arguments in ([path], [b"--json", path], [path + b"x"]):
        done = subprocess.run(
            [sys.executable, "-m", "telstate_rdb", "info", *arguments],
            capture_output=True,
            env={**os.environ, "PYTHONUTF8": "1"},
        )
        printed = (done.stdout + done.stderr).decode()
        assert all(one.isprintable() or one in "\n\t" for one in printed), printed


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("before", [[], ["info"], ["keys"], ["resp", "--output"]], ids=len)
def test_command_shows_no_password(url: str, before: list[str]) -> None:
    """The command names the server of a URL without user and password."""
    pytest.importorskip("click")
    pytest.importorskip("rich")
    command = [sys.executable, "-m", "telstate_rdb", *before, url]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "gehe" not in done.stdout + done.stderr
