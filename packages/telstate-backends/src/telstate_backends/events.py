"""What a watcher is told: updates of keys, their end if it asks for that, and that a check is due.

Rules: an update is published on the channel ``update/<key>`` and only if it took effect. Writers
older than 2020 leave out the type byte, so a message may not tell the kind of its key:
:func:`parse_message` then gives `None`, and the reader asks for the key's type and calls
:func:`parse_untyped`. The deletion of a key is published on a channel of our own, ``delete/<key>``,
and that of all keys on ``clear``: katsdptelstate subscribes to neither, and publishes neither.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import TypeAlias

import attrs

from telstate_backends.types import KeyType
from telstate_codec.errors import DecodeError
from telstate_codec.timestamps import decode_sample

CHANNEL_PREFIX = b"update/"
DELETION_PREFIX = b"delete/"
CLEAR_CHANNEL = b"clear"


@attrs.frozen
class Update:
    """One change of one key that took effect.

    Attributes
    ----------
    key : bytes
        The full key.
    kind : KeyType
        The kind of key.
    value : bytes
        The encoded value: of the immutable, the new sample, or the sub-key.
    timestamp : float or None
        Seconds since 1970, for a sample; `None` for the other kinds.
    sub_key : bytes or None
        The encoded sub-key, for an indexed key; `None` for the other kinds.
    """

    key: bytes
    kind: KeyType
    value: bytes
    timestamp: float | None = None
    sub_key: bytes | None = None


@attrs.frozen
class Deleted:
    """A key was deleted, whatever kind it was.

    Attributes
    ----------
    key : bytes
        The full key.
    """

    key: bytes


@attrs.frozen
class Cleared:
    """Every key was deleted; in a cluster, every key of one of its nodes, and so once for each."""


class CheckDue(enum.Enum):
    """Updates may have been missed: look at the store before relying on updates again."""

    SUBSCRIBED = 1  #: updates arrive from now on; what happened before is in the store
    RECONNECTED = 2  #: the connection was lost for a while
    UNREADABLE = 3  #: a message made no sense
    OVERFLOWED = 4  #: so many updates were not read in time that later ones were dropped


Change: TypeAlias = Update | Deleted | Cleared
Event: TypeAlias = Change | CheckDue


def prefixes_of(deletions: bool) -> tuple[bytes, ...]:
    """Give the beginnings of the channels that tell of updates, and if asked of deletions."""
    return (CHANNEL_PREFIX, DELETION_PREFIX) if deletions else (CHANNEL_PREFIX,)


def channels_of(keys: Iterable[bytes], deletions: bool) -> set[bytes]:
    """Give the channels that tell of the updates of keys, and if asked of their deletion."""
    prefixes = prefixes_of(deletions)
    return {prefix + key for key in keys for prefix in prefixes}


def place_of(change: Change) -> tuple[bytes, bytes]:
    """Give the channel on which a change is published, as its beginning and the key."""
    if isinstance(change, Cleared):
        return CLEAR_CHANNEL, b""
    return (CHANNEL_PREFIX if isinstance(change, Update) else DELETION_PREFIX), change.key


def split_channel(channel: bytes) -> tuple[bytes, bytes]:
    """Take apart a channel that one of ours is; undoes :func:`place_of`."""
    for prefix in (CHANNEL_PREFIX, DELETION_PREFIX):
        if channel.startswith(prefix):
            return prefix, channel[len(prefix) :]
    return channel, b""


def parse_message(key: bytes, message: bytes) -> Update | None:
    """Read one message of a key's channel.

    Parameters
    ----------
    key : bytes
        The full key, from the channel's name.
    message : bytes
        What was published.

    Returns
    -------
    Update or None
        `None` if an old writer left out the type byte.

    Raises
    ------
    DecodeError
        If no writer of any age would have sent this.

    Examples
    --------
    >>> parse_message(b"x", b"\\x01\\xff\\x05").value
    b'\\xff\\x05'
    >>> parse_message(b"x", b"\\xff\\x05") is None
    True
    """
    parser = _PARSERS.get(message[:1])
    return None if parser is None else parser(key, message[1:])


def parse_untyped(key: bytes, kind: KeyType, message: bytes) -> Update:
    """Read a message without type byte, given the kind of its key."""
    return _PARSERS[bytes((kind.value,))](key, message)


def _parse_immutable(key: bytes, body: bytes) -> Update:
    return Update(key, KeyType.IMMUTABLE, body)


def _parse_mutable(key: bytes, body: bytes) -> Update:
    timestamp, value = decode_sample(body)
    return Update(key, KeyType.MUTABLE, value, timestamp=timestamp)


def _parse_indexed(key: bytes, body: bytes) -> Update:
    digits, newline, rest = body.partition(b"\n")
    length = int(digits) if digits.isdigit() and len(digits) < 20 else -1
    if not newline or not 0 <= length <= len(rest):
        raise DecodeError(f"the update of indexed key {key!r} has no valid sub-key length")
    return Update(key, KeyType.INDEXED, rest[length:], sub_key=rest[:length])


_PARSERS = {b"\x01": _parse_immutable, b"\x02": _parse_mutable, b"\x03": _parse_indexed}
