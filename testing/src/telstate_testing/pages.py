"""The examples of a page of the documentation: run as shown, each page by itself.

The code blocks of a page run in order, in one namespace and in a temporary folder that begins with a copy of
``samples``, the folder beside ``conf.py``:

- ``python`` with ``>>>``: each statement prints what is shown (``...`` stands for any text). Without: it runs.
- ``console``: each line after ``$`` prints what is shown, in a pipe. ``console terminal``: on a terminal of 100
  columns. ``console background``: it runs beside the following blocks, and must have ended after the last.
- ``sh``: bash runs it, and it must succeed.
- A block of any language whose first line is ``# NAME.SUFFIX`` is written to a file of that name.
- A block that cannot be run says why: ``sh not-run="installs packages"``.

``localhost:6379`` is a server of the page's own, on a free port. The page may declare other addresses, and the
kind of server, in HTML comments: ``<!-- localhost:6380 is Valkey -->``. The kinds are the keys of `KINDS`; the newest server of a kind is used, or the newest
of a version: ``<!-- localhost:6380 is Redis 8 -->``.
"""

from __future__ import annotations

import doctest
import os
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from random import SystemRandom
from typing import Any

import pytest
from attrs import frozen
from sybil import Document, Example, Lexeme, Region, Sybil
from sybil.evaluators.doctest import DocTestEvaluator
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.abstract.doctest import DocTestStringParser
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

from telstate_testing.console import Background, check_example, run_script
from telstate_testing.environment import missing
from telstate_testing.servers import RedisBinary, RedisServer, redis_binaries

ADDRESS = re.compile(r"\blocalhost:6379\b")
DECLARATION = re.compile(r"<!-- (localhost:\d+) is (.+?) -->")
FENCE = re.compile(r"(?P<language>[^\s`]*)(?P<options>[^\n`]*)\n")
FILE = re.compile(r"# ([\w-]+(?:\.[\w-]+)+)\n")
NOT_RUN = re.compile(r"""not-run=(["'])(.+)\1""")
#: Languages whose blocks are run, by the names that highlighting knows.
LANGUAGES = {
    "python": "python",
    "pycon": "python",
    "console": "console",
    "shell-session": "console",
    "sh": "sh",
    "bash": "sh",
    "shell": "sh",
}
#: Directives that would show a code block that is not run.
DIRECTIVES = {"{code}", "{code-block}", "{sourcecode}", "{doctest}"}


