"""A drop-in replacement for katsdptelstate: programs that import it use telstate, unchanged.

`install_as_katsdptelstate` replaces it in one process; ``python -m telstate.dropin`` runs a program that
cannot be changed. The folder ``katsdptelstate`` beside this file has one thin module for each module of
katsdptelstate, with the same names and, where necessary, the conventions of the old API. Those modules
import `telstate` by its name, never relatively. docs/moving-from-katsdptelstate.md lists the differences.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from telstate.dropin._finder import FINDER, FOLDER, NAME, VERSION

__all__ = ["NAME", "VERSION", "install_as_katsdptelstate"]


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
        if list(getattr(present, "__path__", ())) == [str(Path(FOLDER, NAME))]:
            return
        raise ImportError(
            f"{NAME} {getattr(present, '__version__', '')} has already been imported from "
            f"{getattr(present, '__file__', 'elsewhere')}. Call install_as_katsdptelstate() first."
        )
    if FINDER not in sys.meta_path:
        sys.meta_path.insert(0, FINDER)
    import_module(NAME)
