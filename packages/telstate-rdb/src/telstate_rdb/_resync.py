"""The search for the next place in a broken file from which records make sense.

A place is taken if several sound records in a row begin there, or if everything does up to the
end. In the middle of a value much can look like a record. So where all keys before were printable
text, keys behind the damage must be, too; and none may be empty or come twice in a row of records.

Rules:

* What is found depends on the bytes of the file only, not on how they come. So the file is looked
  at in blocks that begin at multiples of `BLOCK_STEP` and overlap by half; a trial sees at least
  that many bytes ahead of it, and never more than the block.
* The work is bounded, by a number for the whole file and another for each byte of it. Most places
  are ruled out by one regular expression; a trial ends after so many records; and where a trial
  has failed, others that come to the same place know how far they would get.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from telstate_rdb import constants as c
from telstate_rdb._auxiliary import AUXILIARY_READERS
from telstate_rdb._parser import Walk
from telstate_rdb._source import Source
from telstate_rdb._types.readers import PACKED_DECODERS, codecs_of_version
from telstate_rdb.dump import decode_raw
from telstate_rdb.errors import RdbParseError
from telstate_rdb.values import RawValue

ENOUGH_KEYS = 4
"""So many sound records in a row, of different keys, are taken for the truth."""

MOST_OTHERS = 16
"""So many records in a row that are no keys no sound file has behind its first key."""

BLOCK_STEP = 1 << 23
"""Trials begin in the first so many bytes of a block, which has twice as many."""

WORK = 1 << 27
"""How much work all searches in a file may take, in about the time that it takes to read a byte."""

WORK_PER_BYTE = 8
"""How much more they may take for each byte of the file that is behind them."""

_TRIAL_WORK = 200
_RECORD_WORK = 20

_FIXED_SIZES = {c.OPCODE_EXPIRY_MS: 8, c.OPCODE_EXPIRY_S: 4, c.OPCODE_FREQUENCY: 1}


class Search:
    """The searches in one file.

    Parameters
    ----------
    state
        The file.

    Attributes
    ----------
    texts
        Whether all keys so far were printable.
    work
        How much was done: see `WORK`.
    trials
        At how many places records were tried.
    exhausted
        Whether the last search ended because it would have taken too long.
    """

    def __init__(self, state: Walk) -> None:
        self.state = state
        self.work = 0
        self.trials = 0
        self.exhausted = False
        self._texts = True
        self._footer = c.CHECKSUM_SIZE if state.version >= c.CHECKSUM_VERSION else 0
        self._codecs = codecs_of_version(state.version)
        self._block = Source(b"")
        self._start = 0  # of the block, in the file
        self._stop = 0  # up to here trials begin in the block
        self._last = False  # whether the file ends with the block
        self._known: dict[int, int] = {}  # failed places of the block: sound keys from there on

    @property
    def texts(self) -> bool:
        """Whether keys must be printable."""
        return self._texts

    @texts.setter
    def texts(self, texts: bool) -> None:
        self._texts = texts
        self._known.clear()

    def goes_on(self) -> bool:
        """Tell whether records go on where the source is."""
        place = self.state.source.offset
        self._load(place)
        return self._makes_sense(place - self._start)

    def find(self, start: int) -> int | None:
        """Leave the source at the next place behind `start` where records go on; give its offset.

        Returns
        -------
        int or None
            None if there is no such place, or it would take too long to find it.
        """
        source = self.state.source
        self.exhausted = False
        source.position = start - source.base
        source.keep_from = start
        source.look_ahead(2)
        if len(source.buffer) - source.position < 2:
            return None
        place = start + 1
        while True:
            source.position = place - source.base
            source.keep_from = place
            self._load(place)
            for position in self._candidates(place - self._start):
                if self.work > WORK + WORK_PER_BYTE * (self._start + position):
                    self.exhausted = True
                    return None
                if self._makes_sense(position):
                    source.keep_from = self._start + position
                    source.position = source.keep_from - source.base
                    return source.keep_from
            if len(self._block.buffer) <= self._stop - self._start:
                return None
            place = self._stop

    def _load(self, place: int) -> None:
        """Have the block that `place` belongs to; the source stands there."""
        if self._start <= place < self._stop:
            return
        source = self.state.source
        self._stop = (place // BLOCK_STEP + 1) * BLOCK_STEP
        size = self._stop + BLOCK_STEP - place
        source.look_ahead(size + 1)
        self._last = source.ended and len(source.buffer) - source.position <= size
        self._block = Source(source.buffer[source.position : source.position + size])
        self._start = place
        self._known.clear()

    def _candidates(self, first: int) -> Iterator[int]:
        """Give the places of the block from `first` on where a record could begin."""
        buffer = self._block.buffer
        stop = min(self._stop - self._start, len(buffer))
        for match in _expression(self.state.version, self._texts).finditer(buffer, first):
            if match.start() >= stop:
                break
            if match.end() - match.start() == 1:  # otherwise it is a run of zeros
                yield match.start()
        end = len(buffer) - self._footer - 1
        if self._last and first <= end < stop:
            yield end

    def _makes_sense(self, position: int) -> bool:
        """Tell whether sound records begin here in the block: enough, or all up to the end."""
        block = self._block
        block.position = position
        database = self.state.database
        places: list[tuple[int, int]] = []  # of records, each with the number of keys before it
        values: list[tuple[int, int, int]] = []  # type, start, end
        keys: set[tuple[int, bytes]] = set()
        quick = others = 0
        sound = 0
        self.trials += 1
        self.work += _TRIAL_WORK
        try:
            while len(keys) < ENOUGH_KEYS:
                place = block.position
                sound = len(keys) + self._known.get(place, 0)
                if place in self._known and sound < ENOUGH_KEYS:
                    raise block.error("this has been tried")
                sound = len(keys)
                places.append((place, sound))
                opcode = block.read_byte()
                if opcode in self._codecs:
                    key = block.read_string()
                    if not key or self._texts and not is_text(key):
                        raise block.error("this is no key")  # zeros look like empty strings
                    if (database, key) in keys:
                        return False
                    start = block.position
                    self._codecs[opcode][1](block)
                    if opcode in PACKED_DECODERS:
                        quick += block.position - start
                    values.append((opcode, start, block.position))
                    keys.add((database, key))
                    others = 0
                    continue
                others += 1
                if others > MOST_OTHERS:
                    return False
                if opcode in _FIXED_SIZES:
                    block.skip(_FIXED_SIZES[opcode])
                elif opcode == c.OPCODE_IDLE:
                    block.read_length()
                elif opcode == c.OPCODE_DATABASE:
                    database = block.read_length()
                elif opcode in AUXILIARY_READERS:
                    AUXILIARY_READERS[opcode](block, database)
                elif (
                    opcode == c.OPCODE_END
                    and self._last
                    and len(block.buffer) - block.position == self._footer
                ):
                    break
                else:
                    raise block.error("this is no opcode")
            for sound, (type_, start, end) in enumerate(values):
                self.work += end - start
                decode_raw(RawValue(type_, block.buffer[start:end], self.state.version))
            return True
        except RdbParseError:
            for place, before in places:
                if before <= sound:
                    self._known[place] = sound - before
            return False
        finally:
            self.work += block.position - position - quick + _RECORD_WORK * len(places)


def is_text(key: bytes) -> bool:
    """Tell whether a key can be printed."""
    try:
        return key.decode().isprintable()
    except UnicodeDecodeError:
        return False


@lru_cache(16)
def _expression(version: int, texts: bool) -> re.Pattern[bytes]:
    """Make what matches one byte where a record could begin; or a run of zeros, to pass it over."""
    types = _class(codecs_of_version(version))
    record = _class(
        {
            *codecs_of_version(version),
            *AUXILIARY_READERS,
            *_FIXED_SIZES,
            c.OPCODE_IDLE,
            c.OPCODE_DATABASE,
            c.OPCODE_END,
        }
    )
    first = rb"[^\x00-\x1f\x7f]" if texts else rb"."
    length = rb"(?:[\x00-\x3f]|[\x40-\x7f].|\x80.{4}|\x81.{8})"
    key = rb"(?:[\x01-\x3f]%b|[\x40-\x7f].%b|\x80.{4}%b|\x81.{8}%b|[\xc0-\xc3])"
    behind = {  # an opcode, and what must follow it
        types: key % ((first,) * 4),
        _class((c.OPCODE_DATABASE, c.OPCODE_IDLE)): length + record,
        _class((c.OPCODE_RESIZE,)): length + length + record,
        **{_class((opcode,)): b".{%d}" % size + record for opcode, size in _FIXED_SIZES.items()},
        _class(set(AUXILIARY_READERS) - {c.OPCODE_RESIZE}): rb"[\x00-\x81\xc0-\xc3]",
    }
    places = [b"%b(?=%b)" % pair for pair in behind.items()]
    return re.compile(b"|".join([rb"\x00{16,}(?=\x00)", *places]), re.DOTALL)


def _class(codes: Iterable[int]) -> bytes:
    """Make the expression that matches one of some bytes."""
    return b"[%b]" % b"".join(rb"\x%02x" % code for code in sorted(codes))
