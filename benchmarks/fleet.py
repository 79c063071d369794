"""Simulate the clients of an observation on one server, and on a cluster of three masters with replicas.

One process for each antenna writes its sensors at the times of an observation (`telstate_testing.observations`),
or some times as fast. 1,000 asyncio clients in a few more processes read the latest sample of some sensor
once a second, wait for the next sample of one, or watch the pointing of all antennas. All is on loopback.

A pointing sample holds the time at which it was written, so waits and watches know how old it is when it
arrives. A watch must receive each exactly once.

Usage: ``python fleet.py [--seconds S] [--speeds 1,10,30] [--antennas N] [--json FILE]``
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from processes import Child, end_on_signals
from run import machine, versions

HERE = Path(__file__).parent
READERS, WAITERS, WATCHERS = 780, 200, 20
CLIENT_PROCESSES = 4
PATTERN = "m*_pos_actual_scan_*"
PERIOD = 2.0  # seconds between two samples of pointing
WARM_UP = 3.0  # seconds until a phase begins
DRAIN = 20.0  # seconds that updates may take to arrive after the last write


def private_memory() -> int:
    """Return the private memory of this process in bytes."""
    with open("/proc/self/smaps_rollup") as file:
        return sum(int(line.split()[1]) * 1024 for line in file if line.startswith("Private"))


def answer(**values: object) -> None:
    """Send an answer to the main process."""
    print(json.dumps(values), flush=True)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return the number of values, their median and 99th percentile, and the greatest."""
    if not values:
        return {"count": 0}
    ordered = sorted(values)
    names = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    last = len(ordered) - 1
    return {
        "count": len(ordered),
        **{name: ordered[round(at * last)] for name, at in names.items()},
    }


# ---------------------------------------------------------------------------------- writers


def write(url: str, antenna: int, antennas: int) -> None:
    """Be the process of an antenna; the first one writes what belongs to none, too."""
    from telstate import TelescopeState, TelstateError
    from telstate_testing.observations import START, observation

    ts = TelescopeState(url)
    ts.get("missing")
    memory = private_memory()
    name, shift = f"m{antenna:03}", random.Random(antenna).uniform(0, PERIOD)
    events = []
    for key, kind, content in observation(antennas if antenna == 0 else 1, 64, 1200):
        if kind != "mutable":
            continue
        if key.startswith("m000_"):
            key = name + key[4:]
        elif antenna != 0 or key.startswith("m0"):
            continue
        events += [(at + shift, key, value) for at, value in content]
    events.sort(key=lambda event: event[0])
    answer(memory=memory)
    position, played = 0, 0.0  # in seconds of the observation
    for line in sys.stdin:
        phase = json.loads(line)
        speed, start, seconds = phase["speed"], phase["start"], phase["seconds"]
        taken: list[float] = []
        late: list[float] = []
        errors: Counter[str] = Counter()
        pointing = 0
        while position < len(events):
            at, key, value = events[position]
            due = start + (at - START - played) / speed
            if due > start + seconds:
                break
            time.sleep(max(0.0, due - time.monotonic()))
            begin = time.monotonic()
            if begin > start + 2 * seconds:  # It is too slow ever to catch up.
                break
            is_pointing = "_pos_actual_scan_" in key
            try:
                ts.add(key, begin if is_pointing else value, ts=at)
            except TelstateError as error:
                errors[type(error).__name__] += 1
            else:
                pointing += is_pointing
                taken.append(time.monotonic() - begin)
                late.append(begin - due)
            position += 1
        played += seconds * speed
        while position < len(events) and events[position][0] - START < played:
            position += 1  # It was not written in time.
        answer(write=taken, late=late, pointing=pointing, errors=errors, cpu=time.process_time())


# ---------------------------------------------------------------------------------- clients


