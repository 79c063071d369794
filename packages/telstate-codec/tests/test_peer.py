"""Byte for byte what katsdptelstate writes, and what it reads, in an environment of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from codec_values import PLAIN_DTYPES, REFUSED, describe, from_seed

from telstate_codec import DecodeError, EncodeError, decode_value, encode_value
from telstate_testing import peer_python

PYTHON = peer_python()
SEEDS = 6000
PART = 500

pytestmark = pytest.mark.skipif(PYTHON is None, reason="no environment with katsdptelstate")


class Peer:
    """A process that encodes and decodes as katsdptelstate does."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [str(PYTHON), str(Path(__file__).with_name("codec_peer.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, request: dict[str, Any]) -> list[Any]:
        """Give the answer to a request; see `codec_peer`."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: list[Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    """Start the peer once."""
    process = Peer()
    yield process
    process.close()


def encoded(value: object) -> str | None:
    """Give what we make of a value, as the peer's answers have it."""
    try:
        return encode_value(value).hex()
    except EncodeError:
        return None


def holds_what_the_peer_cannot_read(value: object) -> bool:
    """Tell whether a scalar of no bytes is in a value, which the peer writes and cannot read."""
    if isinstance(value, np.generic):
        return value.dtype.itemsize == 0
    if isinstance(value, dict):
        return any(map(holds_what_the_peer_cannot_read, value.values()))
    return isinstance(value, (list, tuple)) and any(map(holds_what_the_peer_cannot_read, value))


@pytest.mark.parametrize("start", range(0, SEEDS, PART))
def test_generated_values_are_the_same_both_ways(peer: Peer, start: int) -> None:
    """Any value has the same bytes, or is refused, and any bytes of the peer the same value."""
    seeds = range(start, start + PART)
    for seed, (theirs, description) in zip(seeds, peer.ask({"seeds": list(seeds)}), strict=True):
        value = from_seed(seed)
        assert encoded(value) == theirs, seed
        if theirs is not None:
            ours = describe(decode_value(bytes.fromhex(theirs)))
            if description is None:
                assert holds_what_the_peer_cannot_read(value), seed
            else:
                assert ours == description, seed


def test_generated_values_are_of_all_kinds() -> None:
    """The generated values hold what is refused and what is not, and every plain dtype."""
    values = [from_seed(seed) for seed in range(SEEDS)]
    refused = sum(encoded(value) is None for value in values)
    dtypes = {value.dtype.str for value in values if isinstance(value, (np.ndarray, np.generic))}
    assert 50 < refused < SEEDS / 10
    assert {np.dtype(text).str for text in PLAIN_DTYPES} <= dtypes


def test_what_the_peer_refuses_is_refused() -> None:
    """Each kind of value that has no encoding is an EncodeError, alone and within others."""
    for value in REFUSED:
        for outer in (value, [value], (value,), {"key": [(value,)]}):
            assert encoded(outer) is None


def test_bytes_that_nobody_wrote_are_read_alike(peer: Peer) -> None:
    """Of changed bytes, what both read is the same; we read no pickles, and know what is missing."""
    whole = encode_value(
        {"a": [1, 2.5, None, (True, "x")], "b": b"y", "c": np.arange(2, dtype="i2")}
    )
    values = [
        whole[:index] + bytes([byte]) + whole[index + 1 :]
        for index in range(1, len(whole))
        for byte in (whole[index] ^ 1, whole[index] ^ 0x80, 0)
    ]
    answers = peer.ask({"values": [value.hex() for value in values]})
    both = 0
    for value, theirs in zip(values, answers, strict=True):
        try:
            ours = describe(decode_value(value))
        except DecodeError:
            continue
        if theirs is not None:
            assert ours == theirs, value
            both += 1
    assert both > 30
