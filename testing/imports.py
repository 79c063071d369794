"""Check how our modules import each other: no circles, only downwards, nothing private of another package.

Usage: ``python imports.py SRC ...``; each folder holds packages that are named in `LAYERS`. Imports are
read from the source, not executed. Those inside functions and under ``TYPE_CHECKING`` count as any
other, because they too need the other module's definitions. The imports under ``TYPE_CHECKING`` in an
``__init__.py`` do not count: they tell type checkers what it exports lazily. A name that is imported from
such an ``__init__.py`` counts as an import of the module that it comes from.

Modules without circles can be sorted so that every import points downwards. The folders of a package are
held to the same rule, each as a whole: if ``redis/`` imports from ``operations/``, no module in
``operations/`` may import from ``redis/``.
"""

from __future__ import annotations

import ast
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

# From the bottom to the top; packages of one layer do not import each other.
LAYERS = (("telstate_codec", "telstate_rdb"), ("telstate_backends",), ("telstate",))


@dataclass(frozen=True)
class Import:
    """One imported name (or module, if the name is empty) and where the statement is."""

    module: str
    name: str
    file: Path
    line: int
    is_for_types: bool

    def __str__(self) -> str:
        what = f"{self.module}.{self.name}" if self.name else self.module
        return f"{self.file}:{self.line} imports {what}"


@dataclass(frozen=True)
class Module:
    """A source file and what it imports."""

    name: str
    file: Path
    imports: list[Import] = field(default_factory=list)

    @property
    def is_package(self) -> bool:
        """Whether it is an ``__init__.py``."""
        return self.file.name == "__init__.py"

    @property
    def counted(self) -> Iterator[Import]:
        """The imports that count for circles."""
        return (one for one in self.imports if not (self.is_package and one.is_for_types))


# Who imports whom within a package, with the import that shows it.
Graph = Mapping[str, Mapping[str, Import]]


def is_type_checking(test: ast.expr) -> bool:
    """Return whether a condition is ``TYPE_CHECKING`` or ``typing.TYPE_CHECKING``."""
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def imports_of(node: ast.AST, module: Module, is_for_types: bool = False) -> Iterator[Import]:
    """Find the imports in a syntax tree, wherever they stand."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, "", module.file, child.lineno, is_for_types)
        elif isinstance(child, ast.ImportFrom):
            source = absolute(child, module)
            for alias in child.names:
                yield Import(source, alias.name, module.file, child.lineno, is_for_types)
        elif isinstance(child, ast.If) and is_type_checking(child.test):
            for statement in child.body:
                block = ast.Module([statement], [])
                yield from imports_of(block, module, True)
            yield from imports_of(ast.Module(child.orelse, []), module, is_for_types)
        else:
            yield from imports_of(child, module, is_for_types)


def absolute(statement: ast.ImportFrom, module: Module) -> str:
    """Return the full name of the module that a ``from`` statement names."""
    if not statement.level:
        return statement.module or ""
    parts = module.name.split(".")
    # One dot is the package itself, which for an __init__.py is the module itself.
    up = statement.level - module.is_package
    base = parts[: len(parts) - up]
    return ".".join([*base, statement.module] if statement.module else base)


def read_modules(source: Path) -> dict[str, Module]:
    """Read all modules below a ``src`` folder."""
    modules = {}
    for file in sorted(source.rglob("*.py")):
        parts = file.relative_to(source).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        module = modules[name] = Module(name, file)
        module.imports.extend(imports_of(ast.parse(file.read_bytes(), str(file)), module))
    return modules


def defining_modules(one: Import, modules: Mapping[str, Module]) -> Iterator[str]:
    """Find the modules of ours that an import needs: its own, and the one that a name comes from."""
    seen = set()
    module, name = one.module, one.name
    while module in modules and (module, name) not in seen:
        seen.add((module, name))
        if name and f"{module}.{name}" in modules:
            yield f"{module}.{name}"
            return
        yield module
        if modules[module].is_package:
            sources = [other.module for other in modules[module].imports if other.name == name]
            module = sources[0] if name and sources else module


def top(module: str) -> str:
    """Return the package that a module is in."""
    return module.partition(".")[0]


def find_wrong_layers(modules: Iterable[Module]) -> Iterator[str]:
    """Find the imports of packages that are not below, and of what is private to another package."""
    levels = {name: level for level, names in enumerate(LAYERS) for name in names}
    for module in modules:
        own = top(module.name)
        for one in module.imports:
            other = top(one.module)
            if other == own or other not in levels:
                continue
            if levels[other] >= levels[own]:
                yield f"{one}, but {other} is not below {own}"
            path = [*one.module.split("."), *([one.name] if one.name else [])]
            if any(part.startswith("_") and not part.startswith("__") for part in path):
                yield f"{one}, which is private to {other}"


def graph_of(modules: Mapping[str, Module], unit: Callable[[str], str]) -> Graph:
    """Return which units (modules, or folders of modules) import which, packages apart."""
    graph: dict[str, dict[str, Import]] = {unit(name): {} for name in modules}
    for module in modules.values():
        for one in module.counted:
            for other in defining_modules(one, modules):
                if top(other) == top(module.name) and unit(other) != unit(module.name):
                    graph[unit(module.name)].setdefault(unit(other), one)
    return graph


def shortest_circle(graph: Graph, start: str) -> list[Import]:
    """Return the imports of the shortest circle through a unit, or an empty list."""
    paths: dict[str, list[Import]] = {start: []}
    queue = deque([start])
    while queue:
        unit = queue.popleft()
        for other, one in graph[unit].items():
            if other == start:
                return [*paths[unit], one]
            if other not in paths:
                paths[other] = [*paths[unit], one]
                queue.append(other)
    return []


def find_circles(graph: Graph, what: str) -> Iterator[str]:
    """Describe the shortest circle through each unit that is in one, each circle once."""
    reported: set[frozenset[Import]] = set()
    for unit in sorted(graph):
        circle = shortest_circle(graph, unit)
        if circle and frozenset(circle) not in reported:
            reported.add(frozenset(circle))
            steps = "".join(f"\n    {one}" for one in circle)
            yield f"These {what} import each other in a circle:{steps}"


def folder_of(module: str) -> str:
    """Return the folder right below the package that a module is in, or the module if it is in none."""
    return ".".join(module.split(".")[:2])


def check(sources: Iterable[Path]) -> list[str]:
    """Return what is wrong with the imports of the packages in some ``src`` folders."""
    modules: dict[str, Module] = {}
    for source in sources:
        modules |= read_modules(source)
    wrong = list(find_wrong_layers(modules.values()))
    circles = list(find_circles(graph_of(modules, str), "modules"))
    # A circle of modules may be one of folders too; it is reported once.
    circles = circles or list(find_circles(graph_of(modules, folder_of), "folders"))
    return wrong + circles


def main(folders: list[str]) -> int:
    """Print what is wrong; return 1 if anything is, or if there is nothing to check."""
    sources = [Path(folder) for folder in folders]
    wrong = check(sources)
    for message in wrong:
        print(message)
    if not any(any(source.rglob("*.py")) for source in sources):
        print(f"There is no Python file below {', '.join(folders)}.")
        return 1
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
