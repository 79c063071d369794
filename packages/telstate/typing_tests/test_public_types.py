"""The types that users of telstate see, pinned; checked by mypy, never run."""

from pathlib import Path
from typing import Any, assert_type

from telstate import Endpoint, KeyType, RDBWriter, TelescopeState
from telstate.endpoint import endpoint_list_parser, endpoint_parser, endpoints_to_str
from telstate_backends import Backend

ts = TelescopeState()
assert_type(ts, TelescopeState)
assert_type(ts.view("a"), TelescopeState)
assert_type(ts.root(), TelescopeState)
assert_type(ts.prefixes, tuple[str, ...])
assert_type(ts.backend, Backend)
assert_type(TelescopeState.SEPARATOR, str)
assert_type(ts.join("a", "b"), str)
assert_type(ts["a"], Any)
assert_type(ts.a, Any)
assert_type(ts.get("a"), Any)
assert_type(ts.get_indexed("a", ("b", 1)), Any)
assert_type(ts.get_range("a", 1.0, 2.0, True, True, False), list[tuple[Any, float]])
assert_type("a" in ts, bool)
assert_type(ts.key_type("a"), KeyType | None)
assert_type(ts.is_immutable("a"), bool)
assert_type(ts.keys(), list[str])
assert_type(ts.load_from_file(Path("a.rdb")), int)

with RDBWriter("a.rdb") as writer:
    assert_type(writer, RDBWriter)
assert_type(writer.keys_written, int)
assert_type(writer.keys_failed, int)

assert_type(endpoint_parser(1)("a"), Endpoint)
assert_type(endpoint_list_parser(1)("a"), list[Endpoint])
assert_type(endpoints_to_str([Endpoint("a", 1)]), str)
