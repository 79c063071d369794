"""What the tests of this package share."""

from pathlib import Path

import pytest

from telstate import TelescopeState

DATA = Path(__file__).parent / "data"


@pytest.fixture
def ts() -> TelescopeState:
    """A telescope state with nothing in it."""
    return TelescopeState()


@pytest.fixture
def real_snapshot() -> Path:
    """The snapshot of a real observation; see the README beside it."""
    return DATA / "1testdata_sdp_l0.rdb"