def short_port() -> int:
    """Return a free port of four digits: as many as 6379 has, so that columns of output stay in line."""
    while True:
        port = SystemRandom().randrange(5000, 10000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def _server(binary: RedisBinary) -> Iterator[int]:
    with RedisServer(binary, port=short_port()) as server:
        yield server.port


@contextmanager
def _cluster(binary: RedisBinary) -> Iterator[int]:
    from telstate_testing.clusters import running_cluster

    with running_cluster(binary) as servers:
        yield servers[0].port


@contextmanager
def _sentinel(binary: RedisBinary) -> Iterator[int]:
    from telstate_testing.clusters import running_sentinels

    # No failover is meant to happen.
    with running_sentinels(binary, down_after=60_000) as group:
        yield group.sentinels[0].port


#: What may be declared, the family that runs it (empty: any), and how.
KINDS: dict[str, tuple[str, Callable[[RedisBinary], AbstractContextManager[int]]]] = {
    "a server": ("", _server),
    "Redis": ("redis", _server),
    "Valkey": ("valkey", _server),
    "a cluster": ("", _cluster),
    "a Sentinel": ("", _sentinel),
}


@frozen
class Block:
    """A fenced code block of a page."""

    language: str
    options: str
    source: str


class Page:
    """A page whose examples are run."""

    def __init__(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        self._path = path
        self._declared = dict(DECLARATION.findall(text))
        if ADDRESS.search(text):
            self._declared.setdefault("localhost:6379", "a server")
        self._addresses: dict[str, str] = {}
        self._resources = ExitStack()
        self._evaluate_python = PythonEvaluator()
        self._doctest = DocTestStringParser(DocTestEvaluator(doctest.ELLIPSIS))
        self._environment: dict[str, str] = {}
        self._background: list[Background] = []

    def collect(self, parent: pytest.Collector) -> pytest.Collector | None:
        """Return the page's examples, as tests."""
        sybil = Sybil(
            parsers=[self._parse],
            path=str(self._path.parent),
            patterns=[self._path.name],
            setup=self._set_up,
            teardown=self._tear_down,
        )
        collected: pytest.Collector | None = sybil.pytest()(self._path, parent)
        return collected

    def _parse(self, document: Document) -> Iterable[Region]:
        """Yield what is run of a page, each with how it is run."""
        for region in RawFencedCodeBlockLexer(FENCE)(document):
            found = region.lexemes
            block = Block(found["language"], found["options"].strip(), str(found["source"]))
            if block.language in DIRECTIVES:
                place = document.line_column(region.start)
                raise ValueError(f"{self._path}, {place}: use a code block without a directive.")
            if NOT_RUN.search(block.options):
                continue
            language = LANGUAGES.get(block.language)
            if FILE.match(block.source):
                region.parsed, region.evaluator = block, self._write
            elif language == "python" and block.source.startswith(">>>"):
                source = found["source"]
                for example in self._doctest(source, document.path):
                    example.evaluator = self._run_statement
                    example.adjust(region, source)
                    yield example
                continue
            elif language == "python":
                region.parsed, region.evaluator = found["source"], self._run_code
            elif language == "console":
                region.parsed, region.evaluator = block, self._run_console
            elif language == "sh":
                region.parsed, region.evaluator = block, self._run_shell
            else:
                continue
            yield region

    def _real(self, text: str) -> str:
        """Return a text with the addresses at which the servers really are."""
        for shown, real in self._addresses.items():
            text = re.sub(rf"\b{shown}\b", real, text)
        return text

    def _set_up(self, namespace: dict[str, Any]) -> None:
        stack = self._resources
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="telstate-page-")))
        commands = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="telstate-bin-")))
        try:
            self._start_servers()
            for root in self._path.parents:
                if (root / "conf.py").is_file() and (root / "samples").is_dir():
                    shutil.copytree(root / "samples", folder, dirs_exist_ok=True)
            for binary in redis_binaries():
                link = commands / f"{binary.family}-server"
                link.unlink(missing_ok=True)
                link.symlink_to(binary.path)
        except BaseException:
            stack.close()
            raise
        # Before other servers of these names; and the commands of this Python's environment.
        path = [commands, Path(sys.executable).parent, os.environ["PATH"]]
        self._environment = {"PATH": os.pathsep.join(map(str, path))}
        stack.callback(os.chdir, os.getcwd())
        os.chdir(folder)

    def _start_servers(self) -> None:
        for address, kind in self._declared.items():
            name, _, version = kind.partition(" ") if kind[-1].isdigit() else (kind, "", "")
            family, run = KINDS[name]
            binaries = [
                one
                for one in redis_binaries()
                if family in ("", one.family) and str(one).startswith(f"{one.family}-{version}")
            ]
            if not binaries:
                wanted = kind if family else "Redis or Valkey"
                pytest.skip(missing(f"{wanted} server"))
            port = self._resources.enter_context(run(binaries[-1]))
            self._addresses[address] = f"localhost:{port}"

    def _tear_down(self, namespace: dict[str, Any]) -> None:
        # A page may have set the policy for pickles of this process, which runs other pages too.
        if codec := sys.modules.get("telstate_codec"):
            codec.set_allow_pickle(False)
        with self._resources:
            for process in self._background:
                process.check()

    def _run_statement(self, example: Example) -> str | None:
        parsed = example.parsed
        parsed.source, parsed.want = self._real(parsed.source), self._real(parsed.want)
        if parsed.exc_msg is not None:
            parsed.exc_msg = self._real(parsed.exc_msg)
        return self._doctest.evaluator(example)

    def _run_code(self, example: Example) -> None:
        code = example.parsed
        example.parsed = Lexeme(self._real(code), code.offset, code.line_offset)
        self._evaluate_python(example)

    def _write(self, example: Example) -> None:
        block: Block = example.parsed
        name = FILE.match(block.source)
        assert name is not None
        Path(name[1]).write_text(self._real(block.source), encoding="utf-8")

    def _run_console(self, example: Example) -> None:
        block: Block = example.parsed
        shown = self._real(block.source)
        if "background" in block.options:
            self._background.append(Background(shown, self._environment))
            return
        check_example(shown, Path.cwd(), self._environment, terminal="terminal" in block.options)

    def _run_shell(self, example: Example) -> None:
        run_script(self._real(example.parsed.source), Path.cwd(), self._environment)
