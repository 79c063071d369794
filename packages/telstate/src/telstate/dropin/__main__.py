"""Run a program with telstate in place of katsdptelstate, without changing the program.

Usage: ``python -m telstate.dropin PROGRAM [ARGUMENTS]`` or ``python -m telstate.dropin -m MODULE
[ARGUMENTS]``. A program that is not a file in the current directory is looked up on the ``PATH``.
"""

from __future__ import annotations

import os
import pkgutil
import runpy
import shutil
import sys
from importlib.util import find_spec

from telstate.dropin import install_as_katsdptelstate


def main(arguments: list[str]) -> None:
    """Run a program or module as Python itself would."""
    if arguments[:1] in (["-h"], ["--help"]):
        print(__doc__)
        return
    is_module = arguments[:1] == ["-m"]
    command = arguments[is_module:]
    if not command or command[0].startswith("-"):
        sys.exit(str(__doc__))
    install_as_katsdptelstate()
    if is_module:
        sys.argv = command  # sys.path already begins with the current directory
        _check_module(command[0])
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
        return
    program = command[0] if os.path.exists(command[0]) else shutil.which(command[0])
    if program is None:
        sys.exit(f"There is no program {command[0]}, neither here nor on the PATH.")
    # A folder or zip file must contain a __main__.py.
    folder = pkgutil.get_importer(program)
    if folder is not None and folder.find_spec("__main__") is None:
        sys.exit(f"There is no program in {program}: it has no __main__.py.")
    sys.argv = [program, *command[1:]]
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.realpath(program))
    runpy.run_path(program, run_name="__main__")


def _check_module(name: str) -> None:
    """Exit if a module cannot be run; errors raised while its package is imported are not caught."""
    missing = f"There is no module {name}, neither here nor installed."
    if name.startswith(".") or not all(name.split(".")):
        sys.exit(missing)
    try:
        spec = find_spec(name)
    except ModuleNotFoundError as error:
        # Only the package that contains it, not one that the package imports.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        sys.exit(missing)
    if spec is None:
        sys.exit(missing)
    if spec.submodule_search_locations is not None and find_spec(f"{name}.__main__") is None:
        sys.exit(f"The package {name} cannot be run: it has no module __main__.")


if __name__ == "__main__":
    main(sys.argv[1:])
