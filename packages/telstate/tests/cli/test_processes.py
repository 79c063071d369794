"""How commands end: by Ctrl-C, when nobody reads their output, and without what they need."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from state_command import run, run_in_shell

from telstate import TelescopeState

# They start many processes, which behave alike on every Python.
pytestmark = pytest.mark.slow

#: Runs the command, and closes a descriptor when it begins to import modules.
BEGIN = """
import os, sys

descriptor = [int(sys.argv.pop(1))]

def notice(event, arguments):
    if event == "import" and arguments[0] == "click" and descriptor:
        os.close(descriptor.pop())

sys.addaudithook(notice)
from telstate.__main__ import main
main()
"""


@pytest.fixture(scope="module")
def observation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot with many keys and samples."""
    path = tmp_path_factory.mktemp("processes") / "observation.rdb"
    ts = TelescopeState()
    ts.add_many("temperature", range(50_000), range(50_000))
    with ts.pipeline() as p:
        for number in range(3000):
            p[f"m{number:04}_gain"] = number
    ts.save(path)
    return path


def interrupt(arguments: Sequence[str | Path], delay: float) -> tuple[int, bytes]:
    """Press Ctrl-C some time after a command began; return its status and its messages."""
    ours, theirs = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN, str(theirs), *arguments],
        pass_fds=[theirs],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    assert os.read(ours, 1) == b""  # until the descriptor is closed
    os.close(ours)
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60.0)
    return process.returncode, errors


def words_of(command: str, observation: Path, port: int) -> list[str]:
    """Return the arguments of a command."""
    words = command.replace("FILE", str(observation)).replace("SERVER", f"127.0.0.1:{port}")
    return words.split()


@pytest.mark.parametrize("command", ["ls FILE --tree", "watch SERVER nothing", "demo FILE"])
@pytest.mark.parametrize("times", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_interrupt_at_a_random_moment(
    observation: Path, any_port: int, command: str, times: int
) -> None:
    """Ctrl-C ends a command as the signal does, without a message; or it had ended before."""
    for _ in range(times):
        words = words_of(command, observation, any_port)
        status, errors = interrupt(words, random.uniform(0.0, 1.0))
        assert errors == b""
        assert status in ((-signal.SIGINT,) if "watch" in command else (0, -signal.SIGINT))


@pytest.mark.parametrize(
    "command",
    [
        "ls FILE",
        pytest.param("range FILE temperature", marks=pytest.mark.slow),
        pytest.param("demo FILE", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(
    "script, status",
    [
        ('"$@" | head -n 1; exit "${PIPESTATUS[0]}"', 2),
        ('"$@" >&-', 0),
        ('"$@" 2>&- >/dev/null', 0),
        ('"$@" >/dev/full', 2),
    ],
)
def test_output_that_nobody_reads(
    observation: Path, command: str, script: str, status: int
) -> None:
    """A closed pipe or descriptor ends a command quietly, and a full disk with one line."""
    done = run_in_shell(script, *words_of(command, observation, 1))
    assert done.returncode == status
    assert done.stderr.count(b"\n") == ("/dev/full" in script)
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("package", ["click", "rich"])
def test_without_the_extra_of_the_command(package: str) -> None:
    """One line says what to install."""
    code = "import sys; sys.modules[sys.argv[1]] = None; from telstate.__main__ import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, package, "ls"], capture_output=True, text=True
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"The command needs {package}. Install telstate with its extra 'cli'.\n"
    )


@pytest.mark.parametrize(
    "command, package, extra",
    [
        ("plot FILE temperature -o plot.png", "matplotlib", "plot"),
        ("plot FILE temperature", "plotext", "plot"),
        ("export FILE -o all.parquet", "pyarrow", "parquet"),
        ("ls s3://bucket/observation.rdb", "s3fs", "remote"),
    ],
)
def test_without_another_extra(
    observation: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    package: str,
    extra: str,
) -> None:
    """One line says what to install, and no file is written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    done = run(*words_of(command, observation, 1))
    assert (done.exit_code, done.stdout) == (2, "")
    assert f" {package}. Install telstate with its extra '{extra}'." in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
