"""The examples of a page run as shown, and one that prints something else fails."""

import pytest

from telstate_testing import redis_binaries

pytest_plugins = ["pytester"]

needs_server = pytest.mark.skipif(not redis_binaries(), reason="no server on this machine")


def run(pytester: pytest.Pytester, page: str) -> pytest.RunResult:
    """Run the examples of a page in a documentation with a sample."""
    pytester.mkdir("samples").joinpath("sample.txt").write_text("a sample\n")
    pytester.makefile(".py", conf="")
    pytester.makefile(".md", page=page)
    return pytester.runpytest_subprocess("-p", "no:xdist", "-p", "no:randomly", "page.md")


def block(info: str, *lines: str) -> str:
    """Return a fenced code block."""
    return "\n".join([f"```{info}", *lines, "```", "", ""])


def test_every_kind_of_block(pytester: pytest.Pytester) -> None:
    """Blocks share a namespace and a folder; commands see a pipe, or a terminal."""
    page = [
        block("python", ">>> number = 2", ">>> range(9)", "range(0, ...)"),
        block("python", "assert number == 2"),
        block("python", "# program.py", "import sys", "print('one', 'two', file=sys.stderr)"),
        block("console", "$ python program.py", "one two", "$ cat sample.txt", "a sample"),
        block("console", "$ echo a \\", "> b", "a b", "$ test -t 1 || echo a pipe", "a pipe"),
        block("console terminal", "$ test -t 1 && tput cols", "100"),
        block(
            "console background", "$ until [ -e made ]; do sleep 0.01; done; echo found", "found"
        ),
        block("sh", "touch made"),
        block("sh not-run='it fails'", "exit 1"),
        block("text", "exit 1"),
    ]
    run(pytester, "".join(page)).assert_outcomes(passed=9)


@pytest.mark.parametrize(
    "wrong",
    [
        block("python", ">>> 1 + 1", "3"),
        block("python", "1 / 0"),
        block("console", "$ echo one", "two"),
        block("console terminal", "$ echo one", "two"),
        block("sh", "exit 1"),
    ],
)
def test_failures(pytester: pytest.Pytester, wrong: str) -> None:
    """A block that does not do what is shown fails."""
    run(pytester, wrong).assert_outcomes(failed=1)


def test_background_is_compared(pytester: pytest.Pytester) -> None:
    """What a command in the background has printed is compared at the end of the page."""
    outcome = run(pytester, block("console background", "$ echo one", "two"))
    outcome.assert_outcomes(passed=1, errors=1)


def test_directives_are_refused(pytester: pytest.Pytester) -> None:
    """A directive that would show code which is not run is an error."""
    run(pytester, block("{code-block} python", "1 / 0")).assert_outcomes(errors=1)


@needs_server
def test_servers(pytester: pytest.Pytester) -> None:
    """The addresses that a page names are servers of its own."""
    family = redis_binaries()[-1].family
    page = [
        f"<!-- localhost:6380 is {family.capitalize()} -->\n\n",
        block(
            "python",
            ">>> import socket",
            ">>> def ask(address, command):",
            "...     host, port = address.split(':')",
            "...     with socket.create_connection((host, port)) as connection:",
            "...         connection.sendall(command + b'\\r\\n')",
            "...         return connection.recv(100)",
            ">>> ask('localhost:6379', b'SET a b')",
            "b'+OK\\r\\n'",
            ">>> ask('localhost:6380', b'EXISTS a')",
            "b':0\\r\\n'",
            ">>> print('localhost:6379')",
            "localhost:6379",
        ),
        block("console", f"$ {family}-server --version", "...v=..."),
    ]
    run(pytester, "".join(page)).assert_outcomes(passed=6)
