"""What the scripts that only read do, by plain commands, for users who may not run scripts.

A plain read is a generator like an exchange with a server: it yields batches of commands, is sent the
replies in order, an error in place of the reply to a command that failed, and returns what the script would
reply. All candidate keys are asked about at once. If each batch is a transaction, the contents of a key
are those of one moment, as with the script; otherwise they may change between two commands, and a key that
does is taken as it was or as it is, or as missing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from itertools import chain, islice
from typing import TypeAlias

from telstate_backends.operations.base import (
    Args,
    Command,
    as_bytes,
    as_bytes_list,
    as_int,
    as_list,
)

#: Samples in a page: fewer than with the script, because they are all read whole.
PAGE = 256
#: Values above this length are not looked at. The same number is in ``peek.lua``.
LONG = 8 << 20

PlainRead: TypeAlias = Generator[Sequence[Args], list[object], object]
#: The type of a key and the replies about it -> what follows type and key in the script's reply, None if
#: the key is not there any more.
_Finish: TypeAlias = Callable[[bytes, list[object]], list[object] | None]


def plain_read(command: Command) -> PlainRead:
    """Read what a script reads that only reads."""
    return _READS[command.name](command)


def _checked(reply: object) -> object:
    """Return a reply, None for one about a key of another type; raise another error."""
    if isinstance(reply, Exception):
        if str(reply).startswith("WRONGTYPE"):
            return None
        raise reply
    return reply


def _pairs(reply: object) -> list[object] | None:
    """Return fields and values in turn, also of the dictionary that RESP3 has for them; None without any."""
    if isinstance(reply, dict):
        return list(chain.from_iterable(reply.items())) or None
    return as_list(reply) or None


def _first_of(
    keys: Sequence[bytes], ask: Callable[[bytes], Sequence[Args]], finish: _Finish
) -> PlainRead:
    """Ask for the type of each key and more; reply what there is of the first that exists."""
    questions = [(("TYPE", key), *ask(key)) for key in keys]
    replies = iter((yield [args for asked in questions for args in asked]))
    for key, asked in zip(keys, questions, strict=True):
        redis_type, *values = [_checked(reply) for reply in islice(replies, len(asked))]
        kind = as_bytes(redis_type)
        found = None if kind == b"none" else finish(kind, values)
        if found is not None:
            return [kind, key, *found]
    return None


def _whole(kind: bytes, replies: list[object]) -> list[object] | None:
    """Finish with the replies to GET, to HGETALL, and about samples."""
    value, pairs, samples = replies
    if kind == b"string":
        return None if value is None else [value]
    if kind == b"hash":
        body = None if pairs is None else _pairs(pairs)
    elif kind == b"zset":
        body = None if samples is None else as_list(samples) or None
    else:
        return []
    return None if body is None else [body]


def _get(command: Command) -> PlainRead:
    def ask(key: bytes) -> list[Args]:
        return [("GET", key), ("HGETALL", key), ("ZRANGE", key, -1, -1)]

    def finish(kind: bytes, replies: list[object]) -> list[object] | None:
        found = _whole(kind, replies)
        return [as_list(found[0])[0]] if found and kind == b"zset" else found

    return _first_of(command.keys, ask, finish)


def _get_indexed(command: Command) -> PlainRead:
    return _first_of(
        command.keys,
        lambda key: [("HGET", key, command.arguments[0])],
        lambda kind, replies: [] if replies[0] is None else replies,
    )


def _get_range(command: Command) -> PlainRead:
    first, stop, previous = command.arguments
    end = stop[1:] if isinstance(stop, bytes) else b""

    def ask(key: bytes) -> list[Args]:
        asked: list[Args] = [("ZRANGEBYLEX", key, first, stop)]
        if previous:
            asked.append(("ZREVRANGEBYLEX", key, previous, "-", "LIMIT", 0, 1))
        return asked

    def finish(kind: bytes, replies: list[object]) -> list[object]:
        if kind != b"zset" or replies[0] is None:
            return []
        samples = as_list(replies[0])
        earlier = as_bytes_list(replies[1])[:1] if previous else ()
        return [[*earlier, *samples] if earlier and earlier[0] < end else samples]

    return _first_of(command.keys, ask, finish)


def _key_type(command: Command) -> PlainRead:
    return _first_of(command.keys, lambda key: [], lambda kind, replies: [])


def _which_exist(command: Command) -> PlainRead:
    replies = yield [("EXISTS", key) for key in command.keys]
    return [_checked(reply) for reply in replies]


def _export(command: Command) -> PlainRead:
    def ask(key: bytes) -> list[Args]:
        samples: list[Args] = [("ZRANGE", key, 0, -1), ("ZCOUNT", key, 0, 0), ("ZCARD", key)]
        return [("GET", key), ("HGETALL", key), *samples]

    def finish(kind: bytes, replies: list[object]) -> list[object] | None:
        *values, zeros, count = replies
        return [] if kind == b"zset" and zeros != count else _whole(kind, values)

    found = yield from _first_of(command.keys, ask, finish)
    if isinstance(found, list) and found[0] == b"zset" and len(found) == 2:
        found[0] = b"sorted set with scores that are not 0"
    return found


def _get_page(command: Command) -> PlainRead:
    rank = as_int(command.arguments[0])

    def ask(key: bytes) -> list[Args]:
        last = rank + PAGE - 1
        return [("GET", key), ("HGETALL", key), ("ZRANGE", key, rank, last), ("ZCARD", key)]

    def finish(kind: bytes, replies: list[object]) -> list[object] | None:
        *values, count = replies
        if kind != b"zset" or count is None:
            return _whole(kind, values)
        samples = as_list(values[-1])
        following = rank + len(samples)
        return [following if samples and following < as_int(count) else -1, count, samples, []]

    return _first_of(command.keys, ask, finish)


def _peek(command: Command) -> PlainRead:
    (key,), limit = command.keys, as_int(command.arguments[0])
    kind = as_bytes(_checked(*(yield [("TYPE", key)])))
    if kind == b"none":
        return None
    if kind not in _PEEKS:
        return [kind, key]
    found = yield from _PEEKS[kind](key, limit)
    return None if found is None else [kind, key, *as_list(found)]


def _peek_string(key: bytes, limit: int) -> PlainRead:
    asked: list[Args] = [("STRLEN", key), ("GETRANGE", key, 0, max(limit, 1) - 1)]
    size, head = map(_checked, (yield asked))
    return [1, size, as_bytes(head)[:limit]] if size else None


def _peek_hash(key: bytes, limit: int) -> PlainRead:
    count = _checked(*(yield [("HLEN", key)]))
    if not count:
        return None
    # Of a few fields always the same one.
    is_small = as_int(count) <= 128
    found = _checked(*(yield [("HKEYS" if is_small else "HRANDFIELD", key)]))
    field = found[0] if isinstance(found, list) and found else found
    if not isinstance(field, bytes):
        return None
    size = as_int(_checked(*(yield [("HSTRLEN", key, field)])) or 0)
    value = _checked(*(yield [("HGET", key, field)])) if size <= LONG else None
    return [count, size, b"" if value is None else as_bytes(value)[:limit], field[:limit]]


def _peek_samples(key: bytes, limit: int) -> PlainRead:
    counted, memory = yield [("ZCARD", key), ("MEMORY", "USAGE", key, "SAMPLES", 5)]
    count = _checked(counted)
    if not count:
        return None
    # Not supported or permitted everywhere; without it, a long sample is read whole.
    if isinstance(memory, int) and memory // as_int(count) > LONG:
        return [count, memory // as_int(count), b""]
    ends = map(_checked, (yield [("ZRANGE", key, 0, 0), ("ZRANGE", key, -1, -1)]))
    pair = [one for end in ends if end is not None for one in as_bytes_list(end)]
    if len(pair) != 2:
        return None
    first, last = pair
    size = max(0, len(last) - 8)
    if max(len(first), len(last)) > LONG:
        return [count, size, b""]
    return [count, size, last[8 : 8 + limit], first[:8], last[:8]]


def _no_keys(command: Command) -> PlainRead:
    """Reply nothing, so that the keys are listed by pages."""
    yield from ()
    return None


_PEEKS: Mapping[bytes, Callable[[bytes, int], PlainRead]] = {
    b"string": _peek_string,
    b"hash": _peek_hash,
    b"zset": _peek_samples,
}

#: One for each of :data:`~telstate_backends.operations.base.READ_SCRIPTS`.
_READS: Mapping[str, Callable[[Command], PlainRead]] = {
    "export": _export,
    "get": _get,
    "get_indexed": _get_indexed,
    "get_page": _get_page,
    "get_range": _get_range,
    "key_type": _key_type,
    "keys": _no_keys,
    "peek": _peek,
    "which_exist": _which_exist,
}
