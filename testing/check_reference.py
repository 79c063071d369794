"""Check that the reference of a built site has every public name, and that docstrings have what readers need.

Usage: ``python check_reference.py FOLDER``. A function or method names each of its parameters, and says what it returns:
in sections of numpydoc, or, if it is simple, in a sentence, such as "Return the slot of a key".
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import telstate
from telstate_backends import Wait

# Modules whose ``__all__`` is public; of others, the reference chooses what it describes.
MODULES = [
    "telstate_codec",
    "telstate_rdb",
    "telstate_rdb.dump",
    "telstate_backends",
    "telstate",
    "telstate.aio",
    "telstate.dropin",
    "telstate.errors",
    "telstate.overview",
    "telstate.plot",
    "telstate.watch",
]
# Classes that have these methods need not derive from them, nor describe them again.
PROTOCOLS = [Wait]
# Parameters and result are those of another function.
REFERS = re.compile(r", awaited\.|\bsee :?\w*:?`|are those of `")
# The section up to the next one.
PARAMETERS = re.compile(r"^Parameters\n-+\n(.*?)(?=^\S.*\n-+\n|\Z)", re.M | re.S)
RETURNS = re.compile(r"^(Returns|Yields)\n-|\b([Rr]eturns?|[Ww]hether)\b", re.M)


def inventory(site: Path) -> set[str]:
    """Return the names of Python objects in the index of a site."""
    # Four lines of text, then compressed lines: name, domain and role, priority, place, title.
    data = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    lines = [line.split() for line in zlib.decompress(data).decode().splitlines()]
    return {words[0] for words in lines if words[1].startswith("py:")}


def public_names() -> Iterator[tuple[str, object]]:
    """Yield the full name and the object of all that is public."""
    for module in MODULES:
        loaded = importlib.import_module(module)
        for name in loaded.__all__:
            value = getattr(loaded, name)
            if not isinstance(value, ModuleType):
                yield f"{module}.{name}", value


def members(owner: type) -> Iterator[tuple[str, object]]:
    """Yield the public methods and properties that a class defines."""
    for name, value in vars(owner).items():
        if isinstance(value, (staticmethod, classmethod)):
            value = value.__func__
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
            yield name, value


def faults(function: Callable[..., object]) -> Iterator[str]:
    """Yield what the docstring of a function or method lacks."""
    text = inspect.getdoc(function)
    if not text:
        yield "has no docstring"
        return
    if REFERS.search(text):
        return
    signature = inspect.signature(function)
    for name in signature.parameters:
        if name not in ("self", "cls") and not re.search(rf"\b{name}s?\b", text):
            yield f"does not describe {name}"
    for section in PARAMETERS.findall(text):
        for names in re.findall(r"^(\S[^:\n]*)", section, re.M):
            for name in re.findall(r"\w+", names):
                if name not in signature.parameters:
                    yield f"describes a parameter {name}, which it does not have"
    returned = str(signature.return_annotation)
    owner = function.__qualname__.rpartition(".")[0]
    returns_something = returned not in ("None", "NoReturn", "Self", owner)
    if returns_something and not RETURNS.search(text):
        yield f"does not describe what it returns, {returned}"


def main(site: Path) -> int:
    """Print what is missing and return the exit status."""
    known = inventory(site)
    problems: list[str] = []
    seen: set[int] = set()
    for name, value in public_names():
        package, last = name.partition(".")[0], name.rpartition(".")[2]
        same = getattr(importlib.import_module(package), last, None) is value
        if name not in known and not (same and f"{package}.{last}" in known):
            problems.append(f"{name} is not in the reference.")
        if id(value) in seen or not str(getattr(value, "__module__", "")).startswith("telstate"):
            continue
        seen.add(id(value))
        if inspect.isfunction(value):
            problems += [f"{name} {fault}." for fault in faults(value)]
        elif isinstance(value, type):
            problems += [f"{name}.{fault}" for fault in faults_of_class(value, name, known)]
    print(*problems, sep="\n", end="\n" if problems else "")
    return 1 if problems else 0


def faults_of_class(owner: type, name: str, known: set[str]) -> Iterator[str]:
    """Yield what the docstrings of the methods that a class introduces lack."""
    for member, method in members(owner):
        if any(hasattr(base, member) for base in (*owner.__mro__[1:], *PROTOCOLS)):
            continue
        if f"{name}.{member}" not in known and inspect.getdoc(method):
            yield f"{member} is not in the reference."
        if inspect.isfunction(method):
            # The reference links methods of the asyncio telescope state to the synchronous ones.
            if owner is telstate.aio.TelescopeState and hasattr(telstate.TelescopeState, member):
                continue
            yield from (f"{member} {fault}." for fault in faults(method))
        elif not inspect.getdoc(method):
            yield f"{member} has no docstring."


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
