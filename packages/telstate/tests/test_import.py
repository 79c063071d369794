"""What is loaded when: importing is quick because nothing is loaded before it is used."""

import ast
import inspect
import subprocess
import sys
from types import ModuleType

import pytest

import telstate

#: What only some programs need.
HEAVY = """numpy pandas redis fakeredis rdbtools matplotlib rich click asyncio importlib.metadata importlib.resources
    hashlib socket ssl pathlib tempfile subprocess urllib.parse multiprocessing concurrent.futures""".split()
OURS = """telstate.overview telstate._display telstate.watch telstate._batch telstate._pandas
    telstate.snapshots telstate.dropin telstate.aio telstate_rdb.reader telstate_rdb.writer
    telstate_backends.redis telstate_backends._load
    telstate_codec._sample_columns""".split()


def loaded(code: str) -> set[str]:
    """Run code in a fresh interpreter, and tell which modules it has loaded."""
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
    """Importing the package loads none of its modules and none that it depends on."""
    found = loaded("import telstate")
    assert {name for name in found if name.startswith("telstate")} == {"telstate", "telstate._lazy"}
    assert {name.partition(".")[0] for name in found} & {*HEAVY, "attr", "msgpack"} == set()


@pytest.mark.parametrize("code", ["from telstate import TelescopeState", PLAIN])
def test_plain_use(code: str) -> None:
    """Plain values in memory need neither NumPy nor redis-py nor asyncio, nor what reads snapshots."""
    assert loaded(code) & {*HEAVY, *OURS} == set()


def test_asyncio() -> None:
    """The asyncio class needs no backend before there is one, and nothing of Redis or NumPy."""
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
    """What the packages say they export can be imported, is listed, and nothing else is there."""
    assert set(vars(telstate)["__all__"]) == names_for_type_checkers(telstate)
    for name in vars(telstate)["__all__"]:
        assert getattr(telstate, name) is not None
        assert name in dir(telstate)
    with pytest.raises(AttributeError, match="'nonsense'"):
        getattr(telstate, "nonsense")  # noqa: B009  # type checkers see that there is none
    from telstate import aio

    assert set(vars(aio)["__all__"]) == names_for_type_checkers(aio)
    for name in vars(aio)["__all__"]:
        assert getattr(aio, name) is not None
    names: dict[str, object] = {}
    exec("from telstate import *", names)
    assert set(vars(telstate)["__all__"]) <= set(names)


def test_modules_are_attributes() -> None:
    """The modules that are for users can be reached without importing each."""
    done = loaded("import telstate; telstate.aio.TelescopeState; telstate.endpoint.Endpoint")
    assert {"telstate.aio", "telstate.endpoint"} <= done
    assert "argparse" not in done


@pytest.mark.parametrize(
    "name", ["redis.RedisBackend", "memory.MemoryBackend", "rdb_writer.RDBWriter"]
)
def test_modules_of_asyncio(name: str) -> None:
    """What the asyncio class is used with can be reached without importing it, and then only is loaded."""
    module, _, short = name.partition(".")
    for code in (
        f"import telstate; telstate.aio.{name}",
        f"from telstate.aio import {short}, TelescopeState; assert {short}.__name__.endswith({short!r})",
    ):
        done = loaded(code)
        assert f"telstate.aio.{module}" in done
        assert ("redis" in done) == (module == "redis")
    with pytest.raises(AttributeError, match="'telstate.aio' has no attribute 'nonsense'"):
        getattr(telstate.aio, "nonsense")  # noqa: B009  # type checkers see that there is none
    assert {module, short} <= set(dir(telstate.aio))
