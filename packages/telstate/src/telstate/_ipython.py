"""Completion of keys in calls at IPython and in notebooks, such as ``ts.get_range("m0``.

IPython completes ``ts["`` by itself; for calls it asks matchers, and one is registered here. Of what has been
typed, only names, attributes, items and views are looked up; nothing else is evaluated. IPython is not required.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from telstate._display import completions
from telstate._view import View

__all__ = ["load_ipython_extension"]

# The arguments of a call whose last one is a string, or a list of strings, that is being typed.
_ARGUMENTS = re.compile(r"\((?P<before>[^()]*?)[bBrR]?(?P<quote>[\"'])(?P<text>[^\"'\\\n]*)\Z")
# What is called: an expression without nested brackets.
_CALLED = re.compile(r"(?<![\w.])[^\W\d]\w*(?:\.\w+|\[[^\[\]]*\]|\([^()]*\))*\Z")
# The parameters whose values are keys, and those of full names.
_KEYS = {"key", "keys"}
_FULL_NAMES = {"filter", "patterns"}
# What takes full names as keys.
_OF_WHOLE_STORES = {"export", "load_from_file", "save"}


def load_ipython_extension(ipython: Any) -> None:
    """Complete keys in calls, such as ``ts.get("``, in an IPython shell: ``%load_ext telstate``.

    Where IPython runs already when telstate is imported, this happens by itself. Otherwise (after
    ``IPython.embed()`` in a program, for example) it happens when a telescope state is first completed or
    displayed.

    Parameters
    ----------
    ipython
        The shell, an ``InteractiveShell``.
    """
    matchers = ipython.Completer.custom_matchers
    if match_keys not in matchers:
        matchers.append(match_keys)


def register() -> None:
    """Load the extension into the IPython shell that runs in this process, if there is one."""
    shell = _find_shell()
    if shell is not None:
        load_ipython_extension(shell)


def display_figures() -> None:
    """Let a notebook display figures of matplotlib, which it does by itself only after pyplot was imported."""
    shell = _find_shell()
    if shell is None:
        return
    from matplotlib.figure import Figure

    displayed = [one for one in shell.display_formatter.formatters.values() if Figure in one]
    if not displayed:  # otherwise, the user may have chosen a format
        pylabtools = import_module("IPython.core.pylabtools")
        pylabtools.select_figure_formats(shell, {"png"})


def _find_shell() -> Any:
    """Return the IPython shell that runs in this process, or None."""
    find = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return None if find is None else find()


def match_keys(context: Any) -> dict[str, Any]:
    """Return completions of a key in a call, as IPython 8.6 and later ask for them."""
    completer = sys.modules["IPython"].get_ipython().Completer
    namespace = {**completer.global_namespace, **completer.namespace}
    lines = context.full_text.split("\n")[: context.cursor_line]
    fragment, names = "", None
    try:
        fragment, names = find_names("\n".join([*lines, context.text_until_cursor]), namespace)
    except Exception:  # an error would appear in the middle of a line that is being typed
        pass
    make = sys.modules["IPython.core.completer"].SimpleCompletion
    return {
        "completions": [make(name, type="key") for name in names or ()],
        "matched_fragment": fragment,
        # Files, for example, are not keys.
        "suppress": names is not None,
    }


match_keys.matcher_api_version = 2  # type: ignore[attr-defined]  # functions have attributes
match_keys.matcher_identifier = "telstate"  # type: ignore[attr-defined]  # the same
match_keys.matcher_priority = 100  # type: ignore[attr-defined]  # the same


def find_names(code: str, namespace: Mapping[str, Any]) -> tuple[str, list[str] | None]:
    """Return the beginning of a key at the end of code, and the keys that begin so; None if it is no key."""
    arguments = _ARGUMENTS.search(code)
    called = None if arguments is None else _CALLED.search(code, 0, arguments.start())
    if arguments is None or called is None:
        return "", None
    text, quote, before = arguments["text"], arguments["quote"], arguments["before"]
    brackets = "]" * (before.count("[") - before.count("]"))
    call = ast.parse(f"{called[0]}({before}''{brackets})", mode="eval").body
    assert isinstance(call, ast.Call)
    ts, function, place = _find_function(call, namespace)
    parameter = _find_parameter(function, place, call)
    if parameter in _FULL_NAMES or (parameter in _KEYS and function.__name__ in _OF_WHOLE_STORES):
        ts = ts.root()
    elif parameter not in _KEYS:
        return "", None
    names = [name for name in completions(ts) if name.startswith(text)]
    return text, [name for name in names if name.isprintable() and not {quote, "\\"} & {*name}]


def _find_function(call: ast.Call, namespace: Mapping[str, Any]) -> tuple[Any, Any, int]:
    """Return telescope state, function and index of the first parameter of ``ts.get(...)`` or ``to_xarray(ts, ...)``."""
    if isinstance(call.func, ast.Attribute):
        ts = _look_up(call.func.value, namespace)
        if _is_state(ts):
            return ts, getattr(type(ts), call.func.attr), 1
    function, ts = _look_up(call.func, namespace), _look_up(call.args[0], namespace)
    if not _is_state(ts) or not function.__module__.startswith("telstate."):
        raise LookupError
    return ts, function, 0


def _find_parameter(function: Any, place: int, call: ast.Call) -> str | None:
    """Return the name of the parameter for the last argument."""
    argument = call.keywords[-1].value if call.keywords else call.args[-1]
    if not isinstance(argument, ast.Constant | ast.List):
        return None
    if call.keywords:
        return call.keywords[-1].arg
    for number, parameter in enumerate(inspect.signature(function).parameters.values(), -place):
        if number == len(call.args) - 1 or parameter.kind is parameter.VAR_POSITIONAL:
            return parameter.name
    return None


def _is_state(value: object) -> bool:
    """Return whether an object is a telescope state; it is not asked, since it may be anything."""
    return isinstance(inspect.getattr_static(value, "_view", None), View)


def _look_up(node: ast.expr, namespace: Mapping[str, Any]) -> Any:
    """Return the object of an expression, None if its evaluation could have side effects."""
    match node:
        case ast.Name(name):
            return namespace.get(name)
        case ast.Attribute(value, name):
            owner = _look_up(value, namespace)
            if isinstance(owner, ModuleType):
                return getattr(
                    owner, name
                )  # of which telstate's are loaded when they are first used
            return inspect.getattr_static(owner, name)
        case ast.Subscript(value, index):
            container = _look_up(value, namespace)
            if type(container) in (dict, list, tuple):
                return container[ast.literal_eval(index)]
        case ast.Call(ast.Attribute(value, "view" | "root" as method), arguments, keywords):
            ts = _look_up(value, namespace)
            if _is_state(ts):
                values = map(ast.literal_eval, arguments)
                named = {str(one.arg): ast.literal_eval(one.value) for one in keywords}
                return getattr(ts, method)(*values, **named)
    return None
