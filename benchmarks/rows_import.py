"""The time to import a package in a new process, without the start of Python, and to connect."""

from harness import Side, Timed, row
from processes import time_fresh


@row("import the package", at_least=3)
def import_package(side: Side) -> Timed:
    return time_fresh(f"import {side.package}")


@row("import the package and write a sample into memory")
def import_and_use(side: Side) -> Timed:
    name = side.package
    return time_fresh(f"import {name}; {name}.TelescopeState().add('gain', 1.5, ts=1.0)")


def define_connect(what: str, setup: str) -> None:
    """Define the row for connecting to a server and reading a key that is missing."""

    @row(f"redis: {what}", at_least=1)
    def connect(side: Side) -> Timed:
        name, address = side.package, side.redis_url.removeprefix("redis://")
        use = f"{name}.TelescopeState({address!r}).get('missing')"
        return time_fresh(f"import {name}; {use}", setup.format(name=name, use=use))


define_connect("import, connect and get, in a new process", "")
define_connect("connect and get, in a process that did it before", "import {name}; {use}")
