"""Building the C extensions: with the address sanitizer, and where there is no compiler."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from telstate_testing.environment import missing

pytestmark = pytest.mark.slow

PACKAGE = Path(__file__).parents[1]
SOURCES = PACKAGE / "src" / "telstate_rdb"
COMPILER = shutil.which(os.environ.get("CC", "cc"))
needs_compiler = pytest.mark.skipif(COMPILER is None, reason=missing("C compiler"))

FUZZ_LZF = """
import ctypes
import importlib.util
import random
import sys

from telstate_rdb.lzf import compress_in_python, decompress_in_python

spec = importlib.util.spec_from_file_location("_lzf", sys.argv[1])
lzf = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lzf)
chooser = random.Random(sys.argv[2])


def exact(data):
    # Other buffers of Python have room for one byte more, where the sanitizer would not notice a read.
    return (ctypes.c_char * len(data)).from_buffer_copy(data)


def outcome(function, *arguments):
    try:
        return function(*arguments)
    except ValueError:
        return None


for number in range(10_000):
    words = [chooser.randbytes(chooser.randint(1, 40)) for _ in range(chooser.randint(1, 4))]
    full = b"".join(chooser.choices(words, k=chooser.choice((1, 2, 9, 60)))) * chooser.choice((1, 1, 30))
    full = full[: chooser.randint(0, len(full))]
    packed = lzf.compress(exact(full))
    assert packed is None or lzf.decompress(exact(packed), len(full)) == full
    data = bytearray(packed or compress_in_python(full) or full)
    for _ in range(chooser.randint(0, 3)):
        if data:
            data[chooser.randrange(len(data))] = chooser.randrange(256)
    data = bytes(data[: chooser.randint(0, len(data))] if number % 3 else data)
    size = max(0, len(full) + chooser.choice((0, 0, 0, 1, -1, 100, -100)))
    assert outcome(lzf.decompress, exact(data), size) == outcome(decompress_in_python, data, size)
print("done")
"""

FUZZ_WALK = """
import ctypes
import importlib.util
import random
import sys

from telstate_rdb.lzf import compress_in_python

spec = importlib.util.spec_from_file_location("_walk", sys.argv[1])
walk = importlib.util.module_from_spec(spec)
spec.loader.exec_module(walk)
walk = walk.walk
chooser = random.Random(sys.argv[2])


def exact(data):
    return (ctypes.c_char * len(data)).from_buffer_copy(data)


def length(size):
    if size < 64:
        return bytes([size])
    return bytes([0x40 | size >> 8, size & 255]) if size < 16384 else b"\\x80" + size.to_bytes(4, "big")


def encode(data):
    packed = compress_in_python(data) if chooser.random() < 0.2 else None
    if packed is None:
        return length(len(data)) + data
    return b"\\xc3" + length(len(packed)) + length(len(data)) + packed


for number in range(3000):
    strings = sorted(
        {
            chooser.randbytes(chooser.choice((0, 1, 8))) + b"word" * chooser.choice((0, 2, 3, 30, 5000))
            for _ in range(chooser.choice((1, 3, 30)))
        },
        reverse=chooser.random() < 0.5,
    )
    tail = chooser.choice((b"", b"\\x010", bytes(8), b"\\x0b-1.25000000"))
    table = b"".join(encode(one) + tail for one in strings)
    whole = walk(exact(table), 0, len(strings), tail, b"", 0, 0, True)
    assert whole[:2] == (len(table), len(strings)) and whole[3] == 0 and whole[4]
    assert whole[5] in (2, 0 if len(strings) == 1 else 1 if strings[0] < strings[-1] else -1)
    # In two pieces it is the same, as far as each string is found.
    middle = chooser.randint(0, len(table))
    first = walk(exact(table[:middle]), 0, len(strings), tail, b"", 0, 0, True)
    assert first[0] <= middle and first[1] <= len(strings)
    if first[1] and not first[3]:
        second = walk(exact(table), first[0], len(strings) - first[1], tail, first[6], first[7], first[5], True)
        assert second[0] == len(table) and first[1] + second[1] == len(strings)
        assert second[5] in (2, whole[5]) or whole[5] == 2
    data = bytearray(table)
    for _ in range(chooser.randint(0, 3)):
        if data:
            data[chooser.randrange(len(data))] = chooser.randrange(256)
    data = bytes(data[: chooser.randint(0, len(data))])
    start = chooser.randint(0, len(data))
    head = chooser.randbytes(chooser.choice((0, 16)))
    order, is_trusted = chooser.choice((-1, 0, 1, 2)), chooser.random() < 0.5
    position, *_ = walk(exact(data), start, 1 << 40, tail, head, 8, order, is_trusted)
    assert start <= position <= len(data)
