"""Importing telstate loads modules only when they are used."""

import ast
import inspect
import subprocess
import sys
from types import ModuleType

import pytest

import telstate

#: Modules that only some programs need.
HEAVY = """numpy pandas redis fakeredis rdbtools matplotlib rich click asyncio importlib.metadata importlib.resources
    hashlib socket ssl pathlib tempfile subprocess urllib.parse multiprocessing concurrent.futures""".split()
OURS = """telstate.overview telstate._display telstate.watch telstate._batch telstate._pandas
    telstate.snapshots telstate.dropin telstate.aio telstate_rdb.reader telstate_rdb.writer
    telstate_backends.redis telstate_backends._load
    telstate_codec._sample_columns""".split()


def loaded(code: str) -> set[str]:
    """Run code in a new interpreter and return the modules that it loaded."""
    program = f"import sys\nbefore = set(sys.modules)\n{code}\nprint(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


PLAIN = """
from telstate import TelescopeState
ts = TelescopeState()
ts["a"] = {"b": (1, 2.5), "c": [b"x", "y", None, True]}
assert ts.view("v")["a"] == ts.get("a") == {"b": (1, 2.5), "c": [b"x", "y", None, True]}
ts.add("m", 1.5, ts=1.0)
assert ts.m == 1.5 and ts.get_range("m", st=0) == [(1.5, 1.0)]
ts.set_indexed("x", 1, "y")
assert ts.get_indexed("x", 1) == "y" and ts["x"] == {1: "y"}
assert "a" in ts and ts.key_type("m").name == "MUTABLE" and ts.keys("[am]") == ["a", "m"]
ts.wait_key("m", lambda value, when: value > 1)
ts.delete("a")
ts.clear()
"""


def test_nothing_is_loaded() -> None:
    """Importing the package loads none of its modules or dependencies."""
    found = loaded("import telstate")
    assert {name for name in found if name.startswith("telstate")} == {"telstate", "telstate._lazy"}
    assert {name.partition(".")[0] for name in found} & {*HEAVY, "attr", "msgpack"} == set()


@pytest.mark.parametrize("code", ["from telstate import TelescopeState", PLAIN])
def test_plain_use(code: str) -> None:
    """Plain values in memory load neither NumPy, redis-py, asyncio nor the snapshot reader."""
    assert loaded(code) & {*HEAVY, *OURS} == set()


def test_asyncio() -> None:
    """The asyncio class loads no backend before it is used, and neither Redis nor NumPy."""
    found = loaded("import telstate.aio\ntelstate.aio.TelescopeState")
    assert found & {"numpy", "pandas", "redis", "rich", "click", "rdbtools"} == set()
    assert found & {*OURS} - {"telstate.aio"} == set()


def names_for_type_checkers(package: ModuleType) -> set[str]:
    """Return the names that a package imports under ``TYPE_CHECKING``."""
    tree = ast.parse(inspect.getsource(package))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {str(alias.asname) for node in imports for alias in node.names}


def test_every_public_name_is_there() -> None:
    """`__all__` has exactly the names for type checkers, and each can be imported."""
    assert set(vars(telstate)["__all__"]) == names_for_type_checkers(telstate)
    for name in vars(telstate)["__all__"]:
        assert getattr(telstate, name) is not None
        assert name in dir(telstate)
    with pytest.raises(AttributeError, match="'missing'"):
        getattr(telstate, "missing")  # noqa: B009  # mypy refuses the plain attribute
    from telstate import aio

    assert set(vars(aio)["__all__"]) == names_for_type_checkers(aio)
    for name in vars(aio)["__all__"]:
        assert getattr(aio, name) is not None
    names: dict[str, object] = {}
    exec("from telstate import *", names)
    assert set(vars(telstate)["__all__"]) <= set(names)


def test_modules_are_attributes() -> None:
    """The public modules are attributes of the package."""
    done = loaded("import telstate; telstate.aio.TelescopeState; telstate.endpoint.Endpoint")
    assert {"telstate.aio", "telstate.endpoint"} <= done
    assert "argparse" not in done


@pytest.mark.parametrize(
    "name", ["redis.RedisBackend", "memory.MemoryBackend", "rdb_writer.RDBWriter"]
)
def test_modules_of_asyncio(name: str) -> None:
    """Classes for the asyncio class are attributes of `telstate.aio` and loaded on first use."""
    module, _, short = name.partition(".")
    for code in (
        f"import telstate; telstate.aio.{name}",
        f"from telstate.aio import {short}, TelescopeState; assert {short}.__name__.endswith({short!r})",
    ):
        done = loaded(code)
        assert f"telstate.aio.{module}" in done
        assert ("redis" in done) == (module == "redis")
    with pytest.raises(AttributeError, match="'telstate.aio' has no attribute 'missing'"):
        getattr(telstate.aio, "missing")  # noqa: B009  # mypy refuses the plain attribute
    assert {module, short} <= set(dir(telstate.aio))
