"""A drop-in replacement for katsdptelstate: programs that import it use telstate, unchanged.

`install_as_katsdptelstate` replaces it in one process; ``python -m telstate.dropin`` runs a program that
cannot be changed. The folder ``katsdptelstate`` beside this file has one thin module for each module of
katsdptelstate, with the same names and, where necessary, the conventions of the old API. Those modules
import `telstate` by its name, never relatively. docs/how-to/moving-from-katsdptelstate.md lists the differences.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from importlib.metadata import Distribution, DistributionFinder

__all__ = ["NAME", "VERSION", "install_as_katsdptelstate"]

NAME: Final = "katsdptelstate"

VERSION: Final = "1.0.0+telstate"
"""The version of katsdptelstate whose names these are, with a label for the implementation."""

# The folder that contains ``katsdptelstate``. It is not on `sys.path`.
_FOLDER: Final = Path(__file__).parent


def install_as_katsdptelstate() -> None:
    """Make ``import katsdptelstate`` import telstate in this process from now on.

    Call it before anything imports katsdptelstate. Its submodules and its metadata
    (``importlib.metadata.version("katsdptelstate")``) are available too. An installed katsdptelstate
    is left alone and not used. Calling it again does nothing.

    Raises
    ------
    ImportError
        If the original katsdptelstate has already been imported.

    Examples
    --------
    >>> import telstate
    >>> telstate.install_as_katsdptelstate()
    >>> from katsdptelstate.endpoint import endpoint_parser
    >>> endpoint_parser(7148)("localhost")
    Endpoint('localhost', 7148)
    """
    present = sys.modules.get(NAME)
    if present is not None:
        if list(getattr(present, "__path__", ())) == [str(_FOLDER / NAME)]:
            return
        raise ImportError(
            f"{NAME} {getattr(present, '__version__', '')} has already been imported from "
            f"{getattr(present, '__file__', 'elsewhere')}. Call install_as_katsdptelstate() first."
        )
    if FINDER not in sys.meta_path:
        sys.meta_path.insert(0, FINDER)
    import_module(NAME)


class Finder:
    """An entry of `sys.meta_path` that finds the package, even if the original is installed.

    Its submodules are found by its ``__path__``.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of the package; None for every other module."""
        return PathFinder.find_spec(NAME, [str(_FOLDER)], target) if fullname == NAME else None

    def find_distributions(self, context: DistributionFinder.Context) -> Iterator[Distribution]:
        """Yield the metadata, unless they are installed; `importlib.metadata` calls this method."""
        from importlib.metadata import DistributionFinder, MetadataPathFinder  # slow to import

        wanted = getattr(context, "name", None)
        if wanted is None or wanted.lower() == NAME:
            ours = DistributionFinder.Context(name=NAME)
            installed = MetadataPathFinder.find_distributions(ours)
            if all(distribution.version != VERSION for distribution in installed):
                yield _make_distribution()


FINDER = Finder()


def _make_distribution() -> Distribution:
    """Return the metadata of a distribution of which only the modules exist on disk."""
    from importlib.metadata import Distribution  # slow to import

    files = {
        "METADATA": (
            f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n"
            "Summary: telstate under the names of katsdptelstate\n"
            "Provides-Extra: aio\nProvides-Extra: rdb\nProvides-Extra: test\n"
        ),
        "top_level.txt": f"{NAME}\n",
    }

    class DropInDistribution(Distribution):
        def read_text(self, filename: str | os.PathLike[str]) -> str | None:
            return files.get(os.fspath(filename))

        def locate_file(self, path: str | os.PathLike[str]) -> Path:
            return _FOLDER / path

    return DropInDistribution()
