"""Runs the code of a Markdown page as written and checks the result that each comment states.

Statements are run one by one in one namespace. The comment after a statement states its result (a value, the
name of an error, the prefixes of a view, the key that was written), which is checked, or it is listed in `PROSE`.
Any other comment fails, so a changed page cannot go unchecked.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs

import telstate

#: Comments that state no result.
PROSE = {
    "in memory; 'localhost:6379', 'redis://localhost', unix://... for a server",
    "a sensor: samples with timestamps",
    "late samples sort in",
    "an attribute: set once",
    "the same again is fine",
    "or keys=['n_chans', 'gain']",
}


@attrs.frozen
class Step:
    """A statement of a page and the comment after it."""

    code: ast.stmt
    comment: str


def blocks(page: Path) -> list[list[Step]]:
    """Return the statements of each Python block of a page."""
    found = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return [list(steps(block)) for block in found]


def steps(block: str) -> Iterator[Step]:
    """Yield the statements of a block, each with the comment after it."""
    tokens = tokenize.generate_tokens(io.StringIO(block).readline)
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokens
        if token.type == tokenize.COMMENT
    }
    # `await` at the top level is a syntax error only when it is compiled.
    for statement in ast.parse(block).body:
        lines = range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
        yield Step(statement, " ".join(comments.pop(line) for line in lines if line in comments))
    assert comments == {}, "a comment belongs to no statement"


async def walk(block: Iterable[Step], names: dict[str, Any]) -> list[Any]:
    """Run statements, check their comments, and return the values of the expressions."""
    values = []
    for step in block:
        error = getattr(telstate, step.comment, None) if step.comment.isidentifier() else None
        try:
            value = await _run(step.code, names)
        except Exception as caught:
            assert error is not None and type(caught) is error, ast.unparse(step.code)
            continue
        assert error is None, f"{ast.unparse(step.code)} did not raise {step.comment}"
        _check(step, value, names)
        if isinstance(step.code, ast.Expr):
            values.append(value)
    return values


async def _run(statement: ast.stmt, names: dict[str, Any]) -> Any:
    """Run one statement and return its value if it is an expression."""
    tree: ast.Expression | ast.Module
    if isinstance(statement, ast.Expr):
        tree, mode = ast.Expression(statement.value), "eval"
    else:
        tree, mode = ast.Module([statement], []), "exec"
    code = compile(tree, "<page>", mode, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    value = eval(code, names)
    return await value if code.co_flags & inspect.CO_COROUTINE else value


def _check(step: Step, value: Any, names: dict[str, Any]) -> None:
    """Check the result that a comment states against the value of its statement."""
    comment = step.comment
    if not comment or comment in PROSE:
        return
    if comment == "-> number of keys":
        assert type(value) is int and value > 0
    elif comment.startswith("prefixes "):
        assert isinstance(step.code, ast.Assign) and isinstance(step.code.targets[0], ast.Name)
        prefixes = names[step.code.targets[0].id].prefixes
        assert prefixes == ast.literal_eval(comment.removeprefix("prefixes "))
    elif comment.startswith("stored as "):
        assert comment.removeprefix("stored as ") in names["ts"].keys()
    else:
        assert isinstance(step.code, ast.Expr), comment
        expected = ast.literal_eval(re.sub(r", found in the root$", "", comment))
        if isinstance(expected, list) and expected[-1:] == [...]:
            assert value[: len(expected) - 1] == expected[:-1]
            assert len(value) >= len(expected)
        else:
            assert value == expected
