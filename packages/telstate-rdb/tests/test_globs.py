"""Patterns of keys mean what they mean to Redis."""

from __future__ import annotations

import random

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from telstate_rdb.globs import compile_glob
from telstate_testing import RedisServer

ALPHABET = [b"a", b"b", b"c", b"*", b"?", b"[", b"]", b"^", b"-", b"\\", b"\n", b"\xff", b""]
PATTERNS = st.lists(st.sampled_from(ALPHABET), max_size=10).map(b"".join)


@pytest.mark.parametrize(
    ("pattern", "key", "expected"),
    [
        (b"*", b"", True),
        (b"**", b"", False),
        (b"***", b"", False),
        (b"**", b"a\n", True),
        (b"a**", b"a", True),
        (b"", b"", True),
        (b"", b"a", False),
        (b"a*c", b"abbc", True),
        (b"a*c", b"abcb", False),
        (b"?", b"\n", True),
        (b"[a-c]x", b"bx", True),
        (b"[c-a]x", b"bx", True),
        (b"[^a-c]", b"b", False),
        (b"[^a-c]", b"d", True),
        (b"\\*", b"*", True),
        (b"\\*", b"a", False),
        (b"[\\]]", b"]", True),
        (b"[ab", b"b", True),
        (b"[]", b"a", False),
        (b"[^]", b"a", True),
        (b"a\\", b"a\\", True),
        (b"[a-", b"-", True),
    ],
)
def test_patterns(pattern: bytes, key: bytes, expected: bool) -> None:
    """Each part of a pattern matches what it should."""
    assert bool(compile_glob(pattern)(key)) == expected


def test_slow_patterns() -> None:
    """No pattern takes for ever."""
    assert not compile_glob(b"a*" * 50 + b"b")(b"a" * 2000)


def test_as_redis(redis_server: RedisServer) -> None:
    """Thousands of patterns match the same keys as in a real server."""
    keys = [b"glob:" + key for key in _keys()]
    chooser = random.Random(5)
    with redis.Redis(host=redis_server.host, port=redis_server.port, db=9) as client:
        client.mset({key: b"1" for key in keys})
        for _ in range(2000):
            pattern = b"glob:" + b"".join(chooser.choices(ALPHABET, k=chooser.randrange(1, 8)))
            matches = compile_glob(pattern)
            found = client.keys(pattern)
            assert sorted(found) == [key for key in keys if matches(key)], pattern


def _keys() -> list[bytes]:
    chooser = random.Random(6)
    keys = {b"".join(chooser.choices(ALPHABET, k=chooser.randrange(0, 5))) for _ in range(300)}
    return sorted(keys)


@given(PATTERNS, st.binary(max_size=6))
def test_rubbish(pattern: bytes, key: bytes) -> None:
    """Any bytes are a pattern."""
    compile_glob(pattern)(key)
