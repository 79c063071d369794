"""Look for Rust in what was installed or downloaded, and fail if there is any.

Usage: ``python crates.py FOLDER ...``; a folder is an environment or holds wheels. A distribution counts
as written in Rust if maturin or setuptools-rust built it, if it brings Rust sources, or if a compiled
file in it holds what the Rust compiler leaves in every binary.
"""

from __future__ import annotations

import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

# Built by a tool for Rust, according to the metadata (WHEEL) of the distribution.
BUILDER = re.compile(rb"^Generator: *(maturin|setuptools-rust)", re.MULTILINE | re.IGNORECASE)
# Every Rust binary has the panic machinery of its standard library.
COMPILED = re.compile(rb"rust_panic|rust_begin_unwind|RUST_BACKTRACE|\.cargo/registry")
COMPILED_SUFFIXES = (".so", ".pyd", ".dylib")
SOURCES = re.compile(r"(^|/)Cargo\.(toml|lock)$|\.rs$")


def reason(name: str, content: bytes) -> str | None:
    """Say why a file means Rust, or give None."""
    if SOURCES.search(name):
        return "a Rust source"
    if name.endswith(".dist-info/WHEEL") and BUILDER.search(content):
        return "built by a tool for Rust"
    if (name.endswith(COMPILED_SUFFIXES) or ".so." in name) and COMPILED.search(content):
        return "compiled from Rust"
    return None


def files_of(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Give the files of all distributions below a folder that could tell."""
    for path in sorted(folder.rglob("*")):
        name = path.as_posix()
        telling = name.endswith((".whl", "WHEEL", *COMPILED_SUFFIXES)) or ".so." in name
        if not path.is_file() or not (telling or SOURCES.search(name)):
            continue
        if not name.endswith(".whl"):
            yield name, path.read_bytes()
            continue
        with zipfile.ZipFile(path) as wheel:
            for member in wheel.namelist():
                yield f"{path.name}: {member}", wheel.read(member)


def main(folders: list[str]) -> int:
    """Print what was found; 1 if anything was, or if there was nothing to look at."""
    looked_at = 0
    found = []
    for folder in folders:
        for name, content in files_of(Path(folder)):
            looked_at += 1
            why = reason(name, content)
            if why:
                found.append(f"{name}: {why}")
    for line in found:
        print(f"Rust is not allowed here: {line}")
    if not looked_at:
        print(f"There is no distribution below {', '.join(folders)}; name an environment.")
    return int(bool(found) or not looked_at)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
