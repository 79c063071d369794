"""What the reference pages need of Sphinx.

- ``.. objects:: MODULE``: a table of the names in its content, one a line, and an entry for each, generated from its
  docstring. A name that a package below defines is described there; here its entry is a summary with a link.
- ``.. methods:: CLASS``: the same for attributes and methods of a class.
- Single backquotes in docstrings are links where they are names that are documented, and code elsewhere.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable, Iterator

from docutils import nodes
from docutils.parsers.rst.states import Inliner
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.domains.python import PyXRefRole
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

import telstate

# From the bottom of the stack to the top.
PACKAGES = ["telstate_codec", "telstate_rdb", "telstate_backends", "telstate"]


def documented_name(module: str, name: str) -> str:
    """Return the full name under which an object is described: that of the lowest package which exports it."""
    value = getattr(importlib.import_module(module), name)
    package = module.partition(".")[0]
    lower_or_own = PACKAGES[: PACKAGES.index(package) + (package != module)]
    for lower in lower_or_own:
        exported = importlib.import_module(lower)
        if name in exported.__all__ and getattr(exported, name) is value:
            return f"{lower}.{name}"
    return f"{module}.{name}"


def kind(value: object) -> str:
    """Return the kind of object in the terms of Sphinx's Python domain."""
    if inspect.isclass(value):
        return "exception" if issubclass(value, BaseException) else "class"
    return "function" if inspect.isroutine(value) else "data"


