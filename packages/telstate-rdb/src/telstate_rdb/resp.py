"""Commands that rebuild the content of a file on a server, in RESP, as ``redis-cli --pipe`` takes them.

Collections are written in commands of at most 1000 elements. A stream is rebuilt with its groups and what
is pending in them. Three things have no command: when a consumer was last seen, how long a key was idle,
and data of modules; values of modules are restored from a payload. With ``restore=True`` every key is a
`RESTORE` with the payload of its value, which keeps everything but data of modules.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from telstate_rdb import constants as c
from telstate_rdb._types.streams import without_counters
from telstate_rdb.dump import encode_dump
from telstate_rdb.errors import RdbWriteError
from telstate_rdb.records import AuxiliaryRecord, FunctionLibrary, KeyRecord, ModuleAuxiliary
from telstate_rdb.values import Array, Hash, List, Module, Set, SortedSet, Stream, StreamId, Value

Command = tuple[bytes, ...]
"""A command and its arguments."""

_ELEMENTS = 1000  # in one command
_BYTES = 1 << 20  # likewise, unless one element is larger
_TARGET = re.compile(r"(redis-|valkey-)?(\d+)(?:\.(\d+))?(?:\.\d+)?")
_NEWEST = (1 << 16, 0)
# The first releases of Redis and Valkey that have what some files need.
_STREAMS = ((5, 0), (0, 0))
_CREATE_CONSUMER = ((6, 2), (0, 0))
_COUNTERS = _FUNCTIONS = ((7, 0), (0, 0))
_FIELD_EXPIRY = ((7, 4), (9, 0))
_ARRAYS = ((8, 8), (1000, 0))  # Valkey has none
# The first releases that read a version of the format, newest first.
_REDIS_FORMATS = (((7, 4), 12), ((7, 2), 11), ((7, 0), 10), ((5, 0), 9), ((4, 0), 8), ((3, 2), 7))
_VALKEY_FORMATS = (((9, 0), c.VALKEY_VERSION), ((0, 0), 11))


def encode_command(command: Sequence[bytes]) -> bytes:
    """Encode a command in RESP, the protocol of Redis.

    Parameters
    ----------
    command
        The name of the command and its arguments.

    Returns
    -------
    bytes
        An array of bulk strings.

    Examples
    --------
    >>> encode_command((b"SET", b"gain", b"1.5"))
    b'*3\\r\\n$3\\r\\nSET\\r\\n$4\\r\\ngain\\r\\n$3\\r\\n1.5\\r\\n'
    """
    return b"".join(command_pieces(command))


def command_pieces(command: Sequence[bytes]) -> list[bytes]:
    """Return the pieces that `encode_command` joins, of which the arguments are not copied."""
    parts = [b"*%d\r\n" % len(command)]
    for argument in command:
        parts += (b"$%d\r\n" % len(argument), argument, b"\r\n")
    return parts


class CommandMaker:
    """Makes the commands that rebuild records; it remembers the current database.

    Parameters
    ----------
    target
        The server that the commands are for, such as ``"6.2"`` or ``"valkey-8.1"``. What it lacks is
        left out and counted. By default nothing is left out.
    restore
        Whether to restore every key from a payload.
    replace
        Whether to replace keys and function libraries that exist. Otherwise the elements of
        collections are added to those that are there.

    Attributes
    ----------
    omitted : collections.Counter
        How often something could not be rebuilt, by what it is.

    Examples
    --------
    >>> maker = CommandMaker(target="6.2")
    >>> list(maker.commands(KeyRecord(0, b"gains", List((b"1", b"2")), expiry=1800000000000)))
    [(b'SELECT', b'0'), (b'RPUSH', b'gains', b'1', b'2'), (b'PEXPIREAT', b'gains', b'1800000000000')]
    >>> list(maker.commands(FunctionLibrary(b"#!lua name=lib")))
    []
    >>> maker.omitted
    Counter({'function libraries': 1})
    """

    def __init__(
        self, target: str | None = None, *, restore: bool = False, replace: bool = False
    ) -> None:
        self._is_valkey, self._release = False, _NEWEST
        if target is not None:
            self._is_valkey, self._release = parse_target(target)
        self._format = None if target is None else self._find_format()
        self._restore = restore
        self._replace = replace
        self._database: int | None = None
        self.omitted: Counter[str] = Counter()

    def _find_format(self) -> int:
        formats = _VALKEY_FORMATS if self._is_valkey else _REDIS_FORMATS
        return next((version for release, version in formats if self._release >= release), 6)

    def _has(self, since: tuple[tuple[int, int], tuple[int, int]]) -> bool:
        """Return whether the server has what came with these releases of Redis and Valkey."""
        return self._release >= since[self._is_valkey]

    def commands(self, record: KeyRecord[Value] | AuxiliaryRecord) -> Iterator[Command]:
        """Make the commands that rebuild a record.

        Parameters
        ----------
        record
            A record of :func:`telstate_rdb.read_rdb`.

        Yields
        ------
        tuple of bytes
            A command and its arguments.
        """
        if not isinstance(record, KeyRecord):
            yield from self._auxiliary_commands(record)
            return
        if isinstance(record.value, Stream) and not self._has(_STREAMS):
            self.omitted["streams"] += 1
            return
        if isinstance(record.value, Array) and not self._has(_ARRAYS):
            self.omitted["arrays"] += 1
            return
        if record.database != self._database:
            self._database = record.database
            yield b"SELECT", b"%d" % record.database
        if (
            isinstance(record.value, Module)
            or self._restore
            and not isinstance(record.value, Array)
        ):
            yield from self._restore_commands(record)
            return
        if self._replace:
            yield b"DEL", record.key
        yield from self._value_commands(record.key, record.value)
        if record.expiry is not None:
            yield b"PEXPIREAT", record.key, b"%d" % record.expiry

    def _auxiliary_commands(self, record: AuxiliaryRecord) -> Iterator[Command]:
        if isinstance(record, ModuleAuxiliary):
            self.omitted["data of modules"] += 1
        elif isinstance(record, FunctionLibrary):
            if self._has(_FUNCTIONS):
                how = (b"REPLACE",) if self._replace else ()
                yield b"FUNCTION", b"LOAD", *how, record.code
            else:
                self.omitted["function libraries"] += 1

    def _restore_commands(self, record: KeyRecord[Value]) -> Iterator[Command]:
        value = record.value
        if isinstance(value, Hash) and not self._has(_FIELD_EXPIRY):
            value = self._without_expiries(value)
        if isinstance(value, Stream) and not self._has(_COUNTERS):
            self._note_counters(value)
            value = without_counters(value)
        try:
            payload = encode_dump(value, self._format)
        except RdbWriteError as error:
            if not isinstance(value, Module):
                raise RdbWriteError(f"Key {record.key!r} cannot be written: {error}") from error
            self.omitted["values of modules"] += 1  # for a server without modules
            return
        how = [b"REPLACE"] if self._replace else []
        if record.expiry is not None and self._release < (5, 0):
            yield b"RESTORE", record.key, b"0", payload, *how
            yield b"PEXPIREAT", record.key, b"%d" % record.expiry
            return
        if record.expiry is not None:
            how.append(b"ABSTTL")
        if self._has(_STREAMS):
            if record.idle is not None:
                how += (b"IDLETIME", b"%d" % record.idle)
            elif record.frequency is not None:
                how += (b"FREQ", b"%d" % record.frequency)
        yield b"RESTORE", record.key, b"%d" % (record.expiry or 0), payload, *how

    def _note_counters(self, stream: Stream) -> None:
        if without_counters(stream) != stream:
            self.omitted["counters of streams"] += 1

    def _without_expiries(self, value: Hash) -> Hash:
        if not value.expiries:
            return value
        self.omitted["expiries of hash fields"] += len(value.expiries)
        return Hash(value.fields)

    def _value_commands(self, key: bytes, value: Value) -> Iterator[Command]:
        match value:
            case bytes():
                yield b"SET", key, value
            case List():
                yield from _batches((b"RPUSH", key), ((item,) for item in value.elements))
            case Set():
                yield from _batches((b"SADD", key), ((item,) for item in value.members))
            case SortedSet():
                pairs = zip(value.scores, value.members, strict=True)
                scored = ((repr(score).encode(), member) for score, member in pairs)
                yield from _batches((b"ZADD", key), scored)
            case Hash():
                name = b"HSET" if self._release >= (4, 0) or self._is_valkey else b"HMSET"
                yield from _batches((name, key), value.fields.items())
                yield from self._field_expiry_commands(key, value)
            case Stream():
                yield from self._stream_commands(key, value)
            case Array():
                elements = ((b"%d" % index, text) for index, text in value.elements.items())
                yield from _batches((b"ARMSET", key), elements)
                if value.cursor is not None:
                    yield b"ARSEEK", key, b"%d" % (value.cursor + 1)

    def _field_expiry_commands(self, key: bytes, value: Hash) -> Iterator[Command]:
        if not self._has(_FIELD_EXPIRY):
            self._without_expiries(value)
            return
        fields: dict[int, list[bytes]] = {}
        for field, expiry in value.expiries.items():
            fields.setdefault(expiry, []).append(field)
        for expiry, names in fields.items():
            for start in range(0, len(names), _ELEMENTS):
                batch = names[start : start + _ELEMENTS]
                yield b"HPEXPIREAT", key, b"%d" % expiry, b"FIELDS", b"%d" % len(batch), *batch

    def _stream_commands(self, key: bytes, stream: Stream) -> Iterator[Command]:
        # An entry that is pending but was deleted has to exist while it is claimed.
        ids = {entry.id for entry in stream.entries}
        pending = {one.id for group in stream.groups for one in group.pending}
        deleted = pending - ids
        del ids
        entries = [(entry.id, entry.fields) for entry in stream.entries]
        if deleted:
            entries += ((one, ((b"", b""),)) for one in deleted)
            entries.sort(key=lambda entry: entry[0])
        if not entries:
            yield b"XGROUP", b"CREATE", key, b"", b"0", b"MKSTREAM"
            yield b"XGROUP", b"DESTROY", key, b""
        for one, fields in entries:
            yield b"XADD", key, _id(one), *(text for field in fields for text in field)
        for group in stream.groups:
            counter: Command = ()
            if self._has(_COUNTERS) and group.entries_read is not None:
                counter = b"ENTRIESREAD", b"%d" % group.entries_read
            yield b"XGROUP", b"CREATE", key, group.name, _id(group.last_id), *counter
            found = {one.id: one for one in group.pending}
            for consumer in group.consumers:
                start = (key, group.name, consumer.name)
                if self._has(_CREATE_CONSUMER):
                    yield b"XGROUP", b"CREATECONSUMER", *start
                elif not consumer.pending:
                    self.omitted["consumers without pending entries"] += 1
                for one in consumer.pending:
                    time = b"%d" % found[one].delivery_time
                    count = b"%d" % found[one].delivery_count
                    how = (b"TIME", time, b"RETRYCOUNT", count, b"JUSTID", b"FORCE")
                    yield b"XCLAIM", *start, b"0", _id(one), *how
        yield from _batches((b"XDEL", key), ((_id(one),) for one in sorted(deleted)))
        counters: Command = ()
        if self._has(_COUNTERS):
            # Those that follow from the commands are left out, so that older servers take them, too.
            if deleted or stream.max_deleted_id != (0, 0) or len(entries) != stream.entries_added:
                counters = b"ENTRIESADDED", b"%d" % stream.entries_added
                counters += (b"MAXDELETEDID", _id(stream.max_deleted_id))
        else:
            self._note_counters(stream)
        yield b"XSETID", key, _id(stream.last_id), *counters


def parse_target(target: str) -> tuple[bool, tuple[int, int]]:
    """Parse the name of a server and its release.

    Parameters
    ----------
    target
        A release of Redis or Valkey: ``"6.2"``, ``"redis-7.4"``, ``"valkey-8.1"``.

    Returns
    -------
    tuple
        Whether it is Valkey, and the numbers of the release.

    Raises
    ------
    ValueError
        If the text is not the name of a release.

    Examples
    --------
    >>> parse_target("valkey-8.1")
    (True, (8, 1))
    """
    match = _TARGET.fullmatch(target.lower())
    if match is None:
        raise ValueError(f"{target!r} is not a release such as 6.2, redis-7.4 or valkey-8.1.")
    return match[1] == "valkey-", (int(match[2]), int(match[3] or 0))


def _batches(start: Command, items: Iterable[Iterable[bytes]]) -> Iterator[Command]:
    """Divide the items of a collection among commands that start alike."""
    arguments: list[bytes] = []
    count = size = 0
    for item in items:
        for argument in item:
            arguments.append(argument)
            size += len(argument)
        count += 1
        if count >= _ELEMENTS or size >= _BYTES:
            yield (*start, *arguments)
            arguments.clear()
            count = size = 0
    if arguments:
        yield (*start, *arguments)


def _id(stream_id: StreamId) -> bytes:
    return str(stream_id).encode()
