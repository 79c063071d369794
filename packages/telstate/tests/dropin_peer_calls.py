"""Questions about katsdptelstate, answered by a program that runs in the peer's environment.

The program reads one JSON object with one question and its cases from standard input and prints the answers:
``names`` of modules, ``members`` of classes, ``parameters`` of functions and methods, ``payloads`` that
`rdb_utility` makes, ``bounds`` that `utils.pack_query_timestamp` packs, ``endpoints`` that `endpoints_to_str`
writes, ``texts`` that `endpoint_list_parser` reads, ``ranges`` that `get_range` returns, the prefixes of ``views``,
the keys that match ``globs``, and for ``pairs`` whether an attribute may be set to one value and then to the other.
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
    """List the public names of a module that katsdptelstate defines itself."""
    found = importlib.import_module(module)
    return [name for name in names_of(module) if is_own(getattr(found, name), module)]


def is_own(value: object, module: str) -> bool:
    """Return whether katsdptelstate defines a constant, function, class or submodule."""
    if isinstance(value, ModuleType):
        return value.__name__.rpartition(".")[0] == module
    home = str(getattr(value, "__module__", ""))
    return isinstance(value, PLAIN) or home.startswith("katsdptelstate")


def members(case: list[str]) -> list[str]:
    """List the public attributes of a class, except those of every exception."""
    found = getattr(importlib.import_module(case[0]), case[1])
    return [one for one in dir(found) if one[0] != "_" and not hasattr(Exception, one)]


def parameters(case: list[str]) -> list[list[str]] | None:
    """List names, kinds and defaults of the parameters of a routine; None for anything else."""
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


def read(text: str) -> object:
    """Read a list of endpoints."""
    try:
        parse = importlib.import_module("katsdptelstate.endpoint").endpoint_list_parser(7148)
        return [[each.host, each.port] for each in parse(text)]
    except ValueError:
        return "ValueError"


def new_state() -> Any:
    """Make an empty telescope state, in memory."""
    return importlib.import_module("katsdptelstate").TelescopeState()


def ranged(case: list[Any]) -> object:
    """Return a range of samples, given their times and the arguments of `get_range`."""
    times, arguments = case
    state = new_state()
    state["fixed"] = 1
    for number, time in enumerate(times):
        state.add("sensor", number, ts=time)
    try:
        return [list(sample) for sample in state.get_range("sensor", **arguments)]
    except KeyError:
        return "KeyError"


def viewed(views: list[list[Any]]) -> list[str]:
    """Return the prefixes of nested views, given the arguments of each."""
    state = new_state()
    for arguments in views:
        state = state.view(*arguments)
    return list(state.prefixes)


def matched(case: list[Any]) -> list[str]:
    """List the keys that match a glob."""
    keys, glob = case
    state = new_state()
    for key in keys:
        state[key] = 1
    return list(state.keys(glob))


def set_again(pair: list[str]) -> str:
    """Set an attribute to one value and then to another, both given as Python literals."""
    first, second = (eval(each, {"numpy": importlib.import_module("numpy")}) for each in pair)
    state = new_state()
    state["fixed"] = first
    try:
        state["fixed"] = second
    except Exception as error:
        return type(error).__name__
    return "the same"


def main() -> None:
    """Answer one question."""
    answers: dict[str, Callable[[Any], Any]] = {
        "names": own_names,
        "members": members,
        "parameters": parameters,
        "payloads": payloads,
        "bounds": bound,
        "endpoints": listed,
        "texts": read,
        "ranges": ranged,
        "views": viewed,
        "globs": matched,
        "pairs": set_again,
    }
    ((question, cases),) = json.load(sys.stdin).items()
    print(json.dumps([answers[question](case) for case in cases]))


if __name__ == "__main__":
    main()
