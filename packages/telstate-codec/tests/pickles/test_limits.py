"""The safe policy against pickles that need excessive memory, time or recursion.

All of them ("bombs") are loaded in one process, which may use 200 MB more than it has and a minute
of processor time. Each must return a value or raise `DecodeError`, and so must the one after it.
"""

from __future__ import annotations

import json
import pickle
import struct
import subprocess
import sys
from base64 import b64encode

import numpy as np
import pytest

MANY = 50_000


def long(number: int) -> bytes:
    """Push an integer of any size."""
    data = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8b" + struct.pack("<i", len(data)) + data


def text(length: int) -> bytes:
    """Push a text of a given length."""
    return b"T" + struct.pack("<i", length) + b"x" * length


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\nq\x05(cnumpy\nndarray\n(K\x00tU\x01btq\x06R"
BYTE = (
    b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xff"
    b"J\xff\xff\xff\xffK\x00tbq\x07"
)
OBJECTS = BYTE.replace(b"U\x02u1", b"U\x01O")
VOID = b"cnumpy\ndtype\nq\x08(U\x02V0K\x00K\x01tR(K\x03U\x01|NNN%sK\x01K\x00tb"
NO_BYTES = VOID % b"K\x00"
HUGE = 160_000  # bytes of an integer
PRIME = 2**61 - 1  # Python's hash of an integer is its remainder by this

REFUSED: dict[str, tuple[bytes, str]] = {
    # lengths of data that do not follow
    "BINSTRING": (b"T\xff\xff\xff\x7f.", "too early"),
    "negative BINSTRING": (b"T\xff\xff\xff\xff.", "too early"),
    "BINUNICODE": (b"X\xff\xff\xff\xff.", "too early"),
    "BINUNICODE8": (b"\x8d" + b"\xff" * 7 + b"\x7f.", "too early"),
    "BINBYTES": (b"B\xff\xff\xff\x7f.", "too early"),
    "BINBYTES8": (b"\x8e" + b"\x00" * 5 + b"\x01\x00\x00.", "too early"),
    "BYTEARRAY8": (b"\x96" + b"\x00" * 5 + b"\x01\x00\x00.", "too early"),
    "LONG4": (b"\x8b\xff\xff\xff\x7f.", "too early"),
    "FRAME": (b"\x80\x04\x95" + b"\x00" * 5 + b"\x01\x00\x00N.", "too early"),
    # numbers that are slow to read
    "LONG of a million digits": (b"L" + b"9" * 1_000_000 + b"L\n.", "too long"),
    "INT of a million digits": (b"I" + b"9" * 1_000_000 + b"\n.", "too long"),
    "FLOAT of a million digits": (b"F" + b"9" * 1_000_000 + b"\n.", "too long"),
    "PUT of a million digits": (b"Np" + b"9" * 1_000_000 + b"\n.", "too long"),
    "Fraction of a huge power": (b"cfractions\nFraction\n(U\x0b1e999999999tR.", "moderate size"),
    "Fraction of huge integers": (
        b"cfractions\nFraction\n(" + long(3**700_000) + long(5**400_000) + b"tR.",
        "moderate size",
    ),
    "Decimal of a megabyte": (
        b"cdecimal\nDecimal\n(T\x00\x00\x10\x00" + b"9" * 2**20 + b"tR.",
        "moderate",
    ),
    "timedelta of a megabyte": (
        b"cdatetime\ntimedelta\n(" + long(7**300_000) + b"tR.",
        "out of range",
    ),
    "bytearray of 1 TB": (
        b"cbuiltins\nbytearray\n(\x8a\x06\x00\x00\x00\x00\x00\x01tR.",
        "of bytes",
    ),
    "bytes of 1 TB": (b"cbuiltins\nbytes\n(\x8a\x06\x00\x00\x00\x00\x00\x01tR.", "of bytes"),
    # arrays that are larger than their bytes
    "array of 1 TB": (
        ARRAY + b"(K\x01(\x8a\x06\x00\x00\x00\x00\x00\x01t" + BYTE + b"\x89U\x00tb.",
        "more or fewer",
    ),
    "array of 1 TB by reconstruction": (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(\x8a\x06\x00\x00\x00\x00\x00\x01t"
        b"U\x01btR.",
        "not finished",
    ),
    "array of very many elements without bytes": (
        ARRAY + b"(K\x01(\x8a\x06\x00\x00\x00\x00\x00\x01t" + NO_BYTES + b"\x89U\x00tb.",
        "memory",
    ),
    "array of 1 TB of objects": (
        ARRAY + b"(K\x01(\x8a\x06\x00\x00\x00\x00\x00\x01t" + OBJECTS + b"\x89]tb.",
        "made of a list",
    ),
    "array without elements, which have 2 GB each": (
        ARRAY + b"(K\x01(K\x00t" + VOID % b"J\xff\xff\xff\x7f" + b"\x89U\x00tb.",
        "memory",
    ),
    "scalar of 2 GB": (
        b"cnumpy.core.multiarray\nscalar\n(" + VOID % b"J\xff\xff\xff\x7f" + b"U\x00tR.",
        "more or fewer",
    ),
    "shape of a megabyte": (
        ARRAY + b"(K\x01(" + long(7**300_000) + b"t" + BYTE + b"\x89U\x00tb.",
        "a shape is impossible",
    ),
    # objects that are copied each time they are used
    "text again and again": (
        b"c_codecs\nencode\nq\x00"
        + text(MANY)
        + b"U\x06latin1\x86q\x01"
        + b"h\x00h\x01R" * MANY
        + b".",
        "memory",
    ),
    "bytearray again and again": (
        b"cbuiltins\nbytearray\nq\x00"
        + text(MANY)
        + b"U\x06latin1\x86q\x01"
        + b"h\x00h\x01R" * MANY
        + b".",
        "memory",
    ),
    "array again and again": (
        BYTE
        + b"(K\x01("
        + struct.pack("<ci", b"J", MANY)
        + b"th\x07\x89"
        + text(MANY)
        + b"tq\x01"
        + ARRAY
        + b"h\x01b"
        + b"h\x05h\x06Rh\x01b" * MANY
        + b".",
        "memory",
    ),
    "scalar again and again": (
        b"cnumpy.core.multiarray\nscalar\nq\x00"
        + VOID % struct.pack("<ci", b"J", MANY)
        + text(MANY)
        + b"\x86q\x01"
        + b"h\x00h\x01R" * MANY
        + b".",
        "memory",
    ),
    "set again and again": (
        b"cbuiltins\nset\nq\x00]("
        + b"".join(b"M" + struct.pack("<H", i) for i in range(50_000))
        + b"e\x85q\x01"
        + b"h\x00h\x01R" * MANY
        + b".",
        "memory",
    ),
    "OrderedDict again and again": (
        b"ccollections\nOrderedDict\nq\x00]("
        + b"NN\x86" * MANY
        + b"e\x85q\x01"
        + b"h\x00h\x01R" * MANY
        + b".",
        "",
    ),
    "objects again and again": (
        OBJECTS
        + b"(K\x01("
        + struct.pack("<ci", b"J", MANY)
        + b"th\x07\x89]("
        + b"N" * MANY
        + b"etq\x01"
        + ARRAY
        + b"h\x01b"
        + b"h\x05h\x06Rh\x01b" * MANY
        + b".",
        "memory",
    ),
    "Fraction again and again": (
        b"cfractions\nFraction\nq\x00T\xa0\x0f\x00\x00"
        + b"7" * 1999
        + b"/"
        + b"3" * 2000
        + b"\x85q\x01"
        + b"h\x00h\x01R" * MANY
        + b".",
        "memory",
    ),
    "Fraction of integers again and again": (
        b"cfractions\nFraction\nq\x00"
        + long(3**10_000)
        + long(5**6_000)
        + b"\x86q\x01"
        + b"h\x00h\x01R" * MANY
        + b".",
        "memory",
    ),
    "Decimal again and again": (
        b"cdecimal\nDecimal\nq\x00T\xa0\x0f\x00\x00"
        + b"7" * 4000
        + b"\x85q\x01"
        + b"h\x00h\x01R" * MANY
        + b".",
        "memory",
    ),
    "structure again and again": (
        b"cnumpy\ndtype\nq\x08(U\x02V1tq\x03R(K\x03U\x01|N("
        + b"".join(b"U\x04%04d" % i for i in range(2000))
        + b"t}("
        + b"".join(
            b"U\x04%04d" % i + (BYTE if i == 0 else b"h\x07") + b"K\x00\x86" for i in range(2000)
        )
        + b"uK\x01K\x01K\x00tq\x04b"
        + b"h\x08h\x03Rh\x04b" * MANY
        + b".",
        "memory",
    ),
    "range again and again": (
        long(2 ** (8 * HUGE))
        + b"q\x000c__builtin__\nxrange\nq\x010"
        + b"h\x01h\x00\x85R0" * MANY
        + b"N.",
        "range needs integers of up to 64 bits",
    ),
    "slice again and again": (
        long(2 ** (8 * HUGE))
        + b"q\x000cbuiltins\nslice\nq\x010"
        + b"h\x01h\x00\x85R0" * MANY
        + b"N.",
        "slice needs integers of up to 64 bits",
    ),
    "complex again and again": (
        long(2 ** (8 * HUGE))
        + b"q\x000cbuiltins\ncomplex\nq\x010"
        + b"h\x01h\x00K\x00\x86R0" * MANY
        + b"N.",
        "too large",
    ),
    "encoding in an array, again and again": (
        b"c_codecs\nencode\nq\x00U\x00"
        + ARRAY
        + b"(K\x01)"
        + b"cnumpy\ndtype\n(U\x02U1K\x00K\x01tR(K\x03U\x01<NNN"
        + struct.pack("<ci", b"J", 4 * MANY)
        + b"K\x04K\x00tb\x89"
        + b"T"
        + struct.pack("<i", 4 * MANY)
        + "latin1".encode("utf-32-le").ljust(4 * MANY, b"\0")
        + b"tb\x86q\x01"
        + b"h\x00h\x01R" * MANY
        + b".",
        "Latin-1 only",
    ),
    "date again and again": (
        b"cdatetime\ndate\nq\x00" + text(MANY) + b"\x85q\x01" + b"h\x00h\x01R" * MANY + b".",
        "too many values",
    ),
    # keys whose hash takes forever
    "range of huge integers as a key, often": (
        b"c__builtin__\nxrange\n"
        + long(2 ** (8 * HUGE))
        + b"\x85Rq\x000]("
        + (b"}(" + b"h\x00N" * 90 + b"u") * (HUGE // 273)
        + b"e.",
        "range needs integers of up to 64 bits",
    ),
    "two equal structures as keys, often": (
        b"".join(
            b"cnumpy\ndtype\n(U\x02V1K\x00K\x01tR(K\x03U\x01|N("
            + b"".join(b"U\x04%04d" % i for i in range(2000))
            + b"t}("
            + b"".join(
                b"U\x04%04d" % i + (BYTE if i == 0 else b"h\x07") + b"K\x00\x86"
                for i in range(2000)
            )
            + b"uK\x01K\x01K\x00tbq%c0" % memo
            for memo in b"AB"
        )
        + b"}(hANhBNu0" * MANY
        + b"N.",
        "a structured dtype cannot be a key",
    ),
    "doubled tuples as a key": (b"})" + b"2\x86" * 60 + b"Ns.", "far more work"),
    "tripled tuples as a key": (b"})" + b"22\x87" * 40 + b"Ns.", "far more work"),
    "doubled tuples as an element": (b"\x8f()" + b"2\x86" * 60 + b"\x90.", "far more work"),
    "doubled tuples in a frozenset": (b"()" + b"2\x86" * 60 + b"\x91.", "far more work"),
    "doubled tuples in a set": (
        b"cbuiltins\nset\n](N)" + b"2\x86" * 60 + b"e\x85R.",
        "far more work",
    ),
    "doubled tuples in an OrderedDict": (
        b"ccollections\nOrderedDict\n]()" + b"2\x86" * 60 + b"N\x86e\x85R.",
        "far more work",
    ),
    "doubled tuples of frozensets": (
        b"}(\x91" + b"q\x00\x85h\x00\x86q\x01(h\x00h\x01\x91" * 60 + b"Ns.",
        "",
    ),
    "one long tuple as a key, often": (
        b"}(" + b"N" * 50_000 + b"tq\x00" + b"Nsh\x00" * MANY + b"Ns.",
        "far more work",
    ),
    "one long integer as a key, often": (
        b"}" + long(7**300_000) + b"q\x00" + b"Nsh\x00" * MANY + b"Ns.",
        "",
    ),
    "two equal long texts as keys, often": (
        b"}" + text(2**20) + b"Ns" + text(2**20) + b"q\x00" + b"Nsh\x00" * 300_000 + b"Ns.",
        "far more work",
    ),
    "deep tuples as a key": (b"})" + b"\x85" * MANY + b"Ns.", "nested more than 64 deep"),
    "deep frozensets": (b"(" * MANY + b"\x91" * MANY + b".", "nested more than 64 deep"),
    "integers of one hash": (
        b"}(" + b"".join(long(PRIME * i) + b"N" for i in range(1, MANY)) + b"u.",
        "the same hash",
    ),
    "integers of one hash, one by one": (
        b"}" + b"".join(long(PRIME * i) + b"Ns" for i in range(1, MANY)) + b".",
        "the same hash",
    ),
    "elements of one hash": (
        b"\x8f(" + b"".join(long(PRIME * i) for i in range(1, MANY)) + b"\x90.",
        "the same hash",
    ),
    "elements of one hash in a call": (
        b"cbuiltins\nset\n](" + b"".join(long(PRIME * i) for i in range(1, MANY)) + b"e\x85R.",
        "the same hash",
    ),
    "complex numbers of one hash": (
        b"cbuiltins\ncomplex\nq\x000}("
        + b"".join(
            b"h\x00G" + struct.pack(">d", -1000003.0 * i) + b"G" + struct.pack(">d", i) + b"\x86RN"
            for i in range(1, MANY)
        )
        + b"u.",
        "the same hash",
    ),
    # structures that are larger than they look
    "overlapping fields of text": (
        b"cnumpy\ndtype\n(U\x02U1K\x00K\x01tR(K\x03U\x01<NNN"
        + struct.pack("<ci", b"J", 4 * MANY)
        + b"K\x04K\x00tbq\x09"
        + b"cnumpy\ndtype\n(U\x02V1K\x00K\x01tR(K\x03U\x01|N("
        + b"".join(b"U\x04%04d" % i for i in range(9000))
        + b"t}("
        + b"".join(b"U\x04%04dh\x09K\x00\x86" % i for i in range(9000))
        + b"u"
        + struct.pack("<ci", b"J", 4 * MANY)
        + b"K\x01K\x00tbq\x08"
        + ARRAY
        + b"(K\x01K\x01\x85h\x08\x89"
        + text(4 * MANY).replace(b"x", b"\0")
        + b"tb.",
        "memory",
    ),
    "many arrays of a structure": (
        b"cnumpy\ndtype\n(U\x02V1K\x00K\x01tR(K\x03U\x01|N("
        + b"".join(b"U\x04%04d" % i for i in range(9000))
        + b"t}("
        + b"".join(
            b"U\x04%04d" % i + (BYTE if i == 0 else b"h\x07") + b"K\x00\x86" for i in range(9000)
        )
        + b"uK\x01K\x01K\x00tbq\x08(K\x01K\x01\x85h\x08\x89U\x01atq\x01"
        + ARRAY
        + b"h\x01b"
        + b"h\x05h\x06Rh\x01b" * MANY
        + b".",
        "memory",
    ),
    "doubled structure": (
        VOID.replace(b"NNN%s", b"N%s") % (b"(U\x01at}U\x01a" + BYTE + b"K\x00\x86sK\x01")
        + b"".join(
            b"q\x09h\x08(U\x02V%dK\x00K\x01tR(K\x03U\x01|N(U\x01aU\x01bt}(U\x01ah\x09K\x00\x86U\x01bh\x09K\x00\x86u"
            b"K\x01K\x01K\x00tb" % 1
            for _ in range(28)
        )
        + b".",
        "memory",
    ),
    "deep structure": (
        BYTE
        + b"h\x07"
        + b"".join(
            b"q\x09cnumpy\ndtype\n(U\x02V1K\x00K\x01tR(K\x03U\x01|N(U\x01at}U\x01ah\x09K\x00\x86sK\x01K\x01K\x00tb"
            for _ in range(100)
        )
        + b".",
        "nested more than 32 deep",
    ),
    # nesting
    "deep lists": (b"]" * MANY + b"a" * (MANY - 1) + b".", "nested more than 1000 deep"),
    "deep tuples": (b")" + b"\x85" * MANY + b".", "nested more than 1000 deep"),
    "deep dictionaries": (b"}N" * MANY + b"}" + b"s" * MANY + b".", "nested more than 1000 deep"),
    "deep OrderedDicts": (
        b"ccollections\nOrderedDict\nq\x00)R" + b"Nh\x00)R" * MANY + b"s" * MANY + b".",
        "nested more than 1000 deep",
    ),
    "deep marks": (b"(" * MANY + b"t" * MANY + b".", "nested more than 1000 deep"),
    # objects whose destructors recurse
    "deep defaultdicts": (
        b"ccollections\ndefaultdict\nq\x00)R" + b"Nh\x00)R" * MANY + b"s" * MANY + b".",
        "more than 1000",
    ),
    "deep arrays of objects": (
        OBJECTS
        + ARRAY
        + b"(K\x01K\x01\x85h\x07\x89]("
        + b"h\x05h\x06R(K\x01K\x01\x85h\x07\x89](" * MANY
        + b"N"
        + b"etb" * MANY
        + b"etb.",
        "more than 1000",
    ),
}
"""Pickles that need too much, each with a part of the message ("" if a value is fine, too)."""

HARMLESS: dict[str, bytes] = {
    "memo index of 2**31": b"Nr\xff\xff\xff\x7f.",
    "memo index of 2**32": b"Nr\xff\xff\xff\xff.",
    "memo index of 10**18": b"Np1000000000000000000\n.",
    "many memo indices": b"N"
    + b"".join(b"r" + struct.pack("<I", i << 12) for i in range(MANY))
    + b".",
    "marks only": b"(" * 1_000_000 + b"N.",
    "lists, just not too deep": b"]" * 1000 + b"a" * 999 + b".",
    "one tuple in many lists": b"]N\x85q\x000](" + b"](h\x00h\x00eh\x00\x85" * 5000 + b"e.",
    "a list in itself, often": b"]q\x00(" + b"h\x00\x85" * 5000 + b"e.",
    "doubled lists": b"]" + b"2a" * 60 + b".",
    "doubled tuples": b")" + b"2\x86" * 60 + b".",
    "doubled tuples and NumPy": b"cnumpy\nfloat64\n\x85" + b"2\x86" * 60 + b".",
    "one integer of a megabyte": long(7**300_000) + b".",
    "huge range": b"cbuiltins\nrange\n(\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x70tR.",
    "huge Decimal": b"cdecimal\nDecimal\n(U\x0b1e999999999tR.",
    "duplicates": b"N" + b"2" * 1_000_000 + b".",
    "many equal keys": b"}(" + b"K\x01N" * MANY + b"u.",
    "many float keys": b"}("
    + b"".join(b"G" + struct.pack(">d", i) + b"N" for i in range(MANY))
    + b"u.",
    "many tuple keys": b"}("
    + b"".join(b"J" + struct.pack("<i", i) + b"\x85N" for i in range(MANY))
    + b"u.",
    "many dictionaries, each dropped": b"}(K\x01\x85Nu0" * MANY + b"N.",
    "many sets, each dropped": b"\x8f(K\x01\x85\x900" * MANY + b"N.",
    "quotes": b"S'" + b"\\x41" * MANY + b"'\n.",
    "backslashes": b"S'" + b"\\" * (2 * MANY) + b"'\n.",
    "real data": pickle.dumps(
        {str(i): (i, np.float64(i), np.arange(i % 7)) for i in range(2000)}, 2
    ),
}

SCRIPT = """
import base64, json, os, pathlib, resource, sys
import numpy
from telstate_codec.errors import DecodeError
from telstate_codec.pickles import PicklePolicy, load_pickle

pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
room = pages * os.sysconf("SC_PAGE_SIZE") + 200 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (room, room))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
for line in sys.stdin:
    name, data = json.loads(line)
    try:
        outcome = "a value"
        load_pickle(base64.b64decode(data), PicklePolicy.SAFE)
    except DecodeError as error:
        outcome = str(error)
    print(json.dumps([name, outcome]), flush=True)
"""


@pytest.mark.slow
def test_limits_stop_every_bomb() -> None:
    """Bombs raise DecodeError for the right reason, and harmless pickles are read."""
    # One test, so that the process is started once.
    bombs = {name: data for name, (data, _) in REFUSED.items()} | HARMLESS
    expected = {name: reason for name, (_, reason) in REFUSED.items()}
    expected |= {name: "a value" for name in HARMLESS}
    lines = [json.dumps([name, b64encode(data).decode()]) for name, data in bombs.items()]
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        input="\n".join(lines),
        capture_output=True,
        text=True,
    )
    outcomes: dict[str, str] = dict(map(json.loads, run.stdout.splitlines()))
    last = next(reversed(outcomes), None)
    assert (run.returncode, run.stderr) == (0, ""), f"after {last}"
    wrong = {
        name: outcome
        for name, outcome in outcomes.items()
        if expected[name] not in outcome or "MemoryError" in outcome
    }
    assert wrong == {}
    assert outcomes.keys() == bombs.keys()
