"""Names that a package exports without loading the modules that define them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module

# A module-level `__getattr__`, `__dir__` and `__all__`.
Exports = tuple[Callable[[str], object], Callable[[], list[str]], list[str]]


def lazy_exports(
    package: str, homes: Mapping[str, Iterable[str]], distribution: str = ""
) -> Exports:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` that load each name when it is first used.

    `homes` lists the names that each module defines, and for `package` itself its submodules. With
    `distribution`, ``__version__`` is the version of that distribution.
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def load(name: str) -> object:
        home = home_of.get(name)
        if home == package:
            return import_module(f"{package}.{name}")
        if home is not None:
            found: object = getattr(import_module(home), name)
        elif distribution and name == "__version__":
            from importlib.metadata import version  # slow to import, and rarely needed

            found = version(distribution)
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        # The next access finds the name without this function.
        vars(import_module(package))[name] = found
        return found

    def list_names() -> list[str]:
        return sorted({*vars(import_module(package)), *home_of})

    return load, list_names, sorted(home_of)
