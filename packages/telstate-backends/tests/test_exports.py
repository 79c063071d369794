"""Importing the package is cheap, and every exported name is there."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from typing import Any

import pytest

import telstate_backends


def test_importing_costs_little() -> None:
    """The package and a memory backend need neither redis nor numpy nor asyncio."""
    code = (
        "import sys, telstate_backends as tb; tb.MemoryBackend().execute(tb.Keys());"
        "print([name for name in ('redis', 'numpy', 'asyncio', 'telstate_rdb.reader', "
        "'telstate_rdb.values') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    """All exported names can be imported, are those that type checkers see, and nothing else can."""
    package: Any = telstate_backends
    tree = ast.parse(inspect.getsource(package))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    assert package.__all__ == sorted(str(alias.asname) for node in imports for alias in node.names)
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert name in dir(package)
    with pytest.raises(AttributeError, match="nonsense"):
        package.nonsense
