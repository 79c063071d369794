"""Processes: children that answer requests, measuring in new ones, and many at once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness import Measured, Measurement


def end_on_signals() -> None:
    """Make SIGINT and SIGTERM leave all blocks, undisturbed by further signals."""

    def end(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise SystemExit(128 + number)

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)


class ChildError(Exception):
    """A request failed in a child, which has printed why."""


class Child:
    """A process that answers requests, one JSON object a line, as a context manager.

    It is in a process group of its own, which is killed at the end with all that the child started.
    Temporary files of the group are in `folder`.
    """

    def __init__(self, name: str, command: Sequence[str], folder: Path) -> None:
        self.name = name
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(folder)},
        )

    def send(self, **request: object) -> None:
        """Send a request."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """Wait for the answer to a request."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"The process {self.name!r} ended. Its output is above.")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ChildError(f"{self.name}: {answer['error']}")
        return answer

    def ask(self, **request: object) -> dict[str, Any]:
        """Send a request and wait for the answer."""
        self.send(**request)
        return self.receive()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


# What a new process does: it measures how long the statement takes, how much private memory it leaves, and
# how much memory the process had at most. Anonymous memory is what does not belong to files.
TEMPLATE = """
import gc, json, sys, time
{setup}
def memory(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name + ":"))
gc.collect()
before, start = memory("RssAnon"), time.perf_counter()
{statement}
seconds = time.perf_counter() - start
gc.collect()
print(json.dumps([seconds, memory("RssAnon") - before, memory("VmHWM")]))
"""


def run_fresh(statement: str, setup: str = "") -> tuple[float, float, float]:
    """Run a statement in a new interpreter; return its seconds, memory that it left, and peak memory."""
    code = TEMPLATE.format(setup=setup, statement=statement)
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    seconds, left, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, left, peak


def time_fresh(statement: str, setup: str = "") -> Measured:
    """Time a statement in a new interpreter, whose peak memory is counted."""

    def measure() -> Measurement:
        seconds, _, peak = run_fresh(statement, setup)
        return Measurement(seconds, {"MB at most": round(peak / 1e6)})

    return Measured(measure)


def memory_fresh(statement: str, setup: str = "", per: int = 1) -> Measured:
    """Measure the memory that a statement leaves in a new interpreter, divided by a number of things."""
    return Measured(lambda: Measurement(run_fresh(statement, setup)[1] / per))


def run_together(codes: Sequence[str]) -> list[list[float]]:
    """Run programs at once, each in an interpreter; return the numbers that each prints as JSON at its end.

    A program prints a line when it is ready, and goes on when it can read one, which all can when all are ready.
    """
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for code in codes
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise RuntimeError("A process ended before it was ready. Its output is above.")
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        return [json.loads(process.communicate()[0]) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
