"""The command serve."""

from __future__ import annotations

import logging
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import click

from telstate.cli._store import StoreArgument, store_argument
from telstate.endpoint import Endpoint
from telstate_rdb.cli.output import Output, print_to

if TYPE_CHECKING:
    import asyncio

    from telstate.web._app import Pages

_BACKLOG = 128
_TOKEN_BYTES = 24
_GRACE = 2  # seconds for answers that are on their way when the command is interrupted
_MAX_CONNECTIONS = 1000
_HEAD_SECONDS = 20.0  # for the head of a request, so that idle connections do not take all places
_MAX_HEADERS = 1 << 18  # bytes; the names of keys are in the address of a request


@click.command()
@store_argument
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="The address to listen on. Beyond this machine, the page needs a token.",
)
@click.option(
    "--token",
    envvar="TELSTATE_TOKEN",
    show_envvar=True,
    help="The token that the page needs. Default: a new one where one is needed.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="A name by which browsers reach the page, such as that of a proxy; may be repeated.",
)
@click.option("--open", "opens", is_flag=True, help="Open the page in a browser.")
@print_to
def serve(
    store: StoreArgument,
    port: int,
    host: str,
    token: str | None,
    allowed_hosts: tuple[str, ...],
    opens: bool,
    output: Output,
) -> None:
    """Show a store as a web page, until interrupted.

    The page finds keys, shows values, and plots sensors; those of a server change as updates arrive. Nothing can be
    written through it. It can be reached from this machine only, unless --host says otherwise. With --view it lists
    the keys that begin with the prefix.

    \b
    Examples:
      telstate serve obs.rdb --open
      telstate serve localhost:6379 --port 8081
      telstate serve obs.rdb --host 0.0.0.0
    """
    from telstate.web._app import make_app  # which needs an extra

    if token == "":
        raise click.UsageError("--token is empty. Leave it out, or choose a long one.")
    with _listen(host, port) as listener, _open(store) as pages:
        address, port = listener.getsockname()[:2]
        is_local = ip_address(address).is_loopback
        if token is None and not is_local:
            token = secrets.token_urlsafe(_TOKEN_BYTES)
            fragment = f"#token={token}"
        else:
            fragment = ""
        if not is_local:
            allowed_hosts = (*allowed_hosts, host, socket.gethostname())
        is_any = ip_address(address).is_unspecified
        url = f"http://{Endpoint(socket.gethostname() if is_any else address, port)}/"
        output.write(f"{url}{fragment}\n")
        output.flush()
        app = make_app(pages, token, allowed_hosts)
        if opens:
            import webbrowser

            # Without the token, because other users see the arguments of a browser.
            webbrowser.open(url)
        _run(app, pages, listener)


@contextmanager
def _listen(host: str, port: int) -> Iterator[socket.socket]:
    """Listen on an address, before a long file is read."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise click.UsageError(f"{host!r} is not an address of this machine.") from error
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError as error:
            place = Endpoint(host, port)
            raise click.ClickException(
                f"Cannot listen on {place}: {error.strerror}. Choose another with --port or --host."
            ) from error
        yield listener


@contextmanager
def _open(store: StoreArgument) -> Iterator[Pages]:
    """Open a store, so that what is wrong with it is known before the page is served."""
    from telstate.web._app import Pages

    with store.open() as opened:
        if store.is_file:
            file = None if store.is_read_once or store.damaged else store.text
            yield Pages(opened.ts, opened.name, database=store.database, file=file)
            return
    yield Pages(store.text, opened.name, prefixes=store.prefixes, database=store.database)


def make_protocol() -> type[asyncio.Protocol]:
    """Return the protocol of HTTP of uvicorn, which alone would wait for requests for ever."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Protocol(H11Protocol):
        """A connection that is closed if no request arrives in time."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as there
            super().connection_made(transport)
            self._expect_request(self.cycle)

        def on_response_complete(self) -> None:
            answered = self.cycle
            super().on_response_complete()
            self._expect_request(answered)

        def _expect_request(self, answered: object) -> None:
            self.loop.call_later(_HEAD_SECONDS, self._close_without_request, answered)

        def _close_without_request(self, answered: object) -> None:
            if self.cycle is answered:  # each request has its own
                self.transport.close()

    return Protocol


def _run(app: Any, pages: Pages, listener: socket.socket) -> None:
    """Answer requests until a signal ends the process."""
    import uvicorn
    from sse_starlette.sse import AppStatus

    class Server(uvicorn.Server):
        """A server that ends streams in good order before it waits for answers that are on their way."""

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # Downloads that are cut off by the user are no errors.
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
            await pages.end_streams()
            await super().shutdown(sockets)

    # Which would cut streams off.
    AppStatus.enable_automatic_graceful_drain = False

    config = uvicorn.Config(
        app,
        loop="asyncio",
        http=make_protocol(),
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_graceful_shutdown=_GRACE,
        h11_max_incomplete_event_size=_MAX_HEADERS,
    )
    Server(config).run(sockets=[listener])
