"""How Python finds our katsdptelstate, and its metadata, even if the original is installed.

Only the package itself has to be found; its submodules follow from its ``__path__``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from importlib.metadata import Distribution, DistributionFinder

NAME: Final = "katsdptelstate"

VERSION: Final = "1.0.0+telstate"
"""The version of katsdptelstate whose names these are, with a label for the implementation."""

FOLDER: Final = str(Path(__file__).parent)
"""The folder that contains ``katsdptelstate``. It is not on `sys.path`."""


class Finder:
    """An entry of `sys.meta_path` that finds one package."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of the package; None for every other module."""
        return PathFinder.find_spec(NAME, [FOLDER], target) if fullname == NAME else None

    def find_distributions(self, context: DistributionFinder.Context) -> Iterator[Distribution]:
        """Yield the metadata; `importlib.metadata` calls this method."""
        wanted = getattr(context, "name", None)
        if wanted is None or wanted.lower() == NAME:
            from telstate.dropin._metadata import DropInDistribution

            yield DropInDistribution(NAME, VERSION, FOLDER)


FINDER = Finder()
