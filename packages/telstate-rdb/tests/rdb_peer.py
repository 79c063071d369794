"""Read files with rdbtools and print their records as JSON; run by the peer's Python.

Nothing of ours is imported here, and of rdbtools only its documented parser and callback. Usage:
``python rdb_peer.py FILE...``; one line of JSON for each: a list of records, or the error's name.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone
from typing import Any


def milliseconds(expiry: datetime | None) -> int | None:
    """Return an expiry in milliseconds since 1970."""
    if expiry is None:
        return None
    delta = expiry.replace(tzinfo=timezone.utc) - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (delta.days * 86400 + delta.seconds) * 1000 + delta.microseconds // 1000


def text(data: object) -> str:
    """Return bytes as text for JSON, one character for each byte."""
    if isinstance(data, bytes):
        return data.decode("latin-1")
    return str(data)


def make_callback(base: Any) -> Any:
    """Make the callback that collects records."""

    class Collector(base):  # type: ignore[misc]  # rdbtools is not there when this is checked
        def __init__(self) -> None:
            super().__init__(string_escape=None)
            self.records: list[Any] = []
            self.database = 0
            self.content: Any = None

        def start_database(self, db_number: Any) -> None:
            self.database = db_number

        def _start(self, kind: Any, key: Any, expiry: Any, content: Any) -> None:
            self.content = content
            expiry = milliseconds(expiry)
            self.records.append([self.database, text(key), kind, content, expiry])

        def set(self, key: Any, value: Any, expiry: Any, info: Any) -> None:
            self._start("string", key, expiry, text(value))

        def start_hash(self, key: Any, length: Any, expiry: Any, info: Any) -> None:
            self._start("hash", key, expiry, {})

        def hset(self, key: Any, field: Any, value: Any) -> None:
            self.content[text(field)] = text(value)

        def start_set(self, key: Any, cardinality: Any, expiry: Any, info: Any) -> None:
            self._start("set", key, expiry, [])

        def sadd(self, key: Any, member: Any) -> None:
            self.content.append(text(member))

        def start_list(self, key: Any, expiry: Any, info: Any) -> None:
            self._start("list", key, expiry, [])

        def rpush(self, key: Any, value: Any) -> None:
            self.content.append(text(value))

        def start_sorted_set(self, key: Any, length: Any, expiry: Any, info: Any) -> None:
            self._start("zset", key, expiry, {})

        def zadd(self, key: Any, score: Any, member: Any) -> None:
            self.content[text(member)] = repr(float(score) + 0.0)

        def start_stream(self, key: Any, listpacks_count: Any, expiry: Any, info: Any) -> None:
            self._start("stream", key, expiry, None)

        def start_module(self, key: Any, module_name: Any, expiry: Any, info: Any) -> bool:
            if key is not None:  # which stands for data that belong to no key
                self._start("module", key, expiry, text(module_name))
            return False

    return Collector()


def main(paths: list[str]) -> None:
    """Read each file and print what is in it."""
    from rdbtools import RdbCallback, RdbParser

    for path in paths:
        callback = make_callback(RdbCallback)
        try:
            RdbParser(callback).parse(path)
        except Exception as error:
            print(json.dumps(type(error).__name__))
        else:
            print(json.dumps(callback.records))


if __name__ == "__main__":
    main(sys.argv[1:])
