"""The routes of the page; each reads, and answers in JSON."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import attrs
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from telstate import aio
from telstate._connect import class_name, url_of
from telstate._open import names_snapshot, open_store
from telstate._sources import Source
from telstate._summaries import count_of
from telstate._texts import advise_on_options
from telstate.overview import describe_snapshot
from telstate.telescope_state import TelescopeState
from telstate.web import _content, _plots
from telstate.web._guard import LOOPBACK, Guard, Token, error_body
from telstate.web._live import Hub, Page
from telstate.web._reader import Reader, RequestError
from telstate_backends import (
    AsyncBackend,
    AsyncMemoryBackend,
    ConnectionError,
    Indexed,
    KeyType,
    Mutable,
    ServerVersion,
    TelstateError,
)
from telstate_codec import DecodeError, Key, PicklePolicy, encode_key
from telstate_codec.pickles import pickle_policy
from telstate_rdb.printable import escape_path

MAX_KEYS = 200
"""The most keys of a request."""

MAX_ROWS = 1000
"""The most rows of a table in one answer."""

MAX_CSV_KEYS = 32
"""The most sensors of a CSV file."""

MAX_DOWNLOADS = 4
"""The most files that are downloaded at the same time."""

DOWNLOAD_SECONDS = 600.0
"""Seconds after which a download is cut off."""

HEARTBEAT = 15
"""Seconds after which a stream without events has a heartbeat."""

_OVERVIEW_SECONDS = 10.0  # for which the overview of a live store is kept
_COMPRESS_FROM = 4096  # bytes of an answer
_STATIC = Path(str(files("telstate.web"))) / "static"
_NO_PAGE = b"""<!doctype html><meta charset="utf-8"><title>telstate</title>
<p>The page is missing from this installation. The answers are at <a href="api/store">api/store</a>.</p>
"""

Json: TypeAlias = dict[str, Any]


@attrs.frozen
class Parameters:
    """The parameters of a request, of which keys may be bytes that are not UTF-8."""

    pairs: Sequence[tuple[str, str]]

    @classmethod
    def of(cls, request: Request) -> Parameters:
        """Parse the query of a request."""
        query = request.scope["query_string"].decode("latin-1")
        try:
            pairs = parse_qsl(
                query, keep_blank_values=True, errors="surrogateescape", max_num_fields=2 * MAX_KEYS
            )
        except ValueError as error:
            raise RequestError(
                413, f"At most {MAX_KEYS} keys can be named in a request."
            ) from error
        return cls(pairs)

    def text(self, name: str, default: str = "") -> str:
        """Return a parameter."""
        return next((value for key, value in self.pairs if key == name), default)

    def keys(self, limit: int = MAX_KEYS) -> list[str]:
        """Return the keys that are named, each once."""
        found = list(dict.fromkeys(value for key, value in self.pairs if key == "key"))
        if not found:
            raise RequestError(400, "The parameter key is missing.")
        if len(found) > limit:
            keys = count_of(limit, "key")
            raise RequestError(413, f"At most {keys} can be named in this request.")
        return found

    def key(self) -> str:
        """Return the one key that is named."""
        return self.keys(1)[0]

    def number(self, name: str, default: float) -> float:
        """Return a number, which may be infinite but not NaN."""
        text = self.text(name)
        try:
            value = float(text) if text else default
        except ValueError:
            value = math.nan
        if math.isnan(value):
            raise RequestError(400, f"The parameter {name} is not a number.")
        return value

    def count(self, name: str, default: int, limit: int) -> int:
        """Return a number of items from 0 to a limit."""
        value = self.number(name, default)
        if not 0 <= value <= limit or value != int(value):
            raise RequestError(400, f"The parameter {name} is not a whole number up to {limit}.")
        return int(value)

    def span(self) -> tuple[float, float]:
        """Return the range of time."""
        begin, end = self.number("start", -math.inf), self.number("end", math.inf)
        if begin >= end:
            raise RequestError(400, "The range is empty: end is not after start.")
        return begin, end


class Pages:
    """What answers the requests of all pages."""

    def __init__(
        self,
        store: TelescopeState | aio.TelescopeState | Source,
        name: str | None = None,
        *,
        prefixes: Iterable[Key] = ("",),
        database: int | None = None,
        live: bool | None = None,
        file: Source | None = None,
    ) -> None:
        is_named = not isinstance(store, TelescopeState | aio.TelescopeState)
        if is_named and file is None and isinstance(store, str | os.PathLike):
            file = store
        self._store = store
        self._prefixes: tuple[Key, ...] = tuple(prefixes)
        self._database = database
        self._live = live
        self._name = name
        #: The file that was read, if it can be read again.
        self._file = file
        self._opening = asyncio.Lock()
        self._reader: Reader | None = None
        self._hub: Hub | None = None
        self._opened: AsyncBackend | None = None
        self._writer: str | None = None
        self._overview: tuple[float, Json] | None = None
        self._describing = asyncio.Lock()
        self._plotly: bytes | None = None
        self._downloads = 0

    # Opening

    async def reader(self) -> Reader:
        """Return the reader; the first request opens a store that is not open."""
        async with self._opening:
            if self._reader is None:
                self._reader = await self._open()
        return self._reader

    async def _open(self) -> Reader:
        store = self._store
        if isinstance(store, TelescopeState):
            memory = store.backend.store
            assert memory is not None  # `create_app` has checked it
            backend: AsyncBackend = AsyncMemoryBackend(memory)
        elif isinstance(store, aio.TelescopeState):
            backend = store.backend
        elif names_snapshot(store):
            ts = await asyncio.to_thread(open_store, store, database=self._database)
            assert ts.backend.store is not None
            backend = self._opened = AsyncMemoryBackend(ts.backend.store)
        else:
            assert isinstance(store, str)
            from telstate_backends import AsyncRedisBackend  # which imports redis-py

            backend = await AsyncRedisBackend.from_url(url_of(store), self._database)
            self._opened = backend
        if self._live is None:
            self._live = backend.store is None
        if self._name is None and isinstance(store, str | os.PathLike):
            self._name = escape_path(os.fspath(store))
        if isinstance(store, TelescopeState | aio.TelescopeState):
            self._prefixes = store.prefixes
        reader = Reader(backend, [encode_key(prefix) for prefix in self._prefixes if prefix])
        if self._live:
            self._hub = Hub(reader)
        return reader

    async def close(self) -> None:
        """Close what was opened here."""
        await self.end_streams()
        if self._reader is not None:
            self._reader.close()
        if self._opened is not None:
            self._opened.close()
            await self._opened.wait_closed()

    async def end_streams(self) -> None:
        """End the streams of events."""
        if self._hub is not None:
            await self._hub.close()

    # Routes

    async def store(self, reader: Reader, _: Parameters) -> Json:
        """What the store is."""
        kinds = await reader.kinds()
        if self._writer is None:
            self._writer = await self._find_server(reader)
        return {
            "name": self._name or reader.backend.address or "memory",
            "live": self._live,
            "server": self._writer or None,
            "keys": len(kinds),
            "allow_pickle": pickle_policy(None) is not PicklePolicy.REFUSE,
            "version": version("telstate"),
            "plotly": version("plotly"),
            "now": time.time(),
        }

    async def _find_server(self, reader: Reader) -> str:
        try:
            return await reader.execute(ServerVersion()) or ""
        except TelstateError:  # not permitted; if it is down, other operations say so
            return ""

    async def overview(self, reader: Reader, parameters: Parameters) -> Json:
        """What the store holds in all."""
        if self._overview is not None and self._describing.locked():
            return self._overview[1]  # soon there is a newer one
        async with self._describing:
            now = time.monotonic()
            if self._overview is not None and (
                not self._live or now - self._overview[0] < _OVERVIEW_SECONDS
            ):
                return self._overview[1]
            summaries = await reader.summaries(list(await reader.kinds()))
            about = await self.store(reader, parameters)
            found = await reader.compute(_content.overview_to_json, summaries, about["server"])
            targets = []
            for sensor in _content.target_sensors(summaries, found["antennas"])[:3]:
                try:
                    members = await reader.members(sensor.name, -math.inf, math.inf, False)
                    targets.append(
                        await reader.compute(_content.targets_to_json, sensor.name, members)
                    )
                except (RequestError, DecodeError):  # too long, or a pickle
                    continue
            found |= {"store": about, "targets": targets, "snapshot": None}
            if isinstance(self._file, str | os.PathLike) and os.path.isfile(self._file):
                described = await reader.compute(describe_snapshot, self._file, self._database)
                found["snapshot"] = _content.snapshot_to_json(described)
            self._overview = now, found
            return found

    async def keys(self, reader: Reader, _: Parameters) -> Json:
        """The names and kinds of all keys, and their tree."""
        return await reader.compute(_content.list_keys, await reader.kinds())

    async def summary(self, reader: Reader, parameters: Parameters) -> Json:
        """A line about each of some keys."""
        keys = [encode_key(key) for key in parameters.keys()]
        return {"keys": list(map(_content.summary_to_json, await reader.summaries(keys)))}

    async def value(self, reader: Reader, parameters: Parameters) -> Json:
        """The value of an attribute, or the latest one of a sensor."""
        key = parameters.key()
        found = await reader.contents(key)
        if isinstance(found, Indexed):
            return await reader.compute(_content.list_sub_keys, found.items, 0, MAX_ROWS)
        kind, moment = KeyType.IMMUTABLE, None
        if isinstance(found, Mutable):
            kind, moment = KeyType.MUTABLE, found.timestamp
        part = parameters.text("part")
        return await reader.compute(_content.describe_contents, kind, found.value, moment, part)

    async def samples(self, reader: Reader, parameters: Parameters) -> Json:
        """Some of the samples of a sensor."""
        key, span = parameters.key(), parameters.span()
        offset = parameters.count("offset", 0, 1 << 53)
        limit = parameters.count("limit", MAX_ROWS, MAX_ROWS)
        members, total = await reader.page_of_samples(key, *span, offset, limit)
        return await reader.compute(_content.list_samples, members, total, offset)

    async def indexed(self, reader: Reader, parameters: Parameters) -> Json:
        """Some of the sub-keys of an indexed key."""
        key = parameters.key()
        found = await reader.contents(key)
        if not isinstance(found, Indexed):
            raise RequestError(400, f"Key {key!r} is not indexed.")
        offset = parameters.count("offset", 0, 1 << 53)
        limit = parameters.count("limit", MAX_ROWS, MAX_ROWS)
        return await reader.compute(_content.list_sub_keys, found.items, offset, limit)

    async def plot(self, reader: Reader, parameters: Parameters) -> Json:
        """What to draw of a sensor."""
        key, (begin, end) = parameters.key(), parameters.span()
        width = max(1, parameters.count("width", 1000, _plots.MAX_WIDTH))
        try:
            found = await reader.samples(key, begin, end)
        except DecodeError as error:
            return {"type": "none", "why": advise_on_options(str(error)), "n": 0, "key": key}
        begin, end = _plots.window(begin, end, found.first, found.last)
        part = parameters.text("part")
        drawn = await reader.compute(_plots.plot_of, found.sensor, begin, end, width, part)
        return drawn | {"key": key, "first": found.first, "last": found.last}

    async def csv(self, request: Request) -> Response:
        """The samples of sensors as a file."""
        reader, parameters = await self.reader(), Parameters.of(request)
        names, span = parameters.keys(MAX_CSV_KEYS), parameters.span()

        if self._downloads >= MAX_DOWNLOADS:
            raise RequestError(503, f"{MAX_DOWNLOADS} files are being downloaded. Try again later.")

        async def read() -> Iterator[bytes]:
            if len(names) == 1 and (await reader.preview(names[0])).kind is KeyType.INDEXED:
                contents = await reader.contents(names[0])
                assert isinstance(contents, Indexed)
                return _content.write_items(contents.items)
            return _content.write_csv(names, await reader.members_of_all(names, *span))

        self._downloads += 1
        try:
            rows = await reader.work(read)
        except BaseException:
            self._downloads -= 1
            raise
        return _Download(rows, self._end_download)

    def _end_download(self) -> None:
        self._downloads -= 1

    async def events(self, request: Request) -> Response:
        """What happens to keys from now on, as server-sent events; nothing, of an archive."""
        await self.reader()
        hub = self._hub
        if hub is None or request.method == "HEAD":
            return Response(status_code=204)
        parameters = Parameters.of(request)
        keys = parameters.keys() if parameters.text("key") else []
        page = hub.open(map(encode_key, keys))
        return EventSourceResponse(
            _stream(hub, page),
            ping=HEARTBEAT,
            ping_message_factory=lambda: ServerSentEvent(event="heartbeat", data="{}"),
        )

    async def index(self, request: Request) -> Response:
        """The page."""
        path = _STATIC / "index.html"
        headers = {"cache-control": "no-cache"}
        if path.is_file():
            return FileResponse(path, media_type="text/html; charset=utf-8", headers=headers)
        return Response(_NO_PAGE, media_type="text/html; charset=utf-8", headers=headers)

    async def plotly(self, request: Request) -> Response:
        """The script of Plotly, from its Python package."""
        number = version("plotly")
        tag = f'"plotly-{number}"'
        is_versioned = request.query_params.get("v") == number
        headers = {
            "etag": tag,
            "vary": "accept-encoding",
            "cache-control": "public, max-age=31536000, immutable" if is_versioned else "no-cache",
        }
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        path = _plotly_script()
        if not _takes_gzip(request):
            return FileResponse(path, media_type="text/javascript", headers=headers)
        if self._plotly is None:
            content = await asyncio.to_thread(path.read_bytes)
            self._plotly = await asyncio.to_thread(gzip.compress, content, 6)
        headers["content-encoding"] = "gzip"
        return Response(self._plotly, media_type="text/javascript", headers=headers)

    def route(self, path: str, answer: Callable[[Reader, Parameters], Awaitable[Json]]) -> Route:
        """Return the route for what is answered in JSON."""

        async def endpoint(request: Request) -> Response:
            reader, parameters = await self.reader(), Parameters.of(request)
            if self._hub is not None and self._hub.is_lost:
                raise RequestError(503, self._hub.trouble or "The server cannot be reached.")

            async def job() -> Response:
                content = await answer(reader, parameters)
                return await reader.compute(_respond, content, _takes_gzip(request))

            return await reader.work(job)

        return Route(f"/api/{path}", endpoint)

    def routes(self) -> list[Route | Mount]:
        """Return all routes."""
        named = ("store", "overview", "keys", "summary", "value", "samples", "indexed", "plot")
        return [
            Route("/", self.index),
            *(self.route(name, getattr(self, name)) for name in named),
            Route("/api/csv", self.csv),
            Route("/api/events", self.events),
            Route("/static/plotly.min.js", self.plotly),
            Mount("/static", StaticFiles(directory=_STATIC, check_dir=False)),
        ]


def _plotly_script() -> Path:
    """Return where the script of Plotly is, without importing its package, which is slow."""
    spec = find_spec("plotly")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "package_data" / "plotly.min.js"


class _Download(StreamingResponse):
    """A file in CSV; when it has been sent or given up, `end` is called."""

    def __init__(self, rows: Iterator[bytes], end: Callable[[], None]) -> None:
        headers = {"content-disposition": 'attachment; filename="telstate.csv"'}
        super().__init__(rows, media_type="text/csv; charset=utf-8", headers=headers)
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file."""
        try:
            async with asyncio.timeout(DOWNLOAD_SECONDS):
                await super().__call__(scope, receive, send)
        finally:
            self._end()


