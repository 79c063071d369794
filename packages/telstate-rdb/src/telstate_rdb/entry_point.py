"""How a command starts and ends, before anything that it needs is imported and after all is done."""

from __future__ import annotations

import signal
import sys
from importlib import import_module

from telstate_rdb.extras import MissingExtraError

__all__ = ["run_command"]


def run_command(module: str, name: str) -> None:
    """Run a command; without the packages that it needs, name their extra and exit with status 2.

    Ctrl-C ends the process at once and without a traceback while modules are imported and while Python exits.
    Meanwhile it is a `KeyboardInterrupt`, unless it is ignored.

    Parameters
    ----------
    module
        The module whose function ``main`` is the command.
    name
        The name of the command.

    Examples
    --------
    >>> run_command("telstate_rdb.cli.main", "telstate-rdb")  # doctest: +SKIP
    """
    interrupted = signal.getsignal(signal.SIGINT)
    if interrupted is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        run = import_module(module).main
    except MissingExtraError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    signal.signal(signal.SIGINT, interrupted)
    sys.unraisablehook = _end_if_interrupted
    try:
        run(prog_name=name)
    finally:
        if interrupted is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _end_if_interrupted(unraisable: sys.UnraisableHookArgs) -> None:
    """End the process where Python would report and ignore Ctrl-C: in destructors and callbacks of weak references."""
    if unraisable.exc_type is KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
    sys.__unraisablehook__(unraisable)
