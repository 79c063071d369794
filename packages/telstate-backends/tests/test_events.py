"""Update messages, without any I/O."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from telstate_backends import KeyType, Update
from telstate_backends.events import parse_message
from telstate_codec import DecodeError


@given(st.binary())
def test_any_message_is_read_or_refused(message: bytes) -> None:
    """Whatever is published is an update, needs the kind of its key, or is a DecodeError."""
    try:
        update = parse_message(b"k", message)
    except DecodeError:
        return
    assert update is None or update.key == b"k"


@given(st.binary(), st.binary())
def test_indexed_messages_survive(sub_key: bytes, value: bytes) -> None:
    """Sub-key and value come out as they went in, whatever bytes they are."""
    message = b"\x03%d\n" % len(sub_key) + sub_key + value
    update = Update(b"k", KeyType.INDEXED, value, sub_key=sub_key)
    assert parse_message(b"k", message) == update
    # katsdptelstate 0.11 publishes the three characters instead of the byte.
    assert parse_message(b"k", b"x03" + message[1:]) == update
