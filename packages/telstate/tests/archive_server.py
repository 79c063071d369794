"""A server of files on the loopback interface that fails in the ways in which archives do.

Each request takes the next fault of a list; without one it is answered properly, with a part of the file
if that is requested. Requests are recorded, with their headers.
"""

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self, TypeAlias

TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJwcmVmaXgiOlsiMSJdfQ.c2VjcmV0"

Fault: TypeAlias = "Callable[[Handler], None]"


class ArchiveServer:
    """Serves files by their paths: a context manager."""

    def __init__(
        self,
        files: dict[str, bytes],
        faults: Iterable[Fault] = (),
        *,
        token: str | None = None,
        resumes: bool = True,
        certificate: str | None = None,
        handler: "type[Handler] | None" = None,
    ) -> None:
        self.files = files
        self.faults = list(faults)
        self.token = token
        self.resumes = resumes
        self.requests: list[tuple[str, Message]] = []
        #: Is set when the server ends, which a request that hangs waits for.
        self.ends = threading.Event()
        self._server = _Server(self, handler or Handler)
        self._scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    @property
    def ranges(self) -> list[str | None]:
        """The part of the file that each request was for."""
        return [headers["Range"] for _, headers in self.requests]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.ends.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing the server waits for its requests

    def __init__(self, archive: ArchiveServer, handler: "type[Handler]") -> None:
        self.archive = archive
        super().__init__(("127.0.0.1", 0), handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing when a client goes away."""


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        """Record a request, and answer it or fail."""
        archive = self.server.archive
        archive.requests.append((self.path, self.headers))
        self.close_connection = True
        if archive.faults:
            archive.faults.pop(0)(self)
        else:
            self.answer()

    do_HEAD = do_GET

    def answer(self) -> None:
        """Send the file, if there is one and the token is right."""
        archive = self.server.archive
        if archive.token is not None and self.headers["Authorization"] != f"Bearer {archive.token}":
            status(401)(self)
        elif self.content is None:
            status(404)(self)
        else:
            self.wfile.write(self.send_head())

    @property
    def content(self) -> bytes | None:
        """The whole file that is requested."""
        return self.server.archive.files.get(self.path.partition("?")[0])

    def send_head(self) -> bytes:
        """Send the status and the headers for the file, or for the rest of it; return the body."""
        content = self.content or b""
        start = 0
        entity = f'"{hash(content)}"'
        wanted = self.headers["Range"]
        if self.server.archive.resumes and wanted and self.headers["If-Range"] == entity:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if self.server.archive.resumes:
            self.send_header("ETag", entity)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        return content[start:]

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def status(code: int, **headers: str) -> Fault:
    """Answer with a status and no file."""

    def answer(handler: Handler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def truncate(size: int) -> Fault:
    """Close the connection after so many bytes of the body."""

    def answer(handler: Handler) -> None:
        handler.wfile.write(handler.send_head()[:size])

    return answer


def reset(size: int) -> Fault:
    """Reset the connection after so many bytes of the body."""

    def answer(handler: Handler) -> None:
        handler.wfile.write(handler.send_head()[:size])
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.rfile.close()
        handler.wfile.close()
        handler.connection.close()

    return answer


def hang(size: int) -> Fault:
    """Send nothing more after so many bytes of the body."""

    def answer(handler: Handler) -> None:
        handler.wfile.write(handler.send_head()[:size])
        handler.server.archive.ends.wait()

    return answer


def truncate_chunks(size: int) -> Fault:
    """Close the connection in the middle of a body whose length was not announced."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        part = (handler.content or b"")[:size]
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))

    return answer


def hang_up(handler: Handler) -> None:
    """Close the connection without an answer."""