class Clients:
    """Many asyncio clients in one process, each with a connection of its own."""

    def __init__(self, url: str, index: int, antennas: int) -> None:
        self._url = url
        self._random = random.Random(index)
        self._antennas = antennas
        self._backends: list[Any] = []
        self._reads: list[float] = []
        self._waits: list[float] = []
        self._deliveries: list[float] = []
        self._received: list[Counter[tuple[str, float]]] = []
        self._errors: Counter[str] = Counter()
        self._is_on = asyncio.Event()

    async def connect(self) -> Any:
        """Return a new client."""
        from telstate.aio import TelescopeState
        from telstate.aio.redis import RedisBackend

        backend = await RedisBackend.from_url(self._url)
        self._backends.append(backend)
        ts = TelescopeState(backend)
        await ts.get("missing")
        return ts

    def _sensor(self) -> str:
        antenna = self._random.randrange(self._antennas)
        return f"m{antenna:03}_pos_actual_scan_{self._random.choice(('azim', 'elev'))}"

    async def read(self, ts: Any) -> None:
        """Read the latest sample of some sensor once a second."""
        while True:
            if not self._is_on.is_set():
                await self._is_on.wait()
                await asyncio.sleep(self._random.random())  # They do not read all at once.
            begin = time.monotonic()
            await ts.get(self._sensor())
            taken = time.monotonic() - begin
            self._reads.append(taken)
            await asyncio.sleep(max(0.0, 1 - taken))

    async def wait(self, ts: Any) -> None:
        """Wait for the next sample of a sensor, again and again."""
        key = self._sensor()
        while True:
            await self._is_on.wait()
            begin = time.monotonic()
            seen = []

            def is_new(value: Any, at: float | None) -> bool:
                if value > begin:
                    seen.append(time.monotonic() - value)
                return bool(seen)

            await ts.wait_key(key, is_new)
            self._waits.append(seen[0])

    async def watch(self, ts: Any) -> None:
        """Watch the pointing of all antennas."""
        from telstate import KeyUpdate

        received: Counter[tuple[str, float]] = Counter()
        self._received.append(received)
        async with ts.watch(patterns=[PATTERN]) as watch:
            self._entered.release()
            async for update in watch:
                if isinstance(update, KeyUpdate):
                    assert update.timestamp is not None
                    received[update.key, update.timestamp] += 1
                    self._deliveries.append(time.monotonic() - update.value)
                else:
                    self._errors["Reconnected"] += 1

    async def forever(self, work: Callable[[Any], Awaitable[None]], ts: Any) -> None:
        """Repeat work that fails, and count the errors."""
        from telstate import TelstateError

        while True:
            try:
                await work(ts)
            except TelstateError as error:
                self._errors[type(error).__name__] += 1

    async def run(self, readers: int, waiters: int, watchers: int) -> None:
        """Start the clients, and answer requests."""
        self._entered = asyncio.Semaphore(0)
        await (await self.connect()).get("missing")
        before = private_memory()
        tasks = []
        works = [self.read] * readers + [self.wait] * waiters + [self.watch] * watchers
        for work in works:
            tasks.append(asyncio.create_task(self.forever(work, await self.connect())))
        for _ in range(watchers):
            await self._entered.acquire()
        answer(memory=(private_memory() - before) / len(works))
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            request = json.loads(line)
            if "speed" in request:
                await self._take_part(request["start"], request["seconds"])
            else:
                await self._count(request["expected"])

    async def _take_part(self, start: float, seconds: float) -> None:
        """Be active in a phase."""
        for values in (self._reads, self._waits, self._deliveries):
            values.clear()
        self._received = [self._clear(received) for received in self._received]
        await asyncio.sleep(max(0.0, start - time.monotonic()))
        self._is_on.set()
        await asyncio.sleep(max(0.0, start + seconds - time.monotonic()))
        self._is_on.clear()
        answer(read=self._reads)

    @staticmethod
    def _clear(received: Counter[tuple[str, float]]) -> Counter[tuple[str, float]]:
        received.clear()
        return received

    async def _count(self, expected: int) -> None:
        """Wait for updates that are on their way, and report those that are missing or doubled."""
        end = time.monotonic() + DRAIN
        while time.monotonic() < end and any(len(one) < expected for one in self._received):
            await asyncio.sleep(0.05)
        answer(
            wait=self._waits,
            deliver=self._deliveries,
            lost=sum(expected - len(one) for one in self._received),
            doubled=sum(sum(one.values()) - len(one) for one in self._received),
            errors=self._errors,
            cpu=time.process_time(),
        )
        self._errors.clear()


# ---------------------------------------------------------------------------------- the whole


def share(count: int, index: int) -> int:
    """Return the part of a number of clients that one of the processes has."""
    return count // CLIENT_PROCESSES + (index < count % CLIENT_PROCESSES)


