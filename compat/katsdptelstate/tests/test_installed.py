"""The installed distribution: what other distributions require, and what new processes import."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from importlib.metadata import distribution, version
from importlib.resources import files
from pathlib import Path

import katsdptelstate
import katsdptelstate.endpoint
import pytest
from packaging.requirements import Requirement

import telstate

PACKAGE = Path(__file__).parents[1] / "src" / "katsdptelstate"


def test_what_programs_require() -> None:
    """The version and the extras that programs ask for are there."""
    assert version("katsdptelstate") == katsdptelstate.__version__
    for text in (
        "katsdptelstate",
        "katsdptelstate[aio,rdb,test]>=0.10",
        "katsdptelstate[aio]>=1.0,<2",
    ):
        requirement = Requirement(text)
        assert requirement.specifier.contains(version("katsdptelstate"))
        extras = distribution("katsdptelstate").metadata.get_all("Provides-Extra") or []
        assert requirement.extras <= set(extras)


def test_types_are_contained() -> None:
    """The marker and a stub for each module are installed."""
    installed = {str(file) for file in distribution("katsdptelstate").files or []}
    assert "katsdptelstate/py.typed" in installed
    wanted = {f"katsdptelstate/{path.relative_to(PACKAGE)}" for path in PACKAGE.rglob("*.pyi")}
    assert wanted <= installed
    modules = Path(str(files("telstate.dropin") / "katsdptelstate"))
    assert {
        f"katsdptelstate/{path.relative_to(modules)}i" for path in modules.rglob("*.py")
    } == wanted


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_children(method: str) -> None:
    """A class of telstate, found under the old name, crosses to a child by each start method."""
    with multiprocessing.get_context(method).Pool(1) as pool:
        made = pool.apply(katsdptelstate.endpoint.Endpoint, ("localhost", 7148))
    assert made == telstate.Endpoint("localhost", 7148)


def test_run_as_module() -> None:
    """A new interpreter finds the modules, also by ``python -m``."""
    done = subprocess.run([sys.executable, "-m", "katsdptelstate.endpoint"], capture_output=True)
    assert done.returncode == 0, done.stderr
