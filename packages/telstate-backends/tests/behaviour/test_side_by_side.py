"""The same random operations in memory and on a server have the same results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from telstate_backends import (
    AddSample,
    AddSamples,
    Backend,
    Clear,
    Count,
    Delete,
    Exists,
    Export,
    Fields,
    Find,
    Get,
    GetIndexed,
    GetKeyType,
    GetRange,
    Immutable,
    Keys,
    KeyTypes,
    Load,
    MemoryBackend,
    Operation,
    RedisBackend,
    Restore,
    Samples,
    SetImmutable,
    SetIndexed,
    SomeKeys,
    TelstateError,
    WhichExist,
)
from telstate_codec.timestamps import encode_sample
from telstate_rdb import decode_dump
from telstate_testing import example_count

KEYS = st.sampled_from([b"", b"a", b"a_a", b"\xff", b"\x00[b", b"update/a"])
VIEWS = st.lists(KEYS, min_size=1, max_size=4).map(tuple)
VALUES = st.one_of(st.binary(max_size=3), st.just(bytes(100)))
# Few different times, so that samples collide; -0.0, which our writers never send.
TIMES = st.sampled_from([0.0, 5e-324, 1.0, 1.5, 2.0, 1.7e308, -0.0])
SAMPLES = st.builds(encode_sample, TIMES, VALUES)
NEGATIVE_ZERO = st.builds(lambda value: b"\x80" + bytes(7) + value, VALUES)
MEMBERS = st.one_of(SAMPLES, NEGATIVE_ZERO)
BOUNDS = st.one_of(SAMPLES.map(lambda sample: sample[:8]), st.just(b"\xff" * 8))
FIELDS = st.dictionaries(VALUES, VALUES, min_size=1, max_size=3).map(Fields)
LOADED = st.one_of(
    VALUES.map(Immutable),
    st.sets(MEMBERS, min_size=1).map(lambda members: Samples(sorted(members))),
    FIELDS,
)
PATTERNS = st.lists(
    st.sampled_from([b"*", b"?", b"a", b"[a-c]", b"[^a]", b"[", b"\\", b"\xff", b"_"]), max_size=4
).map(b"".join)

# Just large enough for a transaction.
LARGE = st.just(Immutable(b"abcdefgh" * 520))


def restoring(key: bytes, contents: Any) -> Restore:
    """Return the operation that writes contents as a payload."""
    memory = MemoryBackend()
    memory.execute(Load(b"k", contents))
    payload = memory.dump(b"k")
    assert payload is not None
    return Restore(key, payload, contents)


OPERATIONS: st.SearchStrategy[Operation[Any]] = st.one_of(
    st.builds(SetImmutable, KEYS, VALUES),
    st.builds(AddSample, KEYS, MEMBERS),
    st.builds(AddSamples, KEYS, st.lists(MEMBERS, max_size=4).map(tuple)),
    st.builds(SetIndexed, KEYS, VALUES, VALUES),
    st.builds(Load, KEYS, LOADED, st.booleans()),
    st.builds(restoring, KEYS, st.one_of(LOADED, LARGE)),
    st.builds(Delete, VIEWS),
    st.builds(Exists, VIEWS),
    st.builds(GetKeyType, VIEWS),
    st.builds(Get, VIEWS),
    st.builds(Find, VIEWS),
    st.builds(GetIndexed, VIEWS, VALUES),
    st.builds(GetRange, VIEWS, BOUNDS, BOUNDS, st.booleans()),
    st.builds(Keys, PATTERNS),
    st.builds(KeyTypes, PATTERNS),
    st.builds(WhichExist, VIEWS),
    st.builds(Count),
    st.builds(SomeKeys),
    st.builds(Export, KEYS, st.booleans()),
    st.builds(Clear),
)


@pytest.fixture
def server(server_url: str) -> Iterator[RedisBackend]:
    """A backend on an empty server of each version."""
    with RedisBackend.from_url(server_url) as backend:
        yield backend


def outcome(call: Callable[[], object]) -> object:
    """Return the result of an operation, or the class and message of its error."""
    try:
        return call()
    except TelstateError as error:
        return type(error), str(error)


def contents(backend: Backend, key: bytes) -> object:
    """Return the decoded DUMP payload of a key."""
    payload = backend.dump(key)
    assert payload is not None
    return decode_dump(payload)


def plain(results: list[Any]) -> list[Any]:
    """Replace errors by their class and message, which can be compared."""
    return [
        (type(each), str(each)) if isinstance(each, TelstateError) else each for each in results
    ]


def test_memory_and_server_agree(server: RedisBackend) -> None:
    """Every result, error message and final DUMP payload is the same in memory and on a server."""

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            server.execute(Clear())
            self.memory = MemoryBackend()

        @rule(operation=OPERATIONS)
        def one(self, operation: Operation[Any]) -> None:
            expected = outcome(lambda: self.memory.execute(operation))
            assert outcome(lambda: server.execute(operation)) == expected

        @rule(operations=st.lists(OPERATIONS, max_size=5))
        def several(self, operations: list[Operation[Any]]) -> None:
            expected = plain(self.memory.execute_many(operations))
            assert plain(server.execute_many(operations)) == expected

        @invariant()
        def same_kinds(self) -> None:
            assert server.execute(KeyTypes()) == self.memory.execute(KeyTypes())

        def teardown(self) -> None:
            assert server.execute(Keys()) == self.memory.execute(Keys())
            for key in self.memory.execute(Keys()):
                # Decoded, because a server does not keep the order of a large hash.
                assert contents(server, key) == contents(self.memory, key)

    run_state_machine_as_test(  # type: ignore[no-untyped-call]  # hypothesis leaves it without
        Machine,
        settings=settings(
            max_examples=example_count(40),
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
