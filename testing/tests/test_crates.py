"""Rust is found in installed files, wheels and source distributions."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import crates
import pytest

Writer = Callable[[Path, str, bytes], None]
SIGNS = {
    "thing-1.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: maturin (1.4)\n",
    "thing/core.so": b"\x7fELF...rust_panic...",
    "thing.libs/libcore.so.1": b"\x7fELF...RUST_BACKTRACE...",
    "thing/Cargo.toml": b"[package]",
    "thing/lib.rs": b"fn main() {}",
}
HARMLESS = {
    "thing-1.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: hatchling\n",
    "thing/core.so": b"\x7fELF",
    "thing/text.py": b"'rust_panic'",
}


def install(folder: Path, name: str, content: bytes) -> None:
    """Write a file as an installer does."""
    path = folder / "lib" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)


def build_wheel(folder: Path, name: str, content: bytes) -> None:
    """Write a file into a wheel."""
    with zipfile.ZipFile(folder / "thing-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr(name, content)


def build_source(folder: Path, name: str, content: bytes) -> None:
    """Write a file into a source distribution."""
    with tarfile.open(folder / "thing-1.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo(f"thing-1/{name}")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))


@pytest.mark.parametrize("write", [install, build_wheel, build_source])
@pytest.mark.parametrize("name", SIGNS)
def test_rust_is_found(
    tmp_path: Path, write: Writer, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each sign of Rust is found wherever it is, and the file is named."""
    write(tmp_path, name, SIGNS[name])
    assert crates.main([str(tmp_path)]) == 1
    assert name in capsys.readouterr().out


@pytest.mark.parametrize("write", [install, build_wheel, build_source])
@pytest.mark.parametrize("name", HARMLESS)
def test_other_files_are_allowed(tmp_path: Path, write: Writer, name: str) -> None:
    """Other build tools, compiled files and texts pass."""
    install(tmp_path, "other/core.so", b"\x7fELF")
    write(tmp_path / "lib", name, HARMLESS[name])
    assert crates.main([str(tmp_path)]) == 0


def test_nothing_to_examine_is_an_error(tmp_path: Path) -> None:
    """An empty folder cannot pass."""
    assert crates.main([str(tmp_path)]) == 1
