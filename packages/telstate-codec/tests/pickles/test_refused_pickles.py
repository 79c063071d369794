"""The safe policy against pickles that misuse allowed globals: wrong arguments, states and names.

None of them would run a program by itself; each is a step towards running one, or towards access to
foreign memory.
"""

from __future__ import annotations

import collections
import copyreg
import pathlib
import pickle
import subprocess
import sys
from collections.abc import Iterator

import pytest
from codec_pickles import AUDIT, call, dotted_name, global_name, mapping, text

from telstate_codec.errors import DecodeError
from telstate_codec.pickles import PicklePolicy, load_pickle

DTYPE = b"cnumpy\ndtype\n(%sK\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
DOUBLE = (
    b"cnumpy\ndtype\n(U\x02f8K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
)
OBJECT = DTYPE % b"U\x01O"
ARRAY = global_name("numpy.core.multiarray", "_reconstruct") + b"(cnumpy\nndarray\n(K\x00tU\x01btR"
SCALAR = global_name("numpy.core.multiarray", "scalar")

REFUSED: dict[str, tuple[bytes, str]] = {
    "a function as a value": (global_name("_codecs", "encode"), "the function _codecs.encode"),
    "a function in a list": (b"](" + SCALAR + b"e", "the function numpy.core.multiarray.scalar"),
    "a function in a tuple in a dict": (
        b"}N" + global_name("copyreg", "_reconstructor") + b"\x85s",
        "the function copyreg._reconstructor",
    ),
    "a function in an array": (
        ARRAY + b"(K\x01(K\x01t" + OBJECT + b"\x89](" + SCALAR + b"etb",
        "the function numpy.core.multiarray.scalar",
    ),
    "a function as a key": (
        b"}" + global_name("_codecs", "encode") + b"Ns",
        "a Function cannot be a key",
    ),
    "attributes of a function": (
        global_name("_codecs", "encode") + mapping(call=global_name("builtins", "object")) + b"b",
        "sets the state of a Function",
    ),
    "attributes of a class": (
        global_name("collections", "OrderedDict")
        + mapping(update=global_name("builtins", "object"))
        + b"b",
        "sets the state of OrderedDict",
    ),
    "slots of a class": (
        global_name("decimal", "Decimal") + b"N" + mapping(__add__=b"N") + b"\x86b",
        "sets the state of Decimal",
    ),
    "attributes of a dictionary": (b"}" + mapping(a=b"N") + b"b", "sets the state of a dict"),
    "attributes of an OrderedDict": (
        call(global_name("collections", "OrderedDict")) + mapping(update=b"N") + b"b",
        "sets the state of a OrderedDict",
    ),
    "attributes of a Fraction": (
        call(global_name("fractions", "Fraction"), text("1/3"))
        + mapping(_denominator=b"K\x00")
        + b"b",
        "sets the state of a Fraction",
    ),
    "another state for a finished array": (
        ARRAY
        + b"(K\x01(K\x01t"
        + DOUBLE
        + b"\x89U\x0812345678tb" * 1
        + b"(K\x01(K\x7ft"
        + DOUBLE
        + b"\x89U\x00tb",
        "sets the state of a ndarray",
    ),
    "two states for one array": (
        ARRAY
        + b"2(K\x01(K\x01t"
        + DOUBLE
        + b"\x89U\x0812345678tb0"
        + b"(K\x01(K\x01t"
        + DOUBLE
        + b"\x89U\x0812345678tb",
        "sets the state of a UnfinishedArray",
    ),
    "NEWOBJ": (global_name("collections", "OrderedDict") + b")\x81", "an instance of OrderedDict"),
    "NEWOBJ with arguments": (
        global_name("builtins", "object") + b"N\x85\x81",
        "an instance of object",
    ),
    "NEWOBJ_EX": (
        global_name("builtins", "object") + b")}\x92",
        "an instance with keyword arguments",
    ),
    "INST of plain data": (b"(icollections\nOrderedDict\n", "a class of Python 2"),
    "OBJ of plain data": (b"(" + global_name("builtins", "object") + b"o", "a class of Python 2"),
    "call of a number": (b"K\x05)R", "it calls a int"),
    "call of an unhashable": (b"])R", "it calls a list"),
    "call of a class that is only a value": (
        call(global_name("builtins", "int"), text("1")),
        "it calls int",
    ),
    "call of text": (call(global_name("builtins", "str"), b"K\x01"), "it calls str"),
    "call of ndarray": (
        call(global_name("numpy", "ndarray"), b"(J\xff\xff\xff\x7ft"),
        "it calls ndarray",
    ),
    "call of a scalar type": (
        call(global_name("numpy", "void"), b"J\xff\xff\xff\x7f"),
        "it calls void",
    ),
    "arguments that are a list": (global_name("collections", "OrderedDict") + b"]R", "not a tuple"),
    "copyreg.__newobj__": (
        call(global_name("copyreg", "__newobj__"), global_name("builtins", "object")),
        "the global copyreg.__newobj__",
    ),
    "copyreg.add_extension": (
        call(global_name("copyreg", "add_extension"), text("os"), text("system"), b"K\x42"),
        "the global copyreg.add_extension",
    ),
    "_reconstructor of another class": (
        call(
            global_name("copy_reg", "_reconstructor"),
            global_name("builtins", "list"),
            global_name("builtins", "object"),
            b"N",
        ),
        "copyreg._reconstructor is for plain objects only",
    ),
    "_reconstructor of a subprocess": (
        call(
            global_name("copy_reg", "_reconstructor"),
            global_name("subprocess", "Popen"),
            global_name("builtins", "object"),
            b"N",
        ),
        "the global subprocess.Popen",
    ),
    "_reconstructor with a state": (
        call(
            global_name("copy_reg", "_reconstructor"),
            global_name("builtins", "object"),
            global_name("builtins", "object"),
            b"K\x01",
        ),
        "copyreg._reconstructor is for plain objects only",
    ),
    "extension 1": (b"\x82\x42", "the extension registry"),
    "extension 2": (b"\x83\x42\x00", "the extension registry"),
    "extension 4": (b"\x84\x42\x00\x00\x00", "the extension registry"),
    "persistent name": (b"Pname\n", "outside of it"),
    "persistent object": (b"K\x01Q", "outside of it"),
    "next buffer": (b"\x97", "a buffer outside of it"),
    "read-only buffer": (b"]\x98", "a buffer outside of it"),
    "codec with a bomb": (
        call(global_name("_codecs", "encode"), text("x"), text("zlib")),
        "_codecs.encode is for Latin-1",
    ),
    "codec of code": (
        call(global_name("_codecs", "encode"), text("x"), text("idna")),
        "_codecs.encode is for Latin-1",
    ),
    "codec with an error handler": (
        call(global_name("_codecs", "encode"), text("x"), text("latin1"), text("replace")),
        "_codecs.encode is for Latin-1",
    ),
    "codecs.decode": (
        call(global_name("codecs", "decode"), text("x"), text("rot13")),
        "codecs.decode",
    ),
    "default factory that is called": (
        call(global_name("collections", "defaultdict"), global_name("collections", "OrderedDict")),
        "the factory of a defaultdict must be a plain class",
    ),
    "default factory that is a function": (
        call(global_name("collections", "defaultdict"), global_name("_codecs", "encode")),
        "the factory of a defaultdict must be a plain class",
    ),
    "array of a subclass": (
        global_name("numpy.core.multiarray", "_reconstruct") + b"(cnumpy\ndtype\n(K\x00tU\x01btR",
        "a subclass of numpy.ndarray",
    ),
    "array of memmap": (
        global_name("numpy.core.multiarray", "_reconstruct") + b"(cnumpy\nmemmap\n(K\x00tU\x01btR",
        "the global numpy.memmap",
    ),
    "unfinished array": (ARRAY, "is not finished"),
    "array that holds itself": (
        ARRAY + b"q\x00(K\x01(K\x01t" + OBJECT + b"\x89](h\x00etb",
        "contains itself",
    ),
    "unfinished dtype": (b"cnumpy\ndtype\n(U\x02f8tR", "is not finished"),
    "objects from bytes": (
        ARRAY + b"(K\x01(K\x01t" + OBJECT + b"\x89U\x08\x41\x41\x41\x41\x41\x41\x41\x41tb",
        "an array of objects is made of a list",
    ),
    "too few objects": (
        ARRAY + b"(K\x01(K\x05t" + OBJECT + b"\x89](NNetb",
        "an array of objects is made of a list",
    ),
    "scalar of objects": (
        call(SCALAR, OBJECT, b"U\x08\x41\x41\x41\x41\x41\x41\x41\x41"),
        "the dtype of a NumPy scalar",
    ),
    "scalar of too few bytes": (call(SCALAR, DOUBLE, b"U\x011"), "more or fewer bytes"),
    "scalar without bytes": (call(SCALAR, DOUBLE, b"U\x00"), "more or fewer bytes"),
    "array of too few bytes": (
        ARRAY + b"(K\x01(K\x05t" + DOUBLE + b"\x89U\x0812345678tb",
        "more or fewer bytes",
    ),
    "array of a negative shape": (
        ARRAY + b"(K\x01(J\xff\xff\xff\xffJ\xff\xff\xff\xfft" + DOUBLE + b"\x89U\x0812345678tb",
        "a shape is impossible",
    ),
    "array of characters that do not exist": (
        ARRAY
        + b"(K\x01(K\x01tcnumpy\ndtype\n(U\x02U2K\x00K\x01tR(K\x03U\x01>NNNK\x08K\x04K\x08tb"
        + b"\x89U\x08\x00\x00\x00\x41\x00\x11\x00\x00tb",
        "characters that do not exist",
    ),
    "array whose shape overflows": (
        ARRAY + b"(K\x01(" + b"\x8a\x08\0\0\0\0\0\0\0\x40" * 4 + b"t" + DOUBLE + b"\x89U\x00tb",
        "more or fewer bytes",
    ),
    "array of a buffer of objects": (
        call(
            global_name("numpy.core.numeric", "_frombuffer"),
            b"C\x0812345678",
            OBJECT,
            b"(K\x01t",
            text("C"),
        ),
        "an array in a buffer",
    ),
    "objects in a structure": (
        b"cnumpy\ndtype\n(U\x02V8K\x00K\x01tR(K\x03U\x01|N(U\x01atq\x07}U\x01a"
        + OBJECT
        + b"K\x00\x86sK\x08K\x01K\x00tb",
        "objects inside a structured dtype",
    ),
    "field outside of the structure": (
        b"cnumpy\ndtype\n(U\x02V8K\x00K\x01tR(K\x03U\x01|N(U\x01at}U\x01a"
        + DOUBLE
        + b"K\x40\x86sK\x08K\x01K\x00tb",
        "ValueError",
    ),
    "structure without its field": (
        b"cnumpy\ndtype\n(U\x02V8K\x00K\x01tR(K\x03U\x01|N(U\x01at}K\x08K\x01K\x00tb",
        "a field of a structured dtype",
    ),
    "dtype by expression": (DTYPE % text("f8,(2)O"), "a dtype is not understood"),
    "dtype by class": (DTYPE % global_name("builtins", "object"), "a dtype is not understood"),
    "unknown unit of times": (
        b"cnumpy\ndtype\n(U\x02M8K\x00K\x01tR(K\x04U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00"
        b"}(U\x04evilK\x01K\x01K\x01t\x86tb",
        "the unit of a time",
    ),
    "date of text": (call(global_name("datetime", "date"), text("\x00\x00\x00\x00")), "ValueError"),
    "date of February 31": (
        call(global_name("datetime", "date"), text("\x07\x01\x02\x1f")),
        "ValueError",
    ),
    "date and time that is too long": (
        call(global_name("datetime", "datetime"), text("\x07\x01\x02\x1f" * 4)),
        "ValueError",
    ),
    "time of 25 hours": (
        call(global_name("datetime", "time"), text("\x19\0\0\0\0\0")),
        "ValueError",
    ),
    "zone that is not a timezone": (
        call(
            global_name("datetime", "time"), text("\x01\0\0\0\0\0"), global_name("builtins", "int")
        ),
        "a time zone must be a datetime.timezone",
    ),
    "timedelta of text": (
        call(global_name("datetime", "timedelta"), text("1")),
        "is made of integers",
    ),
    "timedelta that is out of range": (
        call(global_name("datetime", "timedelta"), b"J\xff\xff\xff\x7f"),
        "OverflowError",
    ),
    "Fraction with an exponent": (
        call(global_name("fractions", "Fraction"), text("1e999999999")),
        "two integers of moderate size",
    ),
    "Fraction with a denominator of 0": (
        call(global_name("fractions", "Fraction"), b"K\x01", b"K\x00"),
        "ZeroDivision",
    ),
    "Decimal of other text": (
        call(global_name("decimal", "Decimal"), text("x")),
        "InvalidOperation",
    ),
    "bytes by number": (
        call(global_name("builtins", "bytes"), b"J\xff\xff\xff\x7f"),
        "made of bytes",
    ),
    "bytearray by number": (
        call(global_name("builtins", "bytearray"), b"J\xff\xff\xff\x7f"),
        "made of bytes",
    ),
    "set of a range": (
        call(
            global_name("builtins", "set"),
            call(global_name("builtins", "range"), b"J\xff\xff\xff\x7f"),
        ),
        "a set is made of a list",
    ),
    "unhashable element": (b"\x8f(]\x90", "a list cannot be a key"),
    "unhashable key": (b"}]Ns", "a list cannot be a key"),
    "key without value": (b"}(Nu", "ValueError"),
    "items for a list": (b"]NNs", "something that is not a dictionary"),
    "appending to a bytearray": (
        call(global_name("builtins", "bytearray")) + b"K\x01a",
        "something that is not a list",
    ),
    "protocol 6": (b"\x80\x06N", "protocol 6"),
    "unknown opcode": (b"\xff", "unknown opcode, 0xff"),
    "newlines in a name": (text("os\nsystem") + text("x") + b"\x93", r"os\nsystem.x"),
}
"""Pickles without their STOP, each with a part of the message."""

