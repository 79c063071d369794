"""Run a program with telstate in place of katsdptelstate, without changing the program.

Usage: ``python -m telstate.dropin PROGRAM [ARGUMENTS]`` or ``python -m telstate.dropin -m MODULE
[ARGUMENTS]``. A program that is not a file in the current directory is looked up on the ``PATH``.
"""

from __future__ import annotations

import os
import runpy
import shutil
import sys

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
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
        return
    program = command[0] if os.path.exists(command[0]) else shutil.which(command[0])
    if program is None:
        sys.exit(f"There is no program {command[0]}, neither here nor on the PATH.")
    sys.argv = [program, *command[1:]]
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.realpath(program))
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
