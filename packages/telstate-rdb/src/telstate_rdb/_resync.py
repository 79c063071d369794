"""The search for the next place in a broken file from which records make sense.

A place is accepted if several valid records in a row begin there, or if only valid records follow up to
the end. Bytes in the middle of a value can look like a record. So if all keys before were printable text,
keys after the damage must be too, and no key may be empty or come twice in a row of records.

* What is found depends on the bytes of the file only, not on how they are delivered. So the file is
  searched in blocks that begin at multiples of `BLOCK_STEP` and overlap by half; a trial sees at least
  that many bytes ahead of it, and never more than the block.
* The work is limited, by a number for the whole file and another for each byte of it. Most places are
  ruled out by one regular expression; a trial ends after so many records; and if a trial fails, others
  that come to the same place know how far they would get.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from telstate_rdb import constants as c
from telstate_rdb._auxiliary import AUXILIARY_READERS, auxiliary_readers, other_readers
from telstate_rdb._parser import RecordParser, is_text
from telstate_rdb._source import Source
from telstate_rdb._types.readers import PACKED_DECODERS, codecs_of_version
from telstate_rdb.dump import decode_raw
from telstate_rdb.errors import RdbParseError
from telstate_rdb.values import RawValue

REQUIRED_KEYS = 4
"""The number of valid records in a row, of different keys, that are accepted."""

MAX_OTHER_RECORDS = 16
"""More records in a row that are not keys than any valid file has after its first key."""

BLOCK_STEP = 1 << 23
"""Trials begin in the first half of a block, which has this many bytes."""

MAX_WORK = 1 << 27
"""The work that all searches in a file may take; a unit is about the time to read a byte."""

MAX_WORK_PER_BYTE = 8
"""The additional work that they may take for each byte of the file that they have passed."""

_TRIAL_WORK = 200
_RECORD_WORK = 20

_FIXED_SIZES = {c.OPCODE_EXPIRY_MS: 8, c.OPCODE_EXPIRY_S: 4, c.OPCODE_FREQUENCY: 1}
_LETTERS = {c.OPCODE_ENTERPRISE_1, c.OPCODE_ENTERPRISE_2}  # these opcodes are too common in text


class Search:
    """The searches in one file."""

    def __init__(self, parser: RecordParser) -> None:
        self.work = 0  # so far, see `MAX_WORK`
        self.trials = 0  # the number of places at which records were tried
        self.is_exhausted = False  # whether the last search was given up because it takes too long
        self._parser = parser
        self._needs_text = True  # whether keys must be text
        self._footer_size = c.CHECKSUM_SIZE if parser.version >= c.CHECKSUM_VERSION else 0
        self._codecs = codecs_of_version(parser.version)
        self._auxiliary_readers = auxiliary_readers(parser.version)
        self._other_readers = other_readers(parser.version)
        self._block = Source(b"")
        self._start = 0  # of the block, in the file
        self._stop = 0  # trials in the block begin before this offset of the file
        self._is_last = False  # whether the file ends with the block
        self._failed: dict[int, int] = {}  # places in the block: the valid keys from there on

    def goes_on(self) -> bool:
        """Return whether records go on where the source is."""
        place = self._parser.source.offset
        self._load_block(place)
        self._update_needs_text()
        return self._makes_sense(place - self._start)

    def find(self) -> int | None:
        """Move the source from its mark to the next place where records go on; return its offset.

        Return None if there is no such place, or finding it would take too long.
        """
        source = self._parser.source
        self.is_exhausted = False
        self._update_needs_text()
        source.go_back()
        source.remove_mark()
        source.look_ahead(2)
        if len(source.buffer) - source.position < 2:
            return None
        place = source.offset + 1
        while True:
            source.position = place - source.base
            self._load_block(place)
            for position in self._candidates(place - self._start):
                if self.work > MAX_WORK + MAX_WORK_PER_BYTE * (self._start + position):
                    self.is_exhausted = True
                    return None
                if self._makes_sense(position):
                    source.position = self._start + position - source.base
                    return source.offset
            if len(self._block.buffer) <= self._stop - self._start:
                return None
            place = self._stop

    def _update_needs_text(self) -> None:
        if self._needs_text and not self._parser.all_keys_are_text:
            self._needs_text = False
            self._failed.clear()

    def _load_block(self, place: int) -> None:
        """Load the block that contains `place`, where the source is."""
        if self._start <= place < self._stop:
            return
        source = self._parser.source
        self._stop = (place // BLOCK_STEP + 1) * BLOCK_STEP
        size = self._stop + BLOCK_STEP - place
        source.look_ahead(size + 1)
        self._is_last = source.has_ended and len(source.buffer) - source.position <= size
        self._block = Source(source.buffer[source.position : source.position + size])
        self._block.hash_templates = source.hash_templates
        self._start = place
        self._failed.clear()

    def _candidates(self, first: int) -> Iterator[int]:
        """Find the places of the block from `first` on where a record could begin."""
        buffer = self._block.buffer
        stop = min(self._stop - self._start, len(buffer))
        for match in _expression(self._parser.version, self._needs_text).finditer(buffer, first):
            if match.start() >= stop:
                break
            if match.end() - match.start() == 1:  # otherwise it is a run of zeros
                yield match.start()
        end_mark = len(buffer) - self._footer_size - 1
        if self._is_last and first <= end_mark < stop:
            yield end_mark

    def _makes_sense(self, position: int) -> bool:
        """Return whether valid records begin here in the block: enough, or all up to the end."""
        block = self._block
        block.position = position
        database = self._parser.database
        places: list[tuple[int, int]] = []  # of records, each with the number of keys before it
        values: list[tuple[int, int, int]] = []  # type, start, stop
        keys: set[tuple[int, bytes]] = set()
        string_bytes = others = 0
        valid = 0
        self.trials += 1
        self.work += _TRIAL_WORK
        try:
            while len(keys) < REQUIRED_KEYS:
                place = block.position
                valid = len(keys) + self._failed.get(place, 0)
                if place in self._failed and valid < REQUIRED_KEYS:
                    raise block.error("this has been tried")
                valid = len(keys)
                places.append((place, valid))
                opcode = block.read_byte()
                if opcode in self._codecs:
                    key = block.read_string()
                    if not key or self._needs_text and not is_text(key):
                        raise block.error("this is not a key")  # zeros look like empty strings
                    if (database, key) in keys:
                        return False
                    start = block.position
                    self._codecs[opcode][1](block)
                    if opcode in PACKED_DECODERS:
                        string_bytes += block.position - start
                    values.append((opcode, start, block.position))
                    keys.add((database, key))
                    others = 0
                    continue
                others += 1
                if others > MAX_OTHER_RECORDS:
                    return False
                if opcode in _FIXED_SIZES:
                    block.skip(_FIXED_SIZES[opcode])
                elif opcode == c.OPCODE_IDLE:
                    block.read_length()
                elif opcode == c.OPCODE_DATABASE:
                    database = block.read_length()
                elif opcode in self._auxiliary_readers:
                    self._auxiliary_readers[opcode](block, database)
                elif opcode in self._other_readers and opcode not in _LETTERS:
                    self._other_readers[opcode](block)
                elif (
                    opcode == c.OPCODE_END
                    and self._is_last
                    and len(block.buffer) - block.position == self._footer_size
                ):
                    break
                else:
                    raise block.error("this is not an opcode")
            for valid, (type_, start, stop) in enumerate(values):
                self.work += stop - start
                decode_raw(RawValue(type_, block.buffer[start:stop], self._parser.version))
            return True
        except RdbParseError:
            for place, keys_before in places:
                if keys_before <= valid:
                    self._failed[place] = valid - keys_before
            return False
        finally:
            self.work += block.position - position - string_bytes + _RECORD_WORK * len(places)


@lru_cache(16)
def _expression(version: int, needs_text: bool) -> re.Pattern[bytes]:
    """Make what matches one byte where a record could begin, or a run of zeros, to skip it."""
    types = _byte_class(codecs_of_version(version))
    record = _byte_class(
        {
            *codecs_of_version(version),
            *AUXILIARY_READERS,
            *_FIXED_SIZES,
            *(other_readers(version).keys() - _LETTERS),
            c.OPCODE_IDLE,
            c.OPCODE_DATABASE,
            c.OPCODE_END,
        }
    )
    first = rb"[^\x00-\x1f\x7f]" if needs_text else rb"."
    length = rb"(?:[\x00-\x3f]|[\x40-\x7f].|\x80.{4}|\x81.{8})"
    key = rb"(?:[\x01-\x3f]%b|[\x40-\x7f].%b|\x80.{4}%b|\x81.{8}%b|[\xc0-\xc3])"
    followers = {  # opcodes, and what must follow them
        types: key % ((first,) * 4),
        _byte_class((c.OPCODE_DATABASE, c.OPCODE_IDLE)): length + record,
        _byte_class((c.OPCODE_RESIZE,)): length + length + record,
        **{
            _byte_class((opcode,)): b".{%d}" % size + record
            for opcode, size in _FIXED_SIZES.items()
        },
        _byte_class(set(AUXILIARY_READERS) - {c.OPCODE_RESIZE}): rb"[\x00-\x81\xc0-\xc3]",
    }
    places = [b"%b(?=%b)" % pair for pair in followers.items()]
    return re.compile(b"|".join([rb"\x00{16,}(?=\x00)", *places]), re.DOTALL)


def _byte_class(codes: Iterable[int]) -> bytes:
    """Make the expression that matches one of some bytes."""
    return b"[%b]" % b"".join(rb"\x%02x" % code for code in sorted(codes))