def summary(value: object) -> str:
    """Return the first sentence of a docstring."""
    text = (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")
    return re.split(r"(?<=[^.]\.) ", text)[0]


class Objects(SphinxDirective):
    """Document public names of a module."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the nodes of the entries."""
        # "NAME: description", which data need, as they have no docstring.
        lines = [line.partition(": ") for line in self.content if line.strip()]
        texts = {name.strip(): text for name, _, text in lines}
        source, _ = self.get_source_info()
        content = StringList(list(self.entries(self.arguments[0], texts)), source=source)
        container = nodes.Element()
        container.document = self.state.document
        self.state.nested_parse(content, 0, container, match_titles=False)
        return container.children

    def entries(self, module: str, texts: dict[str, str]) -> Iterator[str]:
        """Yield reStructuredText."""
        found = {name: getattr(importlib.import_module(module), name) for name in texts}
        yield from table(
            (f"{module}.{name}", texts[name] or summary(value)) for name, value in found.items()
        )
        for name, value in found.items():
            target, what = documented_name(module, name), kind(value)
            if what == "data":
                yield f".. py:data:: {name}"
                yield f"   :module: {module}"
                yield f"   :value: {value!r}" if isinstance(value, (bytes, int)) else ""
                yield ""
                yield f"   {texts[name]}"
            elif target != f"{module}.{name}":
                role = {"exception": "exc", "function": "func"}.get(what, what)
                yield f".. py:{what}:: {name}"
                yield f"   :module: {module}"
                yield ""
                yield f"   {summary(value)} See :py:{role}:`{target}`."
            else:
                yield f".. auto{what}:: {module}.{name}"
                if what in ("class", "exception"):
                    yield "   :members:"
            yield ""


class Methods(Objects):
    """Document attributes and methods of a class."""

    def entries(self, module: str, texts: dict[str, str]) -> Iterator[str]:
        """Yield reStructuredText."""
        path, _, owner = module.rpartition(".")
        class_ = getattr(importlib.import_module(path), owner)
        yield from table(
            (f"{module}.{name}", text or summary(getattr(class_, name)))
            for name, text in texts.items()
        )
        for name in texts:
            value = inspect.getattr_static(class_, name)
            what = "method" if inspect.isroutine(value) else "attribute"
            what = "property" if isinstance(value, property) else what
            yield f".. auto{what}:: {module}.{name}"
            yield ""


def table(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield a table of names and summaries."""
    yield ".. list-table::"
    yield "   :class: summaries"
    yield ""
    for name, text in rows:
        yield f"   * - :py:obj:`~{name}`"
        yield f"     - {text}"
    yield ""


def link_or_code(
    name: str,
    rawtext: str,
    text: str,
    lineno: int,
    inliner: Inliner,
    options: object = None,
    content: object = (),
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """Make a link of a name, which becomes code if there is no such name."""
    found, messages = PyXRefRole()("py:obj", rawtext, text, lineno, inliner)
    for node in found:
        if isinstance(node, addnodes.pending_xref):
            node["code_if_missing"] = True
    return found, messages


def resolve(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, content: nodes.Element
) -> nodes.Element | None:
    """Link a name to the entry under another name of the same object, or leave it as it is.

    Names of other projects need no link, nor do types that are not exported. Others are broken links.
    """
    target = str(node.get("reftarget", ""))
    if node.get("refdomain") != "py" or node.get("code_if_missing") or not is_ours(target):
        return content if node.get("refdomain") == "py" else None
    package, name = target.partition(".")[0], target.rpartition(".")[2]
    domain = env.domains.python_domain
    if f"{package}.{name}" in domain.objects:
        place = node.get("refdoc", env.docname)
        return domain.resolve_xref(
            env, place, app.builder, "obj", f"{package}.{name}", node, content
        )
    return content if exists(target) else None


def is_ours(target: str) -> bool:
    """Return whether a full name begins with one of our packages."""
    return target.partition(".")[0] in PACKAGES


def exists(target: str) -> bool:
    """Return whether a full name can be imported."""
    module, _, name = target.rpartition(".")
    try:
        importlib.import_module(target)
    except ImportError:
        try:
            return hasattr(importlib.import_module(module), name)
        except ImportError:
            return False
    return True


def refer_to_synchronous(
    app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]
) -> None:
    """Link a method of the asyncio telescope state to the synchronous one, which has its parameters."""
    prefix, _, method = name.rpartition(".")
    if prefix == "telstate.aio.TelescopeState" and hasattr(telstate.TelescopeState, method):
        same = f"telstate.TelescopeState.{method}"
        lines += ["", f"Parameters, result and errors are those of :py:meth:`{same}`.", ""]


def show_aliases(
    app: Sphinx,
    what: str,
    name: str,
    value: object,
    options: object,
    signature: str | None,
    result: str | None,
) -> tuple[str | None, str | None]:
    """Show type aliases by their names inside other types, too."""
    alias = re.compile(r"TypeAliasForwardRef\('([\w.]+)'\)")
    shown = [None if text is None else alias.sub(r"~\1", text) for text in (signature, result)]
    return shown[0], shown[1]


def format_description(app: Sphinx, context: object, lines: list[str]) -> None:
    """Show the examples of a command as code, and everything else as the terminal shows it."""
    shown: list[str] = []
    for line in lines:
        if not line.startswith("|"):
            shown.append(line.replace("*", r"\*").replace("`", r"\`"))
        elif line[2:].startswith(" "):
            if shown and not shown[-1].startswith("   "):
                shown += ["", ".. code-block:: text", ""]
            shown.append(f"   {line[2:].strip()}")
        else:
            shown.append(line[2:])
    lines[:] = shown


def format_options(app: Sphinx, context: object, lines: list[str]) -> None:
    """Show the asterisks of globs in the description of an option."""
    lines[:] = [line if "``" in line else line.replace("*", r"\*") for line in lines]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.add_directive("objects", Objects)
    app.add_directive("methods", Methods)
    app.add_role("link-or-code", link_or_code)
    app.connect("missing-reference", resolve)
    app.connect("autodoc-process-signature", show_aliases)
    app.connect("autodoc-process-docstring", refer_to_synchronous)
    app.connect("sphinx-click-process-description", format_description)
    app.connect("sphinx-click-process-options", format_options)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
