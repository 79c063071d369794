"""Streams that no server would load are refused by the reader and the writer, for the same reason."""

from __future__ import annotations

import attrs
import pytest

from telstate_rdb import (
    RawValue,
    RdbParseError,
    RdbWriteError,
    Stream,
    StreamConsumer,
    StreamEntry,
    StreamGroup,
    StreamId,
    StreamPending,
    decode_dump,
    encode_dump,
)
from telstate_rdb._types import streams
from telstate_rdb.dump import decode_raw

NO_ID = StreamId(0, 0)
ONE, TWO = StreamId(1, 0), StreamId(2, 0)
FIELDS = ((b"a", b"b"),)
PENDING = StreamPending(TWO, 0, 1)


def consumer(name: bytes, *pending: StreamId) -> StreamConsumer:
    """Make a consumer with pending entries."""
    return StreamConsumer(name, 0, None, pending)


def group(pending: tuple[StreamPending, ...], *consumers: StreamConsumer) -> StreamGroup:
    """Make a group, always with the same name."""
    return StreamGroup(b"g", NO_ID, None, pending, consumers)


def stream(*groups: StreamGroup, ids: tuple[StreamId, ...] = (ONE, TWO)) -> Stream:
    """Make a stream with some groups."""
    entries = tuple(StreamEntry(one, FIELDS) for one in ids)
    return Stream(entries, TWO, ids[0], NO_ID, len(ids), groups)


FAULTS = {
    "a consumer with an entry that is not pending": stream(group((), consumer(b"c", TWO))),
    "an entry pending twice": stream(group((PENDING, PENDING))),
    "an entry pending with two consumers": stream(
        group((PENDING,), consumer(b"c", TWO), consumer(b"d", TWO))
    ),
    "or twice with one": stream(group((PENDING,), consumer(b"c", TWO, TWO))),
    "two consumers with the same name": stream(group((), consumer(b"c"), consumer(b"c"))),
    "two groups with the same name": stream(group(()), group(())),
    "entry 1-0 of a stream does not come after": stream(ids=(TWO, ONE)),
    "entry 2-0 of a stream does not come after": stream(ids=(TWO, TWO)),
    "the entry 3-0 beyond its last id, 2-0": stream(ids=(ONE, StreamId(3, 0))),
}


@pytest.mark.parametrize("reason", FAULTS)
def test_writer_refuses(reason: str) -> None:
    """A stream that would keep a server from starting is not encoded."""
    with pytest.raises(RdbWriteError, match=reason):
        encode_dump(FAULTS[reason])


@pytest.mark.parametrize("version", [9, 10, 11])
@pytest.mark.parametrize("reason", FAULTS)
def test_reader_refuses(reason: str, version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that no server would load is an error of the file, in all three types."""
    with monkeypatch.context() as patch:  # so that the writer encodes it
        patch.setattr(streams, "find_stream_fault", lambda stream: None)
        kind, body = streams.encode_stream(FAULTS[reason], version, None)
    with pytest.raises(RdbParseError, match=reason):
        decode_raw(RawValue(kind, body, version))


def test_far_apart() -> None:
    """Entries whose milliseconds are 2**63 and more apart are encoded and decoded."""
    ids = (StreamId(0, 1), StreamId(1 << 63, 0), StreamId(2**64 - 1, 3))
    value = attrs.evolve(stream(ids=ids), last_id=ids[-1])
    assert decode_dump(encode_dump(value)) == value
