"""Runs in the peer's environment: what katsdptelstate's modules are called and what they hold.

Takes one JSON object from standard input and prints one. ``{"names": [...]}`` asks for the public names
of modules, ``{"members": [...]}`` for those of classes, ``{"payloads": [...]}`` for what `rdb_utility`
makes of lists of hexadecimal entries, ``{"parameters": [...]}`` for those of functions and methods, ``{"bounds": [...]}`` for what `utils.pack_query_timestamp` makes of
its arguments, ``{"endpoints": [...]}`` for lists of host and port as `endpoints_to_str` writes them, and
``{"texts": [...]}`` for what `endpoint_list_parser` reads in texts. Of a telescope state, ``{"ranges": [...]}`` asks for
what `get_range` gives, ``{"views": [...]}`` for the prefixes of views of views, ``{"globs": [...]}`` for the keys that match,
and ``{"pairs": [...]}`` whether an attribute may be set to the second of two values when it has the first.
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
    """Get a range of samples at some times: the times, and arguments by name."""
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
    """Make views of views; the arguments of each."""
    state = new_state()
    for arguments in views:
        state = state.view(*arguments)
    return list(state.prefixes)


def matched(case: list[Any]) -> list[str]:
    """List those of some keys that match a glob."""
    keys, glob = case
    state = new_state()
    for key in keys:
        state[key] = 1
    return list(state.keys(glob))


def set_again(pair: list[str]) -> str:
    """Set an attribute to one value and then to another, both as Python writes them."""
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
