"""Reading and writing on a system that lacks what only POSIX systems or Linux have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_HIDE = """
import os, sys
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
for name in ("O_TMPFILE", "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "fchmod", "fchown", "pwrite", "link"):
    if hasattr(os, name):
        delattr(os, name)
"""

_IMPORT_ALL = """
import pkgutil, importlib, telstate_rdb
for module in pkgutil.walk_packages(telstate_rdb.__path__, "telstate_rdb."):
    if not module.name.startswith(("telstate_rdb.cli", "telstate_rdb.contrib", "telstate_rdb.__main__")):
        importlib.import_module(module.name)
for name in telstate_rdb.__all__:
    getattr(telstate_rdb, name)
"""

_COPY = """
from telstate_rdb import RdbWriter, read_lazily, read_rdb
with RdbWriter(sys.argv[2]) as writer:
    writer.write_records(read_rdb(sys.argv[1], raw=True))
print([(record.key, record.value) for record in read_rdb(sys.argv[2])], len(list(read_lazily(sys.argv[2]))))
try:
    with RdbWriter(sys.argv[2]) as writer:
        raise KeyError
except KeyError:
    print(len(list(read_rdb(sys.argv[2], strict=False))))
"""


def run(*arguments: str) -> str:
    """Run Python without the parts that are hidden."""
    result = subprocess.run(
        [sys.executable, "-c", *arguments], check=True, capture_output=True, text=True
    )
    return result.stdout


def test_every_module_can_be_imported() -> None:
    """No module needs a POSIX-only module or function to be imported."""
    assert run(_HIDE + _IMPORT_ALL) == ""


def test_reading_and_writing(tmp_path: Path) -> None:
    """Files are read, replaced and kept without unnamed files and locks."""
    source = tmp_path / "source.rdb"
    source.write_bytes(b"REDIS0003\xfe\x00\x00\x03key\x05value\xff")
    (tmp_path / "copy.rdb").write_bytes(b"old")
    output = run(_HIDE + _COPY, str(source), str(tmp_path / "copy.rdb"))
    assert output.splitlines() == ["[(b'key', b'value')] 1", "1"]
    assert sorted(os.listdir(tmp_path)) == ["copy.rdb", "source.rdb"]
