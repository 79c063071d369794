"""TelescopeState in memory, method by method."""

import importlib
import itertools
from typing import Any

from harness import Side, Timed, row

ROWS = 1000


def new(side: Side) -> Any:
    """Return an empty telescope state of either side."""
    package = importlib.import_module("telstate" if side.is_ours else "katsdptelstate")
    return package.TelescopeState()


def filled(side: Side, depth: int) -> Any:
    """Return a view of `depth` prefixes, with all keys in the root."""
    ts = new(side)
    ts["n_chans"] = 4096
    for number in range(ROWS):
        ts.add("gain", number / 7, ts=float(number))
    for number in range(depth - 1):
        ts = ts.view(f"prefix{number}")
    return ts


@row("memory: get in a root view", at_least=1.5)
def get_root(side: Side) -> Timed:
    ts = filled(side, 1)
    return lambda: ts.get("n_chans")


@row("memory: get in a view of 4", at_least=3)
def get_view(side: Side) -> Timed:
    ts = filled(side, 4)
    return lambda: ts.get("n_chans")


@row("memory: latest sample in a view of 4")
def latest(side: Side) -> Timed:
    ts = filled(side, 4)
    return lambda: ts["gain"]


@row("memory: add", at_least=1.5)
def add(side: Side) -> Timed:
    ts = new(side)
    clock = itertools.count()
    return lambda: ts.add("gain", 1.5, ts=float(next(clock)))


@row("memory: range of 1000 samples", at_least=2)
def get_range(side: Side) -> Timed:
    ts = filled(side, 1)
    return lambda: ts.get_range("gain", st=0)


@row("memory: load a real snapshot of 199 keys")
def load(side: Side) -> Timed:
    folder = side.settings.get("test_data")
    if folder is None:
        return None
    path = f"{folder}/1testdata_sdp_l0.rdb"
    return lambda: new(side).load_from_file(path)
