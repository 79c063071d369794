"""Time our packages and katsdptelstate side by side, and print and save the ratios.

Each side runs in its own process and environment, on the same version of Python. A row is prepared on
both sides and timed in interleaved rounds (ours, peer, ours, peer ...), so that other load on the machine
affects both. The ratio is the peer's median time over ours; above 1 we are faster.

Usage: ``python run.py PEER_PYTHON [--rows GLOB] [--rounds N] [--seconds S] [--json FILE]``
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

from harness import Row, load_rows

from telstate import RDBWriter, TelescopeState
from telstate_testing import RedisServer, newest_binaries

HERE = Path(__file__).parent
SHARED_DATA = Path(os.environ.get("TELSTATE_SHARED_DATA", HERE.parents[1] / "shared" / "data"))
TEST_DATA = HERE.parent / "packages" / "telstate" / "tests" / "data"


class Worker:
    """One side, in its own process; use it as a context manager."""

    def __init__(self, name: str, python: str, settings: dict[str, str], folder: Path) -> None:
        command = [python, str(HERE / "harness.py"), name, json.dumps(settings), str(folder)]
        self.name = name
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, **request: object) -> dict[str, Any]:
        """Send a request (see `harness.serve`) and wait for the answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(
                f"The process of {self.name!r} ended at {request}. Its output is above."
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def spread(times: list[float]) -> float:
    """Return half the interquartile range of `times`, as a fraction of their median."""
    if len(times) < 4:
        return (max(times) - min(times)) / 2 / statistics.median(times)
    low, middle, high = statistics.quantiles(times, n=4)
    return (high - low) / 2 / middle


def compare(
    row: Row, ours: Worker, peer: Worker, rounds: int, seconds: float
) -> dict[str, float | str | bool | None]:
    """Time one row on both sides and return its results."""
    loops = {side: side.ask(prepare=row.title, seconds=seconds)["loops"] for side in (ours, peer)}
    times: dict[Worker, list[float]] = {ours: [], peer: []}
    for _ in range(rounds):
        for side, count in loops.items():
            if count:
                taken = side.ask(time=row.title, loops=count)["seconds"]
                times[side].append(taken / count)
    for side in (ours, peer):
        side.ask(drop=row.title)
    result: dict[str, float | str | bool | None] = {"row": row.title, "at_least": row.at_least}
    for side, measured in times.items():
        result[f"{side.name}_seconds"] = statistics.median(measured) if measured else None
        result[f"{side.name}_spread"] = spread(measured) if measured else None
    ratio = None
    if times[ours] and times[peer]:
        ratio = statistics.median(times[peer]) / statistics.median(times[ours])
    result["ratio"] = ratio
    result["met"] = None if ratio is None or row.at_least is None else ratio >= row.at_least
    return result


def duration(seconds: float | None) -> str:
    """Format a time with a suitable unit."""
    if seconds is None:
        return "-"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def line_of(result: dict[str, Any]) -> str:
    """Format one line of the table."""
    columns = [f"{result['row']:<58}"]
    for side in ("ours", "peer"):
        time, width = result[f"{side}_seconds"], result[f"{side}_spread"]
        columns.append(f"{duration(time):>8} {'' if width is None else f'±{width:.0%}':>5}")
    columns.append("     -" if result["ratio"] is None else f"{result['ratio']:>6.2f}")
    columns.append("    -" if result["at_least"] is None else f"{result['at_least']:>5g}")
    columns.append({None: "", True: "met", False: "MISSED"}[result["met"]])
    return "  ".join(columns).rstrip()


def versions(python: str) -> dict[str, str]:
    """Return the versions of what is installed for an interpreter."""
    code = (
        "import json, importlib.metadata as m;"
        "print(json.dumps({d.metadata['Name']: d.version for d in m.distributions()}))"
    )
    output = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(output.stdout)
    return {name: found[name] for name in sorted(found, key=str.lower)}


def snapshots(folder: Path) -> dict[str, str]:
    """Return the large snapshot, if there is one, and a copy that the peer can read."""
    path = SHARED_DATA / "telstate" / "m64-redis7.rdb"
    if not path.exists():
        return {}
    ts = TelescopeState()
    ts.load_from_file(path)
    with RDBWriter(folder / "version6.rdb") as writer:
        writer.save(ts)
    return {"snapshot": str(path), "snapshot_version_6": str(folder / "version6.rdb")}


def main() -> None:
    """Run the chosen rows, print the table and save the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peer_python", help="interpreter of the environment with katsdptelstate")
    parser.add_argument("--rows", default="*", help="run only rows whose title matches this glob")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--seconds", type=float, default=0.1, help="length of one round on one side"
    )
    parser.add_argument("--json", type=Path, default=HERE / "results" / "latest.json")
    arguments = parser.parse_args()
    rows = [row for row in load_rows().values() if fnmatch.fnmatch(row.title, arguments.rows)]
    if not rows:
        raise SystemExit(f"No row has a title that matches {arguments.rows!r}.")
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores; NumPy here "
        f"{metadata.version('numpy')}; {arguments.rounds} interleaved rounds, medians"
    )
    print(f"{'row':<58}  {'ours':>8} {'':>5}  {'peer':>8} {'':>5}  {'ratio':>6}  {'min':>5}")
    results = []
    with ExitStack() as stack:
        workers = []
        shared = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="telstate-")))
        common = {"test_data": str(TEST_DATA), **snapshots(shared)}
        for name, python in (("ours", sys.executable), ("peer", arguments.peer_python)):
            settings = dict(common)
            if newest_binaries():
                server = stack.enter_context(RedisServer(newest_binaries()[0]))
                settings["redis_url"] = server.url
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="telstate-")))
            workers.append(stack.enter_context(Worker(name, python, settings, folder)))
        for row in rows:
            result = compare(row, workers[0], workers[1], arguments.rounds, arguments.seconds)
            print(line_of(result), flush=True)
            results.append(result)
    report = {
        "python": platform.python_version(),
        "processor": platform.processor() or platform.machine(),
        "ours": versions(sys.executable),
        "peer": versions(arguments.peer_python),
        "rounds": arguments.rounds,
        "results": results,
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    missed = [result for result in results if result["met"] is False]
    print(
        f"{len(results)} rows, {len(missed)} below the required ratio; saved to {arguments.json.name}"
    )
    for result in missed:
        print(f"missed: {result['row']} ({result['ratio']:.2f}, required {result['at_least']:g})")


if __name__ == "__main__":
    main()
