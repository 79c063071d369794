"""CI runs all sessions that nox runs by default."""

import ast
import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_session_runs_in_ci() -> None:
    """No session is missing in the two lists of `.ci/run`, and none runs twice."""
    (default,) = re.findall(
        r"^nox\.options\.sessions = (\[.*?\])", (ROOT / "noxfile.py").read_text(), re.M | re.S
    )
    script = (ROOT / ".ci" / "run").read_text()
    (upper,) = re.findall(r"^upper=\((.*)\)$", script, re.M)
    in_ci = re.findall(r"nox -s (.+?)(?= >| 2>)", script)
    words = shlex.split(" ".join(in_ci).replace('"${upper[@]}"', upper))
    assert sorted(words) == sorted(ast.literal_eval(default))
