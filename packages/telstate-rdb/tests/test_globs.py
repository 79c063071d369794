"""Patterns match the keys that they match in Redis."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from telstate_rdb.globs import Glob
from telstate_testing import RedisServer

ALPHABET = [b"a", b"b", b"c", b"*", b"?", b"[", b"]", b"^", b"-", b"\\", b"\n", b"\xff", b""]
LETTERS = [b"a", b"b", b"c", b"-", b"]", b"[", b"^", b"\\", b"*", b"?", b"\xc3", b"\x00", b"\xff"]
WEIGHTS = [5, 4, 3, 3, 4, 4, 3, 3, 4, 3, 1, 1, 1]
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
    """Each construct of a pattern matches what it matches in Redis."""
    assert Glob(pattern).matches(key) == expected


@pytest.mark.parametrize("pattern", [b"a*" * 50 + b"b", b"*a" * 40 + b"b", b"*[^b]" * 30 + b"b"])
def test_slow_patterns(pattern: bytes) -> None:
    """A pattern that would take a backtracking matcher for ever is matched at once."""
    assert not Glob(pattern).matches(b"a" * 2000)


@pytest.mark.parametrize("seed", range(2))
def test_as_redis(redis_server: RedisServer, seed: int) -> None:
    """Thousands of patterns match the same keys as in the server's SCAN."""
    chance = random.Random(seed)

    def text(longest: int) -> bytes:
        return b"".join(chance.choices(LETTERS, WEIGHTS, k=chance.randint(0, longest)))

    keys = {text(5) for _ in range(1500)} | {b""}
    patterns = [text(8) for _ in range(2000)] + [b"*", b"**", b""]
    with redis.Redis(host=redis_server.host, port=redis_server.port, db=9) as client:
        client.flushdb()
        client.mset({key: b"" for key in keys})
        with client.pipeline(transaction=False) as pipeline:
            for pattern in patterns:
                pipeline.scan(0, match=pattern, count=100_000)
            for pattern, (cursor, found) in zip(patterns, pipeline.execute(), strict=True):
                assert cursor == 0
                matches = Glob(pattern).matches
                assert (pattern, {key for key in keys if matches(key)}) == (pattern, set(found))
        client.flushdb()


def test_globs_import_nothing_else() -> None:
    """Importing globs imports nothing else of the package."""
    code = (
        "import sys, telstate_rdb.globs;"
        "print([name for name in sys.modules if name.startswith(('telstate', 'attr', 'anycrc'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['telstate_rdb', 'telstate_rdb.globs']"


def test_public_names() -> None:
    """Every exported name can be imported and is listed, and no other name can be imported."""
    import telstate_rdb

    assert set(telstate_rdb.__all__) <= set(dir(telstate_rdb))
    for name in telstate_rdb.__all__:
        assert getattr(telstate_rdb, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        telstate_rdb.nonsense


@given(PATTERNS, st.binary(max_size=6))
def test_random_patterns(pattern: bytes, key: bytes) -> None:
    """Any bytes are a valid pattern."""
    Glob(pattern).matches(key)