DATA = pathlib.Path(__file__).parent / "data"
OTHERS = (DATA / "refused_globals.txt").read_text().split()
OTHERS += ["numpy", ".numpy", "", "builtins.\u0435val", "os\x00.system", "posix.system "]
"""Globals that must be refused, however they are used."""


@pytest.mark.parametrize("misuse", sorted(REFUSED))
def test_misuse_is_refused(misuse: str) -> None:
    """Each misuse of an allowed global is refused for the right reason, and nothing runs."""
    data, reason = REFUSED[misuse]
    with AUDIT as events, pytest.raises(DecodeError) as caught:
        load_pickle(data + b".", PicklePolicy.SAFE)
    assert reason in str(caught.value)
    assert events == []


def spellings(culprit: str) -> Iterator[bytes]:
    """Yield pickles that name a global in every possible way, called or not."""
    module, _, attribute = culprit.rpartition(".")
    yield dotted_name(module, attribute) + b"."
    whole = f"c{module}\n{attribute}\n".encode()
    yield from (whole + b".", whole + b")R.", b"(i" + whole[1:] + b".", whole + b")\x81.")
    parts = culprit.split(".")
    for split in range(1, len(parts)):  # a.b.c as (a, b.c), too
        yield dotted_name(".".join(parts[:split]), ".".join(parts[split:])) + b"."


