"""Files that behave in unusual ways."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any


class OneWayFile(io.RawIOBase):
    """An open file that cannot seek, as a pipe or an HTTP response.

    Parameters
    ----------
    content
        What is read from it.
    most
        How many bytes a read returns at most.
    before_read
        A function that is called before each read.
    """

    def __init__(
        self,
        content: bytes,
        most: int = sys.maxsize,
        before_read: Callable[[], object] = lambda: None,
    ) -> None:
        self._rest = content
        self._most = most
        self._before_read = before_read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._before_read()
        count = min(len(buffer), self._most, len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count
