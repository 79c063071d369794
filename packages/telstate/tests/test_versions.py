"""The version of each package is that of its distribution."""

import importlib
import importlib.metadata

import pytest


@pytest.mark.parametrize(
    "name", ["telstate", "telstate_backends", "telstate_codec", "telstate_rdb"]
)
def test_version(name: str) -> None:
    """``__version__`` equals the version in the metadata."""
    module = importlib.import_module(name)
    assert module.__version__ == importlib.metadata.version(name.replace("_", "-"))
    assert not hasattr(module, "nonsense")