def test_any_other_global_is_refused_by_name() -> None:
    """A global that is not plain data is refused and named, however it is spelled or used."""
    for culprit in OTHERS:
        shown = culprit if culprit.isascii() and culprit.isprintable() else ascii(culprit)
        expected = f"the global {shown if '.' in shown else '.' + shown} is not plain data"
        for data in spellings(culprit):
            with AUDIT as events, pytest.raises(DecodeError) as caught:
                load_pickle(data, PicklePolicy.SAFE)
            assert expected in str(caught.value)
            assert events == []


def test_the_extension_registry_is_not_used() -> None:
    """Even a code that the program has registered itself is refused."""
    copyreg.add_extension("collections", "OrderedDict", 0x42)
    try:
        data = pickle.dumps([collections.OrderedDict], 2)
        assert b"\x82\x42" in data
        with pytest.raises(DecodeError, match="extension registry"):
            load_pickle(data, PicklePolicy.SAFE)
    finally:
        copyreg.remove_extension("collections", "OrderedDict", 0x42)


def test_allowed_classes_are_not_changed() -> None:
    """After all attempts to set their state, the classes are unchanged."""
    script = (
        "import sys, pickle, collections, decimal\n"
        "from telstate_codec.pickles import load_pickle, PicklePolicy\n"
        "before = [dict(vars(kind)) for kind in (collections.OrderedDict, decimal.Decimal)]\n"
        f"for data in {[data + b'.' for data, _ in REFUSED.values()]!r}:\n"
        "    try:\n"
        "        load_pickle(data, PicklePolicy.SAFE)\n"
        "    except ValueError:\n"
        "        pass\n"
        "after = [dict(vars(kind)) for kind in (collections.OrderedDict, decimal.Decimal)]\n"
        "print(before == after)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "True\n"


def test_long_names_are_not_repeated() -> None:
    """A name of a megabyte is refused without being repeated in the message."""
    for data in (
        b"c" + b"x" * 1_000_000 + b"\ny\n.",
        b"T\x00\x00\x10\x00" + b"x" * 2**20 + b"2\x93.",
    ):
        with pytest.raises(DecodeError) as caught:
            load_pickle(data, PicklePolicy.SAFE)
        assert len(str(caught.value)) < 400