async def _stream(hub: Hub, page: Page) -> AsyncIterator[ServerSentEvent]:
    """Yield the events of a page."""
    try:
        async for messages in page.messages():
            for name, content in messages:
                yield ServerSentEvent(event=name, data=_to_text(content))
    finally:
        hub.leave(page)


def _takes_gzip(request: Request) -> bool:
    return "gzip" in request.headers.get("accept-encoding", "")


def _respond(content: Json, takes_gzip: bool) -> Response:
    """Return an answer in JSON."""
    body = _to_text(content).encode()
    headers = {}
    if takes_gzip and len(body) >= _COMPRESS_FROM:
        body = gzip.compress(body, 1)
        headers["content-encoding"] = "gzip"
    return Response(body, media_type="application/json", headers=headers)


def _to_text(content: Json) -> str:
    """Return JSON, in which times of a corrupt store that are infinite or NaN are null."""
    try:
        return json.dumps(content, allow_nan=False, separators=(",", ":"))
    except ValueError:
        text = json.dumps(content)
        return json.dumps(json.loads(text, parse_constant=lambda _: None), separators=(",", ":"))


def _error(status: int, message: str) -> Response:
    headers = {"retry-after": "5"} if status == 503 else {}
    return Response(error_body(message), status, headers, "application/json")


