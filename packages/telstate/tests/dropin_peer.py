"""Runs in the peer's environment: what katsdptelstate's modules are called and what they hold.

Takes one JSON object from standard input and prints one. ``{"names": [...]}`` asks for the public names
of modules, ``{"members": [...]}`` for those of classes, ``{"payloads": [...]}`` for what `rdb_utility`
makes of lists of hexadecimal entries, ``{"parameters": [...]}`` for those of functions and methods, ``{"bounds": [...]}`` for what `utils.pack_query_timestamp` makes of
its arguments, ``{"endpoints": [...]}`` for lists of host and port as `endpoints_to_str` writes them.
"""

import importlib
import inspect
import json
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

PLAIN = (int, bytes, str, frozenset)


def names_of(module: str) -> list[str]:
    """List the public names of a module."""
    return [name for name in dir(importlib.import_module(module)) if name[0] != "_"]


def own_names(module: str) -> list[str]:
    """List those of katsdptelstate itself, and not what it has imported from elsewhere."""
    found = importlib.import_module(module)
    return [name for name in names_of(module) if is_own(getattr(found, name), module)]


def is_own(value: object, module: str) -> bool:
    """Whether katsdptelstate has defined it: a constant, function or class; or it is a submodule."""
    if isinstance(value, ModuleType):
        return value.__name__.rpartition(".")[0] == module
    home = str(getattr(value, "__module__", ""))
    return isinstance(value, PLAIN) or home.startswith("katsdptelstate")


def members(case: list[str]) -> list[str]:
    """List the public attributes of a class, without those that every exception has."""
    found = getattr(importlib.import_module(case[0]), case[1])
    return [one for one in dir(found) if one[0] != "_" and not hasattr(Exception, one)]


def parameters(case: list[str]) -> list[list[str]] | None:
    """List names, kinds and defaults of what a function or method takes; None if it is neither."""
    found: Any = importlib.import_module(case[0])
    for name in case[1].split("."):
        found = getattr(found, name, None)
    if not inspect.isroutine(found):
        return None
    taken = inspect.signature(found).parameters.values()
    return [[one.name, one.kind.name, repr(one.default)] for one in taken]


def payloads(entries: list[str]) -> list[str]:
    """Make payloads of the three kinds from entries."""
    utility = importlib.import_module("katsdptelstate.rdb_utility")
    texts = [bytes.fromhex(entry) for entry in entries]
    made: list[bytes] = [
        utility.dump_string(texts[0]),
        utility.dump_zset(sorted(texts)),
        utility.dump_hash(dict(zip(texts, reversed(texts)))),
        utility.dump_iterable(b"<", b">", texts),
        utility.encode_ziplist(texts),
        *(utility.encode_len(len(text)) for text in texts),
        *(utility.encode_prev_length(len(text)) for text in texts),
    ]
    return [payload.hex() for payload in made]


def bound(arguments: list[Any]) -> str:
    """Pack the bound of a range."""
    packed: bytes = importlib.import_module("katsdptelstate.utils").pack_query_timestamp(*arguments)
    return packed.hex()


def listed(pairs: list[list[Any]]) -> str:
    """Write endpoints."""
    module = importlib.import_module("katsdptelstate.endpoint")
    text: str = module.endpoints_to_str([module.Endpoint(*pair) for pair in pairs])
    return text


def main() -> None:
    """Answer one question."""
    answers: dict[str, Callable[[Any], Any]] = {
        "names": own_names,
        "members": members,
        "parameters": parameters,
        "payloads": payloads,
        "bounds": bound,
        "endpoints": listed,
    }
    ((question, cases),) = json.load(sys.stdin).items()
    print(json.dumps([answers[question](case) for case in cases]))


if __name__ == "__main__":
    main()
