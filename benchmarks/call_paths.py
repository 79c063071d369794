"""Count the functions and files of ours that calls of `TelescopeState` pass through.

Each call is made against a Redis server of its own under `sys.setprofile`, after calls that load modules and
scripts and open connections, so that what is counted is what every later call costs. Counted are the
distinct functions of the telstate packages, the calls of them, and the files that they are in, from the
public method to the socket and back, and until the first request is sent. Other threads that take part are included; the writer that ends a
wait is not, nor are methods that attrs generates. Resuming a coroutine or a generator counts as a call.

Usage: ``python call_paths.py [--list CALL] [--json FILE]``; ``--list get`` names the functions.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import CodeType, FrameType
from typing import TypeAlias

import telstate.aio.redis
from telstate import TelescopeState
from telstate_testing import RedisServer, newest_binaries

PACKAGES = ("telstate_codec", "telstate_rdb", "telstate_backends", "telstate")
FOLDERS = [Path(str(import_module(name).__file__)).parent for name in PACKAGES]
# How long a waiter gets to subscribe before another client writes.
SUBSCRIBE_SECONDS = 0.3

#: The file and the name of a function.
Function: TypeAlias = tuple[str, str]


@dataclass(frozen=True)
class CallPath:
    """The functions of ours that a call passed through, and how often each was called."""

    counts: dict[Function, int]
    until_sent: set[Function]

    def row(self) -> dict[str, int]:
        """Return the numbers of the table."""
        return {
            "functions": len(self.counts),
            "files": len({file for file, _ in self.counts}),
            "calls": sum(self.counts.values()),
            "functions until sent": len(self.until_sent),
            "files until sent": len({file for file, _ in self.until_sent}),
        }


class Recorder:
    """Counts the calls of functions of ours while it is a context manager in use."""

    def __init__(self) -> None:
        self._codes: Counter[CodeType] = Counter()
        self._codes_until_sent: list[CodeType] | None = None
        self._is_on = False
        # Threads that start from here on are profiled too.
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)

    def _profile(self, frame: FrameType, event: str, argument: object) -> None:
        if not self._is_on:
            return
        if event == "call":
            self._codes[frame.f_code] += 1
        elif event == "c_call" and getattr(argument, "__name__", "") in ("send", "sendall"):
            if self._codes_until_sent is None:
                self._codes_until_sent = list(self._codes)

    def __enter__(self) -> Recorder:
        self._codes.clear()
        self._codes_until_sent = None
        self._is_on = True
        return self

    def __exit__(self, *_: object) -> None:
        self._is_on = False

    def path(self) -> CallPath:
        """Return what was counted."""
        counts: Counter[Function] = Counter()
        for code, count in self._codes.items():
            for function in function_of(code):
                counts[function] += count
        until_sent = {f for code in self._codes_until_sent or () for f in function_of(code)}
        return CallPath(dict(counts), until_sent)


def function_of(code: CodeType) -> Iterator[Function]:
    """Yield the function that a code object belongs to if it is ours."""
    for folder in FOLDERS:
        if Path(code.co_filename).is_relative_to(folder):
            file = Path(code.co_filename).relative_to(folder.parent).as_posix()
            yield file, code.co_qualname


def write_later(writer: TelescopeState, key: str) -> threading.Thread:
    """Start a thread that writes a key once a waiter has had time to subscribe, and is not counted."""

    def write() -> None:
        sys.setprofile(None)
        time.sleep(SUBSCRIBE_SECONDS)
        writer.add(key, 1, immutable=True)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def count_synchronous(url: str, recorder: Recorder) -> dict[str, CallPath]:
    """Count the calls of a synchronous telescope state."""
    ts, writer = TelescopeState(url), TelescopeState(url)
    ts.clear()
    ts["n_chans"] = 4096
    for number in range(10):
        ts.add("gain", number / 7, ts=float(number))
    counted: dict[str, CallPath] = {}

    def count(name: str, call: Callable[[], object]) -> None:
        for _ in range(3):
            call()
        with recorder:
            call()
        counted[name] = recorder.path()

    count("get", lambda: ts.get("n_chans"))
    count("get, latest sample", lambda: ts.get("gain"))
    view = ts.view("a").view("b").view("c")
    count("get in a view of 4", lambda: view.get("n_chans"))
    count("add", lambda: ts.add("gain", 1.5))
    count("get_range", lambda: ts.get_range("gain", st=0))
    count("get_range, latest", lambda: ts.get_range("gain"))

    # Each twice: the second time counts.
    for name in ("waited0", "waited1"):
        thread = write_later(writer, name)
        with recorder:
            ts.wait_key(name)
        thread.join()
    counted["wait_key that waits"] = recorder.path()

    for name in ("watched0", "watched1"):
        thread = write_later(writer, name)
        with recorder, ts.watch(name) as updates:
            updates.next()
        thread.join()
    counted["watch, one update"] = recorder.path()
    ts.close()
    writer.close()
    return counted


async def count_asyncio(url: str, recorder: Recorder) -> dict[str, CallPath]:
    """Count the calls of an asyncio telescope state."""
    backend = await telstate.aio.redis.RedisBackend.from_url(url)
    ts = telstate.aio.TelescopeState(backend)
    await ts.clear()
    await ts.set("n_chans", 4096)
    await ts.add("gain", 1.5)
    counted: dict[str, CallPath] = {}

    async def count(name: str, call: Callable[[], Awaitable[object]]) -> None:
        for _ in range(3):
            await call()
        with recorder:
            await call()
        counted[f"asyncio: {name}"] = recorder.path()

    await count("get", lambda: ts.get("n_chans"))
    await count("add", lambda: ts.add("gain", 1.5))
    writer = TelescopeState(url)
    for name in ("async0", "async1"):
        thread = write_later(writer, name)
        with recorder:
            await ts.wait_key(name)
        thread.join()
    counted["asyncio: wait_key that waits"] = recorder.path()
    writer.close()
    backend.close()
    await backend.wait_closed()
    return counted


def main() -> None:
    """Count, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", metavar="CALL", help="also name the functions of this call")
    parser.add_argument("--json", type=Path, help="also write the counts to this file")
    arguments = parser.parse_args()
    if not newest_binaries():
        raise SystemExit("There is no Redis server; name one in TELSTATE_REDIS_SERVER.")
    recorder = Recorder()
    with RedisServer(newest_binaries()[0]) as server:
        counted = count_synchronous(server.url, recorder)
        counted |= asyncio.run(count_asyncio(server.url, recorder))
    rows = {name: path.row() for name, path in counted.items()}
    print(f"{'call':<28}", *next(iter(rows.values())), sep="  ")
    for name, row in rows.items():
        print(
            f"{name:<28}", *(f"{number:>{len(title)}}" for title, number in row.items()), sep="  "
        )
    if arguments.list:
        for (file, function), count in counted[arguments.list].counts.items():
            print(f"{count:>6}  {file}: {function}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
