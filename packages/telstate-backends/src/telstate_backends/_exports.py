"""Names that a package exports without importing the modules that define them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module

# A module-level `__getattr__`, `__dir__` and `__all__`.
Exports = tuple[Callable[[str], object], Callable[[], list[str]], list[str]]


def lazy_exports(package: str, modules: Mapping[str, Iterable[str]]) -> Exports:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` that import each name when it is first used.

    Parameters
    ----------
    package : str
        The name of the package, which is also the name of its distribution.
    modules : mapping of str to iterable of str
        The names that are defined in each module.
    """
    module_of = {name: module for module, names in modules.items() for name in names}

    def load(name: str) -> object:
        if name in module_of:
            value: object = getattr(import_module(module_of[name]), name)
        elif name == "__version__":
            from importlib.metadata import version  # slow to import, and rarely needed

            value = version(package.replace("_", "-"))
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        # The next access finds the name without this function.
        vars(import_module(package))[name] = value
        return value

    def list_names() -> list[str]:
        return sorted({*vars(import_module(package)), *module_of})

    return load, list_names, sorted(module_of)
