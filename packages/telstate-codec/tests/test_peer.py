"""Comparison with katsdptelstate, in an environment of its own: the same bytes and the same values."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from itertools import chain
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

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PYTHON is None, reason="no environment with katsdptelstate"),
]


class Peer:
    """A process that encodes and decodes with katsdptelstate."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [str(PYTHON), str(Path(__file__).with_name("codec_peer.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, request: dict[str, Any]) -> list[Any]:
        """Return the answer to a request; see `codec_peer`."""
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
    """Start the peer."""
    process = Peer()
    yield process
    process.close()


def encoded(value: object) -> str | None:
    """Return our encoding of a value in the form of the peer's answers."""
    try:
        return encode_value(value).hex()
    except EncodeError:
        return None


def scalars_in(value: object) -> Iterator[np.generic]:
    """Yield the NumPy scalars in a value."""
    if isinstance(value, np.generic):
        yield value
    elif isinstance(value, dict):
        yield from chain.from_iterable(map(scalars_in, value.values()))
    elif isinstance(value, (list, tuple)):
        yield from chain.from_iterable(map(scalars_in, value))


def has_scalar_without_bytes(value: object) -> bool:
    """Return whether there is a scalar of size 0 in a value, which the peer writes and cannot read."""
    return any(scalar.dtype.itemsize == 0 for scalar in scalars_in(value))


def has_string_with_nuls(value: object) -> bool:
    """Return whether a NumPy string in a value ends with NULs, which the peer writes and drops on reading."""
    strings = (scalar for scalar in scalars_in(value) if isinstance(scalar, (np.bytes_, np.str_)))
    return any(string[-1:] in (b"\0", "\0") for string in strings)


@pytest.mark.parametrize("start", range(0, SEEDS, PART))
def test_random_values_are_encoded_and_decoded_like_the_peer(peer: Peer, start: int) -> None:
    """Each value has the peer's bytes, or is refused too, and the bytes are decoded to the same value."""
    seeds = range(start, start + PART)
    for seed, (theirs, description) in zip(seeds, peer.ask({"seeds": list(seeds)}), strict=True):
        value = from_seed(seed)
        assert encoded(value) == theirs, seed
        if theirs is not None:
            ours = describe(decode_value(bytes.fromhex(theirs)))
            if description is None:
                assert has_scalar_without_bytes(value), seed
            elif not has_string_with_nuls(value):
                assert ours == description, seed


def test_random_values_have_all_types() -> None:
    """Some of the random values are refused and most are not, and every plain dtype occurs."""
    values = [from_seed(seed) for seed in range(SEEDS)]
    refused = sum(encoded(value) is None for value in values)
    dtypes = {value.dtype.str for value in values if isinstance(value, (np.ndarray, np.generic))}
    assert 50 < refused < SEEDS / 10
    assert {np.dtype(text).str for text in PLAIN_DTYPES} <= dtypes


def test_values_that_the_peer_refuses_are_refused() -> None:
    """Values without an encoding raise EncodeError, alone and within others."""
    for value in REFUSED:
        for outer in (value, [value], (value,), {"key": [(value,)]}):
            assert encoded(outer) is None


def test_changed_bytes_are_decoded_like_the_peer(peer: Peer) -> None:
    """Changed bytes that both decode are decoded to the same value."""
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
