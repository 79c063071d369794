"""The time to import a package in a new process, without the start of Python."""

import subprocess
import sys

from harness import SelfTimed, Side, Timed, row

CODE = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"


def fresh(statement: str) -> SelfTimed:
    """Time a statement in a new interpreter."""
    command = [sys.executable, "-c", CODE.format(statement)]

    def seconds() -> float:
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    return SelfTimed(seconds)


@row("import the package", at_least=3)
def import_package(side: Side) -> Timed:
    return fresh(f"import {'telstate' if side.is_ours else 'katsdptelstate'}")


@row("import the package and write a sample into memory")
def import_and_use(side: Side) -> Timed:
    name = "telstate" if side.is_ours else "katsdptelstate"
    return fresh(f"import {name}; {name}.TelescopeState().add('gain', 1.5, ts=1.0)")
