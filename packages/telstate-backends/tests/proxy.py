"""A TCP proxy that can drop data and close connections."""

from __future__ import annotations

import socket
import threading
import time
from types import TracebackType


class Proxy:
    """A proxy to a loopback port, as a context manager.

    Attributes
    ----------
    port : int
        The port on which it listens.
    swallow : bool
        While true, all data are dropped, in both directions, and connections stay open.
    isolated : str
        While set, this is so for the connections from this host.
    cut_after : int or None
        If set, the next connection is closed after this many bytes of replies.
    delay : float
        Seconds by which replies are delayed.
    drip_from : int or None
        If set, replies on the connections from this number on (the first is 0) come one byte at a time, with
        `delay` before each.
    replace : pair of bytes or None
        If set, the first of them is replaced by the second in replies.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.swallow = False
        self.isolated = ""
        self.cut_after: int | None = None
        self.delay = 0.0
        self.drip_from: int | None = None
        self.replace: tuple[bytes, bytes] | None = None
        #: The number of connections that have been accepted.
        self.accepted = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def cut(self) -> None:
        """Close every connection."""
        for each in self._sockets:
            _shut(each)

    def _accept(self) -> None:
        while True:
            try:
                client, peer = self._listener.accept()
            except OSError:
                return
            number = self.accepted
            self.accepted += 1
            try:
                server = socket.create_connection(("127.0.0.1", self.target_port))
            except OSError:
                client.close()
                continue
            self._sockets += [client, server]
            self._start(self._pump, client, server, None, peer[0])
            self._start(self._pump, server, client, number, peer[0])

    def _pump(
        self, source: socket.socket, sink: socket.socket, number: int | None, host: str
    ) -> None:
        replies = number is not None
        try:
            while data := source.recv(65536):
                if self.swallow or self.isolated == host:
                    continue
                if replies and self.replace is not None:
                    data = data.replace(*self.replace)
                if number is not None and self.drip_from is not None and number >= self.drip_from:
                    for each in data:
                        time.sleep(self.delay)
                        sink.sendall(bytes([each]))
                    continue
                if replies and self.delay:
                    time.sleep(self.delay)
                if replies and self.cut_after is not None:
                    part, left = data[: self.cut_after], self.cut_after - len(data)
                    sink.sendall(part)
                    self.cut_after = left if left > 0 else None
                    if left <= 0:
                        break
                else:
                    sink.sendall(data)
        except OSError:
            pass  # the other direction has closed them
        _shut(source)
        _shut(sink)

    def _start(self, target: object, *arguments: object) -> None:
        assert callable(target)
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()

    def __enter__(self) -> Proxy:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _shut(self._listener)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()
        for each in self._sockets:
            each.close()


def _shut(each: socket.socket) -> None:
    try:
        each.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it is already closed
