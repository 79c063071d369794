"""Building the C extension: with the address sanitizer, and where there is no compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from telstate_testing.environment import missing

pytestmark = pytest.mark.slow

PACKAGE = Path(__file__).parents[1]
SOURCE = PACKAGE / "src" / "telstate_rdb" / "_lzf.c"
COMPILER = shutil.which(os.environ.get("CC", "cc"))
needs_compiler = pytest.mark.skipif(COMPILER is None, reason=missing("C compiler"))

FUZZ = """
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


@needs_compiler
def test_fuzzed_under_sanitizers(tmp_path: Path) -> None:
    """Valid, changed and truncated data never makes the extension leave a buffer, and it agrees with Python."""
    assert COMPILER is not None
    library = subprocess.run(
        [COMPILER, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(library).is_absolute():
        pytest.skip(missing("address sanitizer"))
    built = tmp_path / "_lzf.abi3.so"
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
    command = [COMPILER, *sanitizers, *options, include, str(SOURCE), "-o", str(built)]
    subprocess.run(command, check=True)
    environment = {
        **os.environ,
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": "detect_leaks=0",  # Python frees little at its end.
        "PYTHONMALLOC": "malloc",
    }
    done = subprocess.run(
        [sys.executable, "-c", FUZZ, str(built), "telstate"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def build(folder: Path, compiler: str) -> Path:
    """Build the package as pip does, with a compiler that may not exist; return the folder of the modules."""
    source = folder / "source"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("*.so", "build", "*.egg-info"))
    command = [sys.executable, "setup.py", "-q", "build", "--build-lib", str(folder / "built")]
    environment = {**os.environ, "CC": compiler, "PYTHONWARNINGS": "ignore"}
    subprocess.run(command, cwd=source, env=environment, capture_output=True, check=True)
    return folder / "built"


READ = """
import telstate_rdb.lzf
assert telstate_rdb.__file__.startswith({folder!r}), telstate_rdb.__file__
snapshot = b"REDIS0003" b"\\xfe\\x00" b"\\x00\\x04gain" b"\\xc3\\x0c\\x40\\x50\\x07telstate\\xe0?\\x07" b"\\xff"
(record,) = telstate_rdb.read_rdb(snapshot)
print(telstate_rdb.lzf.is_compiled, record.value == b"telstate" * 10)
"""


@pytest.mark.parametrize(
    "compiler", [pytest.param(COMPILER, marks=needs_compiler), "there-is-no-such-compiler"]
)
def test_build(tmp_path: Path, compiler: str) -> None:
    """With a compiler the package contains the extension; without, it is built all the same and reads files."""
    folder = build(tmp_path, compiler)
    assert not list(folder.rglob("*.c"))
    assert list(folder.rglob("_lzf.pyi"))
    done = subprocess.run(
        [sys.executable, "-c", READ.format(folder=str(folder))],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [str(compiler == COMPILER), "True"], done.stderr
