"""Look for Rust in what was installed or downloaded, and fail if there is any.

Usage: ``python crates.py FOLDER ...``; a folder is an environment, or contains wheels and source
distributions. A distribution counts as written in Rust if maturin or setuptools-rust built it, if it
contains Rust sources, or if a compiled file in it contains what the Rust compiler leaves in every binary.
"""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

# The metadata (WHEEL) of the distribution names a build tool for Rust.
BUILDER = re.compile(rb"^Generator: *(maturin|setuptools-rust)", re.MULTILINE | re.IGNORECASE)
# Every Rust binary contains the panic machinery of its standard library.
COMPILED = re.compile(rb"rust_panic|rust_begin_unwind|RUST_BACKTRACE|\.cargo/registry")
COMPILED_SUFFIXES = (".so", ".pyd", ".dylib")
ARCHIVE_SUFFIXES = (".whl", ".tar.gz")
SOURCES = re.compile(r"(^|/)Cargo\.(toml|lock)$|\.rs$")


def is_compiled(name: str) -> bool:
    """Return whether a file is a shared library, by its name."""
    return name.endswith(COMPILED_SUFFIXES) or ".so." in name


def reason(name: str, content: bytes) -> str | None:
    """Return why a file is a sign of Rust, or None if it is not."""
    if SOURCES.search(name):
        return "a Rust source"
    if name.endswith(".dist-info/WHEEL") and BUILDER.search(content):
        return "built by a tool for Rust"
    if is_compiled(name) and COMPILED.search(content):
        return "compiled from Rust"
    return None


def files_of(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the files of all distributions below a folder that may be a sign."""
    for path in sorted(folder.rglob("*")):
        name = path.as_posix()
        if not path.is_file():
            continue
        if name.endswith(ARCHIVE_SUFFIXES):
            yield from members_of(path)
        elif name.endswith("WHEEL") or is_compiled(name) or SOURCES.search(name):
            yield name, path.read_bytes()


def members_of(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the files in a wheel or a source distribution."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            for member in wheel.namelist():
                yield f"{path.name}: {member}", wheel.read(member)
    else:
        with tarfile.open(path) as archive:
            for entry in archive:
                content = archive.extractfile(entry)
                if content is not None:
                    yield f"{path.name}: {entry.name}", content.read()


def main(folders: list[str]) -> int:
    """Print what was found; return 1 if anything was, or if there was nothing to look at."""
    examined = 0
    found = []
    for folder in folders:
        for name, content in files_of(Path(folder)):
            examined += 1
            why = reason(name, content)
            if why:
                found.append(f"{name}: {why}")
    for line in found:
        print(f"Rust is not allowed here: {line}")
    if not examined:
        print(f"There is no distribution below {', '.join(folders)}; name an environment.")
    return int(bool(found) or not examined)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