async def _answer_request_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return _error(error.status, str(error))


async def _answer_telstate_error(request: Request, error: Exception) -> Response:
    """Answer with the message of an error of the store, or of a file."""
    return _error(503 if isinstance(error, ConnectionError) else 500, str(error))


def create_app(
    store: TelescopeState | aio.TelescopeState | Source,
    *,
    token: str | None = None,
    allowed_hosts: Iterable[str] = (),
    prefixes: Iterable[Key] = ("",),
    database: int | None = None,
    name: str | None = None,
    live: bool | None = None,
) -> Starlette:
    """Return the web page over a telescope state as an ASGI application; needs the extra ``web``.

    The page shows keys, values and plots, and updates as they arrive. It only reads: no route writes, and no
    operation that writes is ever executed. ``telstate serve`` runs this application.

    Parameters
    ----------
    store
        What is shown: a snapshot or a server, as `open_store` takes it, which is opened when the application
        starts (or else by the first request) and closed when it ends; or a telescope state that is open, of
        asyncio, or in memory. Of a telescope state on a server, the application must run in its event loop.
    token
        What a page must know before it is answered. The page takes it from the fragment of its address
        (``#token=...``), or asks for it, and is given a cookie then. Default: none is needed.
    allowed_hosts
        The names, besides those of loopback, by which browsers reach the page: requests with another
        ``Host`` header are refused, so that a page elsewhere cannot read this one by DNS rebinding. The address
        at which a connection arrives is always allowed.
    prefixes
        The view, as for `open_store`: only keys that begin with one of these are listed. A telescope state
        that is open has its own. Default: all keys.
    database
        The database, as for `open_store`.
    name
        What the page calls the store. Default: its path, or its address without a password.
    live
        Whether keys may change, so that pages follow them. Default: whether it is on a server.

    Returns
    -------
    app : starlette.applications.Starlette
        The application. It can be mounted in another one; whether the lifespan of that one includes this one's
        depends on the framework.

    Raises
    ------
    TypeError
        If `store` is a synchronous telescope state on a server.
    ValueError
        If `token` is empty.

    Notes
    -----
    What requests may cost is limited. A request is refused (status 413) that would read more than 5,000,000
    samples or 128 MiB of them, a value or an indexed key of more than 64 MiB, or more than 200 keys. Tables have
    at most 1000 rows in an answer, plots 4096 columns or 4000 bands, images 512 x 512 pixels. Four requests are
    answered at a time, at most 100 more wait, none longer than 30 seconds (status 503). Four files in CSV can be
    downloaded at a time, each within 10 minutes, and 100 pages can be open for updates, each of which is sent the
    latest value of a key five times a second at most. Up to 256 MiB of
    decoded samples are kept, so that zooming is quick.

    Pickled values are read as `set_allow_pickle` says; by default they are not.

    Examples
    --------
    >>> from telstate import TelescopeState
    >>> from telstate.web import create_app
    >>> ts = TelescopeState()
    >>> ts["n_chans"] = 4096
    >>> app = create_app(ts, token="a long secret", allowed_hosts=["telstate.example.org"])
    >>> sorted(route.path for route in app.routes)[:3]
    ['/', '/api/csv', '/api/events']
    """
    if isinstance(store, TelescopeState) and store.backend.store is None:
        raise TypeError(
            f"A {class_name(store)} on a server blocks. Pass its URL, or a telstate.aio.TelescopeState."
        )
    pages = Pages(store, name, prefixes=prefixes, database=database, live=live)
    return make_app(pages, token, allowed_hosts)


def make_app(pages: Pages, token: str | None, hosts: Iterable[str]) -> Starlette:
    """Return the application that answers with some pages."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await pages.reader()
        try:
            yield
        finally:
            await pages.close()

    guard = Middleware(
        Guard, hosts=(*LOOPBACK, *hosts), token=None if token is None else Token(token)
    )
    return Starlette(
        routes=pages.routes(),
        middleware=[guard],
        lifespan=lifespan,
        exception_handlers={
            RequestError: _answer_request_error,
            TelstateError: _answer_telstate_error,
        },
    )
