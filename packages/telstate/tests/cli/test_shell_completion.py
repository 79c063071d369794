"""Completion by real shells: of commands, options, files, and the keys of the store that is named."""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from telstate import TelescopeState
from telstate.cli import _complete
from telstate.cli.main import main
from telstate_testing import missing
from telstate_testing.commands import Command
from telstate_testing.terminals import Terminal

# They start many processes, which behave alike on every Python.
pytestmark = pytest.mark.slow

PROMPT = "ready$ "
#: How to start each shell without the settings of its user, and to load the completion of the command.
SHELLS = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        'bind "set bell-style none"; eval "$(_TELSTATE_COMPLETE=bash_source telstate)"',
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        'autoload -Uz compinit; compinit -D; eval "$(_TELSTATE_COMPLETE=zsh_source telstate)"',
    ),
}


class Shell(Terminal):
    """A shell on a pseudo-terminal, in which TAB can be pressed."""

    def complete(self, line: str) -> str:
        """Return a line after TAB, as the command gets it when the line is entered."""
        self.type(f"{line}\t")
        self.type("\n")
        found: list[str] = re.findall(r"<(.*?)>", self.read_until(PROMPT), re.DOTALL)
        return found[-1]


@contextmanager
def open_shell(name: str, folder: Path) -> Iterator[Shell]:
    """Start a shell in a folder, where the command prints its arguments unless it completes."""
    command, setup = SHELLS[name]
    if shutil.which(command[0]) is None:
        pytest.skip(missing(name))
    script = folder / "bin" / "telstate"
    script.parent.mkdir()
    script.write_text(
        '#!/bin/sh\n[ -n "$_TELSTATE_COMPLETE" ] || { echo "<$*>"; exit; }\n'
        f"exec {sys.executable} -m telstate\n"
    )
    script.chmod(0o755)
    variables = {
        **os.environ,
        "PATH": f"{script.parent}:{os.environ['PATH']}",
        "PS1": PROMPT,
        "TERM": "dumb",
        "HOME": str(folder),
    }
    with Shell(command, 255, env=variables, cwd=folder, start_new_session=True) as shell:
        shell.read_until(PROMPT)
        shell.type(f"{setup}\n")
        shell.read_until(PROMPT)
        yield shell


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a snapshot."""
    ts = TelescopeState()
    ts["n_chans"] = 4096
    ts.add("m000_target", "J1939-6342", ts=1.0)
    ts.add("m001_target", "J1939-6342", ts=1.0)
    ts.add("m001_activity", "track", ts=1.0)
    ts.save(tmp_path / "observation.rdb")
    return tmp_path


@pytest.mark.parametrize("name", SHELLS)
def test_a_real_shell(name: str, folder: Path, any_port: int) -> None:
    """TAB completes a command, an option, and the keys of a file and of a live server."""
    with TelescopeState(f"127.0.0.1:{any_port}") as ts:
        ts["live_gain"] = 1.5
    with open_shell(name, folder) as shell:
        assert shell.complete("telstate ran") == "range"
        assert shell.complete("telstate range --sta") == "range --start"
        assert shell.complete("telstate range observation.rdb m000") == (
            "range observation.rdb m000_target"
        )
        # A busy machine may take longer than the command waits for a server.
        line = f"telstate range 127.0.0.1:{any_port} li"
        assert any(shell.complete(line).endswith(" live_gain") for _ in range(10))


def complete(monkeypatch: pytest.MonkeyPatch, line: str) -> list[str]:
    """Return what bash is told of a line that is completed."""
    monkeypatch.setenv("_TELSTATE_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    completed = Command("telstate", partial(main, prog_name="telstate")).run()
    logging.disable(logging.NOTSET)
    assert completed.stderr == ""
    return [line for line in completed.stdout.splitlines() if line]


@pytest.mark.parametrize(
    "words, expected",
    [
        ("range {} m001", ["plain,m001_activity", "plain,m001_target"]),
        ("range --view m001 {} t", ["plain,target"]),
        ("range {} --view m001 n", ["plain,n_chans"]),
        ("range {} --db 7 m", []),
        ("range {} --start", ["plain,--start"]),
        ("range missing.rdb m", []),
        ("range broken.rdb m", []),
        ("range https://127.0.0.1:1/a.rdb m", []),
        ("range s3://bucket/a.rdb m", []),
        ("range - m", []),
        ("range 127.0.0.1:1 m", []),
        ("range 'unfinished m", ["file,unfinished m"]),
        ("range {} 'm001_a", ["plain,m001_activity"]),
        ("nonsense {} zz", []),
    ],
)
def test_what_is_offered(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: str, expected: list[str]
) -> None:
    """The keys of the store, as its view has them; nothing, and no message, where that fails."""
    monkeypatch.chdir(folder)
    (folder / "broken.rdb").write_bytes(b"REDIS0006 and then rubbish")
    line = f"telstate {words.replace('{}', 'observation.rdb')}"
    assert complete(monkeypatch, line) == expected


def test_names_that_shells_or_globs_would_change(
    any_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are quoted, and mean themselves."""
    with TelescopeState(f"127.0.0.1:{any_port}") as ts:
        for name in ("a*b", "a*c d", "axb", "a:b", "a\n"):
            ts[name] = 1
        ts.save(tmp_path / "odd.rdb")
    for store in (f"127.0.0.1:{any_port}", str(tmp_path / "odd.rdb")):
        offered = complete(monkeypatch, f"telstate range {store} 'a*")
        assert offered == ["plain,a\\*b", "plain,a\\*c\\ d"]
        assert complete(monkeypatch, f"telstate range {store} a:") == ["plain,a:b"]


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left alone after a moment."""
    monkeypatch.setattr(_complete, "SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert complete(monkeypatch, f"telstate range 127.0.0.1:{port} m") == []


def test_many_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more names are offered than a person can look at."""
    ts = TelescopeState()
    with ts.pipeline() as p:
        for number in range(1000):
            p[f"key{number}"] = number
    ts.save(tmp_path / "many.rdb")
    found = complete(monkeypatch, f"telstate range {tmp_path / 'many.rdb'} ")
    assert len(found) == _complete.COMPLETIONS
