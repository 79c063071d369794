"""Passing over the strings of a table without taking them apart: only lengths are looked at.

Rules: runs of strings of one length are passed in one step, see :mod:`telstate_rdb._bulk.runs`; others
from length to length, a block at a time; what is unusual (compressed, an integer, very long) one at
a time by the source. What follows each string can be compared on the way with what it should be.
"""

from __future__ import annotations

from telstate_rdb._bulk.runs import FIRST_WINDOW, MAX_WINDOW, MIN_RUN, run_length
from telstate_rdb._source import Source

_BLOCK = 256
"""How many strings are passed before what follows them is compared, and a run is looked for."""


def pass_strings(
    source: Source,
    count: int,
    tail_size: int = 0,
    tail: bytes | None = None,
    *,
    validate: bool = False,
) -> bool:
    """Go on to behind `count` strings, each followed by `tail_size` bytes.

    Parameters
    ----------
    source
        Where they are.
    count
        How many there are.
    tail_size
        How many bytes follow each.
    tail
        What these must be; None: anything.
    validate
        Whether compressed strings are decompressed, to see that they can be.

    Returns
    -------
    bool
        Whether every tail is as it must be; if not, the source stands anywhere.

    Raises
    ------
    RdbParseError
        If the file ends before that, or something is no string.
    """
    window = FIRST_WINDOW
    while count:
        buffer = source.buffer
        start = source.position
        ends, run, window = _pass_run(buffer, start, count, tail_size, tail, window)
        if not run:
            ends = pass_usual(buffer, start, min(count, _BLOCK), tail_size)
            if ends and tail is not None:
                tails = b"".join([buffer[end - tail_size : end] for end in ends])
                if tails != tail * len(ends):
                    return False
            run = len(ends)
        elif not ends:
            return False
        if run:
            source.position = ends[-1]
            count -= run
            continue
        if validate:
            source.read_string()
        else:
            source.skip_string()
        if tail is None:
            source.skip(tail_size)
        else:  # perhaps it is a shorter one, and the last: so it is not read, but looked at
            source.look_ahead(tail_size)
            stop = source.position + tail_size
            if source.buffer[source.position : stop] != tail:
                return False
            source.position = stop
        count -= 1
    return True


def pass_usual(buffer: bytes, position: int, count: int, tail_size: int = 0) -> list[int]:
    """Give where each of the next strings ends, tail and all, up to one that is unusual.

    The buffer may end before `count` of them.
    """
    ends: list[int] = []
    note = ends.append
    short = 1 + tail_size
    long = 2 + tail_size
    try:
        for _ in range(count):
            first = buffer[position]
            if first < 64:
                position += first + short
            elif first < 128:
                position += ((first & 63) << 8 | buffer[position + 1]) + long
            else:
                break
            note(position)
    except IndexError:
        pass  # the buffer ends here, or within the last one
    if ends and position > len(buffer):
        ends.pop()
    return ends


def _pass_run(
    buffer: bytes, position: int, count: int, tail_size: int, tail: bytes | None, window: int
) -> tuple[list[int], int, int]:
    """Look for strings of one length.

    Returns
    -------
    ends, run, window
        The end of the last one, or nothing if a tail is another; how many there are; how many to
        look at the next time.
    """
    nothing: list[int] = []
    if count < MIN_RUN or len(buffer) - position < 2:
        return nothing, 0, FIRST_WINDOW
    first = buffer[position]
    if first < 64:
        start, offsets = 1, [0]
    elif first < 128:
        start, offsets = 2, [0, 1]
        first = (first & 63) << 8 | buffer[position + 1]
    else:
        return nothing, 0, FIRST_WINDOW
    stride = start + first + tail_size
    last = position + (MIN_RUN - 1) * stride
    if last + stride > len(buffer) or buffer[last] != buffer[position]:
        return nothing, 0, FIRST_WINDOW
    limit = min(count, window)
    run = run_length(buffer, position, limit, stride, tuple(offsets))
    if run < MIN_RUN:
        return nothing, 0, FIRST_WINDOW
    stop = position + run * stride
    if tail is not None:
        for place in range(tail_size):
            column = buffer[position + start + first + place : stop : stride]
            if column != tail[place : place + 1] * run:
                return nothing, run, window
    return [stop], run, min(window * 8, MAX_WINDOW) if run == limit else FIRST_WINDOW
