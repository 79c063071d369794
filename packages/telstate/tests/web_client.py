"""The web page on a real server, in a thread, and a client of it."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import attrs
import uvicorn
from starlette.applications import Starlette

TIMEOUT = 60.0  # seconds after which a test fails because something hangs


@attrs.frozen
class Answer:
    """An answer of the server."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the content of an answer in JSON, which a browser must be able to parse."""
        return json.loads(self.body, parse_constant=_refuse)


def _refuse(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


@attrs.frozen
class Event:
    """An event of a stream."""

    name: str
    content: Any


class Stream:
    """A stream of events that is open."""

    def __init__(self, connection: http.client.HTTPConnection, path: str, host: str) -> None:
        self._connection = connection
        connection.request("GET", path, headers={"Host": host})
        self._response = connection.getresponse()
        self.status = self._response.status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._response.close()
        self._connection.close()

    def next(self) -> Event:
        """Return the next event."""
        fields: dict[str, str] = {}
        while line := self._response.readline().decode():
            name, _, value = line.rstrip("\r\n").partition(": ")
            if name:
                fields[name] = value
            elif "event" in fields:
                return Event(fields["event"], json.loads(fields["data"]))
        raise EOFError("The stream has ended.")

    def until(self, name: str, **wanted: Any) -> Any:
        """Return the content of the next event of a name, whose content has these items."""
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:  # heartbeats arrive even if it never does
            event = self.next()
            if event.name == name and wanted.items() <= event.content.items():
                return event.content
        raise TimeoutError(f"There was no event {name} with {wanted}.")


@attrs.frozen
class Client:
    """A client of the page."""

    port: int
    address: str = "127.0.0.1"

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Send a request; headers are named with underscores."""
        connection = http.client.HTTPConnection(self.address, self.port, timeout=TIMEOUT)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def get(self, path: str, *keys: str | bytes, **parameters: object) -> Answer:
        """Get a path below the root, with keys and other parameters."""
        return self.request("GET", f"/{path}{query(*keys, **parameters)}")

    def json(self, path: str, *keys: str | bytes, **parameters: object) -> Any:
        """Get an answer of the API, which must be a success."""
        answer = self.get(f"api/{path}", *keys, **parameters)
        assert answer.status == 200, answer
        return answer.json()

    def stream(self, *keys: str | bytes) -> Stream:
        """Open a stream of events of keys."""
        connection = http.client.HTTPConnection(self.address, self.port, timeout=TIMEOUT)
        return Stream(connection, f"/api/events{query(*keys)}", f"localhost:{self.port}")


def query(*keys: str | bytes, **parameters: object) -> str:
    """Return the query of a request."""
    pairs = [("key", key) for key in keys]
    pairs += [(name, str(value)) for name, value in parameters.items()]
    text = "&".join(f"{name}={quote(value, safe='')}" for name, value in pairs)
    return f"?{text}" if text else ""


@contextmanager
def serve(app: Starlette, address: str = "127.0.0.1", **options: Any) -> Iterator[Client]:
    """Serve an application in a thread."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((address, 0))
        config = uvicorn.Config(
            app,
            lifespan="on",
            log_level="critical",
            access_log=False,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=1 << 18,
            **options,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        try:
            while not server.started and thread.is_alive():
                thread.join(0.01)
            assert server.started
            yield Client(listener.getsockname()[1], address)
        finally:
            server.should_exit = True
            thread.join(TIMEOUT)
            assert not thread.is_alive()
