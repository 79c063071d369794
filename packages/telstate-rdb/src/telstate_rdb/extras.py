"""What is said where a package of an extra is missing."""

from __future__ import annotations

from importlib.util import find_spec

__all__ = ["MissingExtraError", "require_extra"]


class MissingExtraError(ImportError):
    """A package is not installed that comes with an extra."""


def require_extra(distribution: str, extra: str, purpose: str, *modules: str) -> None:
    """Raise an error that names an extra if modules that come with it are not installed; import none.

    Parameters
    ----------
    distribution, extra
        What to install.
    purpose
        How the error begins.
    modules
        The names of top-level modules.

    Raises
    ------
    MissingExtraError
        If one of the modules is not installed.

    Examples
    --------
    >>> require_extra("telstate", "plot", "Plots need", "json", "no_such_module")
    Traceback (most recent call last):
    telstate_rdb.extras.MissingExtraError: Plots need no_such_module. Install telstate with its extra 'plot'.
    """
    for name in modules:
        if find_spec(name) is None:
            raise MissingExtraError(
                f"{purpose} {name}. Install {distribution} with its extra {extra!r}.", name=name
            )
