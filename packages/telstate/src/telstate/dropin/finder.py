"""How Python finds our katsdptelstate, and its metadata, where one of that name may be installed.

Only the package itself has to be found; its submodules follow by its ``__path__``, in the usual way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING

from telstate.dropin import FOLDER, NAME

if TYPE_CHECKING:
    from importlib.metadata import Distribution, DistributionFinder


class Finder:
    """An entry of `sys.meta_path` that knows one package."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Say where the package is; None for every other module."""
        return PathFinder.find_spec(NAME, [FOLDER], target) if fullname == NAME else None

    def find_distributions(self, context: DistributionFinder.Context) -> Iterator[Distribution]:
        """Give the metadata, to `importlib.metadata` (which looks for this method)."""
        wanted = getattr(context, "name", None)
        if wanted is None or wanted.lower() == NAME:
            from telstate.dropin.metadata import DropInDistribution

            yield DropInDistribution()


FINDER = Finder()
