"""The events of a watcher: updates of keys, deletions if requested, and that a check is due.

An update is published on the channel ``update/<key>``, and only if it took effect. Writers older than 2020
leave out the type byte; :func:`parse_message` then returns `None`, and the reader asks for the type of the
key and calls :func:`parse_untyped`. The deletion of a key is published on ``delete/<key>``, and that of all
keys on ``clear``; katsdptelstate uses neither of these channels.
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
    """A change of a key that took effect.

    Attributes
    ----------
    key : bytes
        The full key.
    kind : KeyType
        The kind of key.
    value : bytes
        The encoded value, of the new sample or of the sub-key where there is one.
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
    """A key was deleted.

    Attributes
    ----------
    key : bytes
        The full key.
    """

    key: bytes


@attrs.frozen
class Cleared:
    """Every key was deleted; in a cluster there is one such event for each node."""


class CheckDue(enum.Enum):
    """Updates may have been missed, so the store must be read before relying on updates again."""

    SUBSCRIBED = 1  #: updates arrive from now on; earlier ones are in the store
    RECONNECTED = 2  #: the connection was lost for a while
    UNREADABLE = 3  #: a message could not be parsed
    OVERFLOWED = 4  #: updates were dropped because too many were waiting to be read


Change: TypeAlias = Update | Deleted | Cleared
Event: TypeAlias = Change | CheckDue


def prefixes_of(deletions: bool) -> tuple[bytes, ...]:
    """Return the prefixes of the channels for updates, and if requested for deletions."""
    return (CHANNEL_PREFIX, DELETION_PREFIX) if deletions else (CHANNEL_PREFIX,)


def channels_of(keys: Iterable[bytes], deletions: bool) -> set[bytes]:
    """Return the channels for updates of keys, and if requested for their deletion."""
    prefixes = prefixes_of(deletions)
    return {prefix + key for key in keys for prefix in prefixes}


def place_of(change: Change) -> tuple[bytes, bytes]:
    """Return the channel on which a change is published, as its prefix and the key."""
    if isinstance(change, Cleared):
        return CLEAR_CHANNEL, b""
    return (CHANNEL_PREFIX if isinstance(change, Update) else DELETION_PREFIX), change.key


def split_channel(channel: bytes) -> tuple[bytes, bytes]:
    """Split one of our channels into prefix and key; the inverse of :func:`place_of`."""
    for prefix in (CHANNEL_PREFIX, DELETION_PREFIX):
        if channel.startswith(prefix):
            return prefix, channel[len(prefix) :]
    return channel, b""


def parse_message(key: bytes, message: bytes) -> Update | None:
    """Parse a message from the update channel of a key.

    Parameters
    ----------
    key : bytes
        The full key, from the channel's name.
    message : bytes
        The message.

    Returns
    -------
    Update or None
        `None` if an old writer left out the type byte.

    Raises
    ------
    DecodeError
        If no writer of any version sends such a message.

    Examples
    --------
    >>> parse_message(b"x", b"\\x01\\xff\\x05").value
    b'\\xff\\x05'
    >>> parse_message(b"x", b"\\xff\\x05") is None
    True
    """
    if message.startswith(_MISSPELT_INDEXED):
        return _parse_indexed(key, message[len(_MISSPELT_INDEXED) :])
    parser = _PARSERS.get(message[:1])
    return None if parser is None else parser(key, message[1:])


def parse_untyped(key: bytes, kind: KeyType, message: bytes) -> Update:
    """Parse a message without type byte, given the kind of its key."""
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
        raise DecodeError(f"The update of indexed key {key!r} has no valid sub-key length.")
    return Update(key, KeyType.INDEXED, rest[length:], sub_key=rest[:length])


#: What katsdptelstate 0.11 publishes instead of the byte 3. No value and no timestamp begins like this.
_MISSPELT_INDEXED = b"x03"

_PARSERS = {b"\x01": _parse_immutable, b"\x02": _parse_mutable, b"\x03": _parse_indexed}
