"""The check of imports finds circles, imports upwards and imports of private modules, and nothing else."""

from __future__ import annotations

from pathlib import Path

import imports
import pytest


def check(folder: Path, files: dict[str, str]) -> list[str]:
    """Write source files and return what the check says about them, paths shortened."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        for parent in path.relative_to(folder).parents[:-1]:
            (folder / parent / "__init__.py").touch()
    return [message.replace(f"{folder}/", "") for message in imports.check([folder])]


CIRCLE = (
    "These modules import each other in a circle:"
    "\n    telstate_codec/keys.py:{} imports telstate_codec.values.decode"
    "\n    telstate_codec/values.py:1 imports telstate_codec.keys.Key"
)


@pytest.mark.parametrize(
    ("importing", "line"),
    [
        ("from telstate_codec.values import decode", 1),
        ("from .values import decode", 1),
        ("def f():\n    from telstate_codec.values import decode", 2),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .values import decode", 3),
        ("import typing\nif typing.TYPE_CHECKING:\n    from .values import decode", 3),
        ("class C:\n    if C:\n        pass\n    else:\n        from .values import decode", 5),
    ],
    ids=["plain", "relative", "deferred", "for types", "for types, qualified", "nested"],
)
def test_circle_is_found_with_files_and_lines(tmp_path: Path, importing: str, line: int) -> None:
    """A circle of two modules is reported once, wherever its imports stand."""
    files = {
        "telstate_codec/keys.py": importing,
        "telstate_codec/values.py": "from telstate_codec.keys import Key",
    }
    assert check(tmp_path, files) == [CIRCLE.format(line)]


def test_long_circle_is_found_among_other_imports(tmp_path: Path) -> None:
    """The whole way round is named, without the imports beside it."""
    files = {
        "telstate/a.py": "import telstate.b\nimport telstate.d",
        "telstate/b.py": "from telstate import c, d",
        "telstate/c.py": "import telstate.a, telstate.d",
        "telstate/d.py": "",
    }
    assert check(tmp_path, files) == [
        "These modules import each other in a circle:"
        "\n    telstate/a.py:1 imports telstate.b"
        "\n    telstate/b.py:1 imports telstate.c"
        "\n    telstate/c.py:1 imports telstate.a"
    ]


LAZY = """
from typing import TYPE_CHECKING
TABLE = {"Reader": "telstate_rdb.reader"}
if TYPE_CHECKING:
    from telstate_rdb.reader import Reader
def __getattr__(name):
    ...
"""


def test_lazy_exports_of_a_package_do_not_count(tmp_path: Path) -> None:
    """A package may export lazily what imports from the package."""
    files = {
        "telstate_rdb/__init__.py": LAZY,
        "telstate_rdb/reader.py": "from telstate_rdb import errors",
        "telstate_rdb/errors.py": "",
    }
    assert check(tmp_path, files) == []


def test_circle_through_a_lazy_export_is_found(tmp_path: Path) -> None:
    """A name that a package exports lazily counts as an import of the module that defines it."""
    files = {
        "telstate_rdb/__init__.py": LAZY,
        "telstate_rdb/reader.py": "import telstate_rdb.errors",
        "telstate_rdb/errors.py": "def f():\n    from telstate_rdb import Reader",
    }
    assert check(tmp_path, files) == [
        "These modules import each other in a circle:"
        "\n    telstate_rdb/errors.py:2 imports telstate_rdb.Reader"
        "\n    telstate_rdb/reader.py:1 imports telstate_rdb.errors"
    ]


def test_package_that_imports_its_modules_at_once_is_in_a_circle_with_them(tmp_path: Path) -> None:
    """Eager exports do count."""
    files = {
        "telstate_rdb/__init__.py": "from telstate_rdb.reader import Reader",
        "telstate_rdb/reader.py": "from telstate_rdb import anything",
    }
    (message,) = check(tmp_path, files)
    assert "telstate_rdb/__init__.py:1 imports telstate_rdb.reader.Reader" in message


@pytest.mark.parametrize(
    ("package", "statement", "message"),
    [
        ("telstate_codec", "import telstate", "telstate, but telstate is not below telstate_codec"),
        (
            "telstate_rdb",
            "from telstate_codec import Key",
            "telstate_codec.Key, but telstate_codec is not below telstate_rdb",
        ),
        (
            "telstate_backends",
            "def f():\n    import telstate.aio",
            "telstate.aio, but telstate is not below telstate_backends",
        ),
        (
            "telstate",
            "from telstate_rdb._parser import parse",
            "telstate_rdb._parser.parse, which is private to telstate_rdb",
        ),
        (
            "telstate",
            "from telstate_rdb import _parser",
            "telstate_rdb._parser, which is private to telstate_rdb",
        ),
    ],
)
def test_import_that_is_not_allowed_is_named(
    tmp_path: Path, package: str, statement: str, message: str
) -> None:
    """Imports upwards, sideways and of private modules are reported with file and line."""
    line = statement.count("\n") + 1
    expected = [f"{package}/module.py:{line} imports {message}"]
    assert check(tmp_path, {f"{package}/module.py": statement}) == expected


def test_imports_downwards_are_allowed(tmp_path: Path) -> None:
    """Public modules of lower packages, own private modules and other libraries may be imported."""
    files = {
        "telstate_backends/memory.py": "from telstate_codec import Key\nimport telstate_rdb.lzf",
        "telstate/_base.py": "from __future__ import annotations\nimport numpy._core",
        "telstate/view.py": "from telstate._base import Base",
    }
    assert check(tmp_path, files) == []


def test_circle_of_folders_is_found(tmp_path: Path) -> None:
    """Two folders do not import from each other, even where no modules are in a circle."""
    files = {
        "telstate_backends/redis/client.py": "from telstate_backends.operations.read import Get",
        "telstate_backends/operations/write.py": "from telstate_backends.redis.slots import slot",
        "telstate_backends/operations/read.py": "",
        "telstate_backends/redis/slots.py": "",
    }
    assert check(tmp_path, files) == [
        "These folders import each other in a circle:"
        "\n    telstate_backends/operations/write.py:1 imports telstate_backends.redis.slots.slot"
        "\n    telstate_backends/redis/client.py:1 imports telstate_backends.operations.read.Get"
    ]


def test_nothing_to_check_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without Python files cannot pass."""
    assert imports.main([str(tmp_path)]) == 1
    assert "no Python file" in capsys.readouterr().out
