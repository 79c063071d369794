"""A proxy on loopback that delays what it forwards and counts connections and round trips.

``python proxy.py PORT SECONDS`` forwards to a server on this host; an exchange takes `SECONDS` longer, and
so does the first one of a connection once more, as connecting does on a network. It prints its port, then
for each line on standard input the counts since the last one as JSON, and ends with standard input.

A round trip is counted where a client sends something after it received something.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CHUNK = 1 << 20


class Proxy:
    """What is forwarded and counted."""

    def __init__(self, port: int, delay: float) -> None:
        self._port = port
        self._delay = delay
        self._counts = {"connections": 0, "round trips": 0}

    async def serve(self) -> None:
        """Forward until standard input ends."""
        server = await asyncio.start_server(self._forward, "127.0.0.1", 0, backlog=4096)
        print(server.sockets[0].getsockname()[1], flush=True)
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, sys.stdin.readline):
            print(json.dumps(self._counts), flush=True)
            self._counts = dict.fromkeys(self._counts, 0)

    async def _forward(
        self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        self._counts["connections"] += 1
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._port)
        is_answered = [True]
        await asyncio.gather(
            self._copy(from_client, to_server, is_answered, 1.5 * self._delay, is_request=True),
            self._copy(from_server, to_client, is_answered, 0, is_request=False),
        )

    async def _copy(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        is_answered: list[bool],
        first: float,
        is_request: bool,
    ) -> None:
        """Copy one direction; the first delay is that of connecting."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def write() -> None:
            while True:
                due, data = await queue.get()
                await asyncio.sleep(due - loop.time())
                if not data:
                    target.close()
                    return
                target.write(data)

        writing = asyncio.create_task(write())
        earliest = loop.time() + first
        data = b"-"
        while data:
            try:
                data = await source.read(CHUNK)
            except ConnectionError:
                data = b""
            if is_request and data and is_answered[0]:
                self._counts["round trips"] += 1
            if data:
                is_answered[0] = not is_request
            earliest = max(earliest, loop.time() + self._delay / 2)
            queue.put_nowait((earliest, data))
        await writing


class DelayedServer:
    """A proxy in a process of its own, for a server at a URL; it ends with this process."""

    def __init__(self, url: str, seconds: float) -> None:
        port = url.rpartition(":")[2]
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), port, str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url = f"redis://127.0.0.1:{int(self._line())}"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def take_counts(self) -> dict[str, float]:
        """Return the counts since the last call."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        counts: dict[str, Any] = json.loads(self._line())
        return counts


if __name__ == "__main__":
    try:
        asyncio.run(Proxy(int(sys.argv[1]), float(sys.argv[2])).serve())
    except KeyboardInterrupt:
        pass