def start_children(stack: ExitStack, url: str, antennas: int, folder: Path) -> dict[str, Any]:
    """Start all processes, and return them and their memory per client."""

    def child(kind: str, *arguments: object) -> Child:
        command = [sys.executable, str(HERE / "fleet.py"), kind, url, *map(str, arguments)]
        return stack.enter_context(Child(f"{kind} {arguments}", command, folder))

    writers = [child("write", antenna, antennas) for antenna in range(antennas)]
    clients = [
        child("clients", n, antennas, *(share(all_, n) for all_ in (READERS, WAITERS, WATCHERS)))
        for n in range(CLIENT_PROCESSES)
    ]
    memories = [[one.receive()["memory"] for one in children] for children in (writers, clients)]
    return {
        "writers": writers,
        "clients": clients,
        "bytes for each process": sum(memories[0]) / antennas,
        "bytes for each asyncio client": sum(memories[1]) / CLIENT_PROCESSES,
    }


def run_phase(
    children: dict[str, Any], servers: Sequence[Any], speed: float, seconds: float
) -> dict[str, Any]:
    """Let all write, read, wait and watch at a speed, and return what was measured."""
    everyone = [*children["writers"], *children["clients"]]
    cpu_before = [cpu_seconds(server.process_id) for server in servers]
    start = time.monotonic() + WARM_UP
    for one in everyone:
        one.send(speed=speed, start=start, seconds=seconds)
    written = [one.receive() for one in children["writers"]]
    read = [one.receive() for one in children["clients"]]
    ended = time.monotonic()
    cpu = [cpu_seconds(s.process_id) - old for s, old in zip(servers, cpu_before)]
    for one in children["clients"]:
        one.send(expected=sum(each["pointing"] for each in written))
    received = [one.receive() for one in children["clients"]]

    def collected(answers: Sequence[dict[str, Any]], name: str) -> list[float]:
        return [value for each in answers for value in each[name]]

    writes = collected(written, "write")
    errors: Counter[str] = Counter()
    for each in [*written, *received]:
        errors.update(each["errors"])
    return {
        "speed": speed,
        "writes per second": len(writes) / max(seconds, ended - start),
        "writes": percentiles(writes),
        "late": percentiles(collected(written, "late")),
        "reads": percentiles(collected(read, "read")),
        "waits": percentiles(collected(received, "wait")),
        "deliveries": percentiles(collected(received, "deliver")),
        "deliveries per second": len(collected(received, "deliver")) / (time.monotonic() - start),
        "lost": sum(each["lost"] for each in received),
        "doubled": sum(each["doubled"] for each in received),
        "errors": errors,
        "cores of servers": sum(cpu) / (ended - start),
    }


def cpu_seconds(process_id: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run_fleet(
    url: str, servers: Sequence[Any], antennas: int, speeds: Sequence[float], seconds: float
) -> dict[str, Any]:
    """Run all phases on a store."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="telstate-fleet-")))
        children = start_children(stack, url, antennas, folder)
        phases = []
        for speed in speeds:
            phases.append(run_phase(children, servers, speed, seconds))
            print(json.dumps(phases[-1]), flush=True)
    memory = {name: value for name, value in children.items() if name.startswith("bytes")}
    return {**memory, "phases": phases}


def main() -> None:
    """Simulate the fleet on both stores, and save the results."""
    from telstate_testing import RedisServer, newest_binaries
    from telstate_testing.clusters import running_cluster

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=15, help="how long each phase is")
    parser.add_argument("--speeds", default="1,10,30", help="times as fast as an observation")
    parser.add_argument("--antennas", type=int, default=64)
    parser.add_argument("--note", default="", help="a sentence on the conditions, for the report")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "fleet.json")
    arguments = parser.parse_args()
    end_on_signals()
    speeds = [float(speed) for speed in arguments.speeds.split(",")]
    binary = newest_binaries()[0]
    report: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": machine(),
        "ours": versions(sys.executable),
        "server": str(binary),
        "conditions": arguments.note,
        "antennas": arguments.antennas,
        "clients": {"read": READERS, "wait": WAITERS, "watch": WATCHERS},
        "seconds": arguments.seconds,
    }
    with RedisServer(binary) as server:
        print("one server", flush=True)
        report["one server"] = run_fleet(
            server.url, [server], arguments.antennas, speeds, arguments.seconds
        )
    with running_cluster(binary, replicas=True, node_timeout=15_000) as servers:
        print("cluster", flush=True)
        places = ",".join(f"127.0.0.1:{server.port}" for server in servers[:3])
        report["cluster"] = run_fleet(
            f"redis+cluster://{places}", servers, arguments.antennas, speeds, arguments.seconds
        )
    report["load at the end"] = os.getloadavg()[0]
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        write(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    elif sys.argv[1:2] == ["clients"]:
        counts = map(int, sys.argv[5:])
        asyncio.run(Clients(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])).run(*counts))
    else:
        main()
