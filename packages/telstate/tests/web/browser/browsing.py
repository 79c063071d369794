"""What tests of the page share: opening a page, and serving a store from a thread."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from playwright.sync_api import Page


class Visit(Protocol):
    """Opens a page, which is closed after the test."""

    def __call__(
        self,
        address: str,
        *,
        width: int = ...,
        height: int = ...,
        scheme: str = ...,
        may_fail: bool = ...,
    ) -> Page: ...


class Site:
    """The page over a store, served from a thread of this process at `url`."""

    def __init__(self, store: Any, **options: Any) -> None:
        import uvicorn

        from telstate.web import create_app

        app = create_app(store, **options)
        config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/"
        arguments = {"sockets": [self._socket]}
        self._thread = threading.Thread(target=self._server.run, kwargs=arguments)

    def __enter__(self) -> Site:
        # The socket listens already, so the first request waits until the server answers.
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()
