"""The distribution named katsdptelstate only imports telstate."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from telstate.dropin import VERSION

ROOT = next(folder for folder in Path(__file__).parents if (folder / "compat").is_dir())
COMPAT = ROOT / "compat" / "katsdptelstate"

PROGRAM = """
import katsdptelstate.aio.redis
from katsdptelstate.endpoint import endpoint_list_parser
from katsdptelstate import encoding, rdb_writer
import importlib.metadata
import telstate
assert katsdptelstate.TelescopeState is telstate.TelescopeState
assert katsdptelstate.aio.TelescopeState is telstate.aio.TelescopeState
assert issubclass(rdb_writer.RDBWriter, telstate.RDBWriter)
assert encoding.encode_value is telstate.encode_value
ts = katsdptelstate.TelescopeState()
ts["n_chans"] = 4096
print(ts["n_chans"], katsdptelstate.__version__, importlib.metadata.version("katsdptelstate"))
"""


def test_import() -> None:
    """``import katsdptelstate``, with its submodules, imports telstate."""
    environment = {**os.environ, "PYTHONPATH": str(COMPAT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["4096", VERSION, VERSION]


def test_metadata() -> None:
    """The distribution has the version of the API that it provides and requires telstate only."""
    project = tomllib.loads((COMPAT / "pyproject.toml").read_text())["project"]
    assert (project["name"], project["version"]) == ("katsdptelstate", VERSION)
    assert [requirement.partition(">")[0] for requirement in project["dependencies"]] == [
        "telstate"
    ]
