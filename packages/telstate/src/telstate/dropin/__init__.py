"""A drop-in for katsdptelstate: programs that import it get telstate, unchanged.

`install_as_katsdptelstate` does it for a process; ``python -m telstate.dropin`` runs a program that
cannot be changed at all. The modules that those programs then import are in the folder
``katsdptelstate`` beside this file, one thin module for each of katsdptelstate's; what they import
is loaded when they are. What differs is in docs/moving-from-katsdptelstate.md.

Rules: a module in that folder holds names and, at the most, the manners of the old API; whatever
does work is in the package that it belongs to. It imports `telstate` by its name, never by dots.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Final

__all__ = ["NAME", "VERSION", "install_as_katsdptelstate"]

NAME: Final = "katsdptelstate"

VERSION: Final = "1.0.0+telstate"
"""The version of katsdptelstate whose names these are; the label says whose they are now."""

FOLDER: Final = str(Path(__file__).parent)
"""Where the folder ``katsdptelstate`` is; not on `sys.path`, so nothing finds it by accident."""


def install_as_katsdptelstate() -> None:
    """Make ``import katsdptelstate`` mean telstate, in this process, from now on.

    Call it before anything imports katsdptelstate. Its submodules are there, too, and its metadata
    (``importlib.metadata.version("katsdptelstate")``). An installed katsdptelstate is left alone
    and not used. Calling it again does nothing.

    Raises
    ------
    ImportError
        If the real katsdptelstate has been imported already.

    Examples
    --------
    >>> import telstate
    >>> telstate.install_as_katsdptelstate()
    >>> from katsdptelstate.endpoint import endpoint_parser
    >>> endpoint_parser(7148)("localhost")
    Endpoint('localhost', 7148)
    """
    from telstate.dropin.finder import FINDER  # here: who does not install it need not load it

    present = sys.modules.get(NAME)
    if present is not None:
        if list(getattr(present, "__path__", ())) == [str(Path(FOLDER, NAME))]:
            return
        raise ImportError(
            f"{NAME} {getattr(present, '__version__', '')} has been imported already, from "
            f"{getattr(present, '__file__', 'elsewhere')}, and whoever did it would go on using it; "
            "call install_as_katsdptelstate() before that."
        )
    if FINDER not in sys.meta_path:
        sys.meta_path.insert(0, FINDER)
    import_module(NAME)
