"""Time our packages and katsdptelstate side by side, and print and save the results.

Each side runs in its own process and environment, on the same version of Python, and has a server of its
own. A row is prepared on both sides and timed in interleaved rounds (ours, peer, ours, peer ...), so that
other load on the machine affects both. The ratio is the peer's median over ours; above 1 we are faster.

Usage: ``python run.py PEER_PYTHON [--quick] [--rows GLOB] [--rounds N] [--seconds S] [--json FILE] [--update]``

`--quick` runs small rows briefly, to show that all of them work. `report.py` makes the documentation of a
JSON file. An interrupted run (SIGINT, SIGTERM) ends all its processes and removes its files.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fnmatch
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from typing import Any

from harness import Row, load_rows
from processes import Child, ChildError, end_on_signals
from report import Result, line_of, title_line

from telstate_testing import RedisServer, newest_binaries

HERE = Path(__file__).parent
TEST_DATA = HERE.parent / "packages" / "telstate" / "tests" / "data"
# A watch of an older server is disconnected for falling behind; rows write faster than anybody reads.
SERVER_OPTIONS = ("--client-output-buffer-limit", "pubsub 0 0 0")


def spread(values: list[float]) -> float:
    """Return half the interquartile range, as a fraction of the median."""
    if len(values) < 4:
        return (max(values) - min(values)) / 2 / statistics.median(values)
    low, middle, high = statistics.quantiles(values, n=4)
    return (high - low) / 2 / middle


def compare(row: Row, sides: list[Child], rounds: int, seconds: float) -> Result:
    """Time one row on both sides and return its results."""
    prepared = {side: side.ask(prepare=row.title, seconds=seconds) for side in sides}
    values: dict[Child, list[float]] = {side: [] for side in sides}
    counts: dict[Child, dict[str, float]] = {side: {} for side in sides}
    for _ in range(min(rounds, row.rounds or rounds)):
        for side in sides:
            if "loops" in prepared[side]:
                answer = side.ask(time=row.title, loops=prepared[side]["loops"])
                values[side].append(answer["value"])
                counts[side] = answer["counts"]
    result: Result = {"row": row.title, "unit": row.unit, "at_least": row.at_least}
    if row.group:
        result |= {"group": row.group, "size": row.size}
    for side in sides:
        side.ask(drop=row.title)
        measured = values[side]
        result[side.name] = statistics.median(measured) if measured else None
        result[f"{side.name}_spread"] = spread(measured) if measured else None
        result[f"{side.name}_counts"] = counts[side]
        result[f"{side.name}_lacks"] = prepared[side].get("lacks", "")
    ours, peer = result["ours"], result["peer"]
    result["ratio"] = peer / ours if ours and peer else None
    return result


def versions(python: str) -> dict[str, str]:
    """Return the versions of what is installed for an interpreter."""
    code = (
        "import json, importlib.metadata as m;"
        "print(json.dumps({d.metadata['Name']: d.version for d in m.distributions()}))"
    )
    output = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(output.stdout)
    return {name: found[name] for name in sorted(found, key=str.lower)}


def machine() -> dict[str, Any]:
    """Return what is known of this machine, and of what else it is doing."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
        "load": os.getloadavg()[0],
    }


@contextlib.contextmanager
def both_sides(peer_python: str, quick: bool) -> Iterator[list[Child]]:
    """Start both sides, ours first; at the end their processes, servers and files are gone."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="telstate-bench-")))
        workers = []
        for name, python in (("ours", sys.executable), ("peer", peer_python)):
            settings = {
                "test_data": str(TEST_DATA),
                "shared": str(folder),
                "quick": "yes" if quick else "",
            }
            if newest_binaries():
                server = stack.enter_context(RedisServer(newest_binaries()[0], SERVER_OPTIONS))
                settings["redis_url"] = server.url
            own = folder / name
            own.mkdir()
            command = [python, str(HERE / "harness.py"), name, json.dumps(settings), str(own)]
            workers.append(stack.enter_context(Child(name, command, own)))
        yield workers


def main() -> None:
    """Run the chosen rows, print the table and save the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peer_python", help="interpreter of the environment with katsdptelstate")
    parser.add_argument("--rows", default="*", help="run only rows whose title matches this glob")
    parser.add_argument("--quick", action="store_true", help="run small rows, briefly")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.1, help="of one round on one side")
    parser.add_argument("--note", default="", help="a sentence on the conditions, for the report")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "latest.json")
    parser.add_argument("--update", action="store_true", help="replace only these rows in the file")
    arguments = parser.parse_args()
    end_on_signals()
    rounds, seconds = (1, 0.001) if arguments.quick else (arguments.rounds, arguments.seconds)
    rows = [
        # In a quick run, the first call of everything is timed.
        dataclasses.replace(row, at_least=None) if arguments.quick else row
        for row in load_rows().values()
        if fnmatch.fnmatch(row.title, arguments.rows) and (row.is_quick or not arguments.quick)
    ]
    if not rows:
        raise SystemExit(f"No row has a title that matches {arguments.rows!r}.")
    report: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": machine(),
        "python": platform.python_version(),
        "server": str(newest_binaries()[0]) if newest_binaries() else None,
        "ours": versions(sys.executable),
        "peer": versions(arguments.peer_python),
        "rounds": rounds,
        "conditions": arguments.note,
    }
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores; NumPy here "
        f"{metadata.version('numpy')}; {rounds} interleaved rounds, medians"
    )
    print(title_line())
    results: list[Result] = []
    failed: list[str] = []
    with both_sides(arguments.peer_python, arguments.quick) as sides:
        for row in rows:
            try:
                result = compare(row, sides, rounds, seconds)
            except ChildError as error:
                print(f"FAILED: {row.title}: {error}", flush=True)
                failed.append(row.title)
                continue
            print(line_of(result), flush=True)
            results.append(result)
    if arguments.update:
        earlier = json.loads(arguments.json.read_text())
        found = {one["row"]: one for one in [*earlier["results"], *results]}
        report = earlier
        results = [found[title] for title in load_rows() if title in found]
    report |= {"load at the end": os.getloadavg()[0], "results": results}
    report["conditions"] = arguments.note or report["conditions"]
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=1) + "\n")
    slower = [result for result in results if (result["ratio"] or 1) < (result["at_least"] or 0)]
    print(
        f"{len(results)} rows, {len(slower)} below the required ratio; saved to {arguments.json.name}"
    )
    for result in slower:
        print(f"missed: {result['row']} ({result['ratio']:.2f}, required {result['at_least']:g})")
    if failed:
        raise SystemExit(f"These rows failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