print("done")
"""


@needs_compiler
@pytest.mark.parametrize(("name", "fuzz"), [("_lzf", FUZZ_LZF), ("_walk", FUZZ_WALK)])
def test_fuzzed_under_sanitizers(tmp_path: Path, name: str, fuzz: str) -> None:
    """Valid, changed and truncated data never makes an extension leave a buffer, and it agrees with Python."""
    assert COMPILER is not None
    library = subprocess.run(
        [COMPILER, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(library).is_absolute():
        pytest.skip(missing("address sanitizer"))
    built = tmp_path / f"{name}.abi3.so"
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    options = [
        "-g",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Wno-unused-parameter",
        "-Werror",
        "-fPIC",
        "-shared",
    ]
    include = f"-I{sysconfig.get_path('include')}"
    command = [
        COMPILER,
        *sanitizers,
        *options,
        include,
        str(SOURCES / f"{name}.c"),
        "-o",
        str(built),
    ]
    subprocess.run(command, check=True)
    environment = {
        **os.environ,
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": "detect_leaks=0",  # Python frees little at its end.
        "PYTHONMALLOC": "malloc",
    }
    done = subprocess.run(
        [sys.executable, "-c", fuzz, str(built), "telstate"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


@pytest.mark.parametrize("name", ["_lzf", "_walk"])
def test_formats(name: str) -> None:
    """No format has a "#": what CPython 3.13 compiles of it fails on 3.12 and before, for which it is meant too."""
    source = (SOURCES / f"{name}.c").read_text()
    calls = re.findall(r"Py(?:Arg_ParseTuple|_BuildValue)\([^;]*;", source)
    assert calls and not [call for call in calls if "#" in call]


def build(folder: Path, compiler: str) -> Path:
    """Build the package as pip does, with a compiler that may not exist; return the folder of the modules."""
    source = folder / "source"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("*.so", "build", "*.egg-info"))
    command = [sys.executable, "setup.py", "-q", "build", "--build-lib", str(folder / "built")]
    environment = {**os.environ, "CC": compiler, "PYTHONWARNINGS": "ignore"}
    subprocess.run(command, cwd=source, env=environment, capture_output=True, check=True)
    return folder / "built"


READ = """
import telstate_rdb.lazy
import telstate_rdb.lzf
assert telstate_rdb.__file__.startswith({folder!r}), telstate_rdb.__file__
snapshot = b"REDIS0003" b"\\xfe\\x00" b"\\x00\\x04gain" b"\\xc3\\x0c\\x40\\x50\\x07telstate\\xe0?\\x07" b"\\xff"
(record,) = telstate_rdb.read_rdb(snapshot)
assert (telstate_rdb.lazy.walk is not None) is telstate_rdb.lzf.is_compiled
print(telstate_rdb.lzf.is_compiled, record.value == b"telstate" * 10)
"""


@pytest.mark.parametrize(
    "compiler", [pytest.param(COMPILER, marks=needs_compiler), "there-is-no-such-compiler"]
)
def test_build(tmp_path: Path, compiler: str) -> None:
    """With a compiler the package contains the extensions; without, it is built all the same and reads files."""
    folder = build(tmp_path, compiler)
    assert not list(folder.rglob("*.c"))
    assert list(folder.rglob("_lzf.pyi")) and list(folder.rglob("_walk.pyi"))
    done = subprocess.run(
        [sys.executable, "-c", READ.format(folder=str(folder))],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [str(compiler == COMPILER), "True"], done.stderr
