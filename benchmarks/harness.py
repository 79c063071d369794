"""What a benchmark row is, and how one is timed; imported in both environments.

A row is a function of a `Side` that prepares everything and returns the callable to time, for our
packages or for the peer (katsdptelstate), or None if that side lacks the feature::

    from harness import Side, Timed, row

    @row("encode a NumPy scalar", at_least=5)
    def encode_scalar(side: Side) -> Timed:
        value = numpy.float64(1.5)
        if side.is_ours:
            from telstate_codec import encode_value
        else:
            from katsdptelstate.encoding import encode_value
        return lambda: encode_value(value)

Rows are defined in files named ``rows_*.py`` beside this one. At the top of such a file only the standard
library and NumPy may be imported, because it is loaded in both environments.
"""

from __future__ import annotations

import gc
import importlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Timed = Callable[[], object] | None


@dataclass(frozen=True)
class SelfTimed:
    """A callable that returns the seconds it took, for rows where not the whole call is timed."""

    seconds: Callable[[], float]

    def __call__(self) -> float:
        return self.seconds()


@dataclass(frozen=True)
class Side:
    """The packages that a row times.

    Attributes
    ----------
    name
        ``'ours'`` or ``'peer'``.
    settings
        ``test_data`` (a folder with a real snapshot), ``snapshot`` (a large one of Redis 7, if there is
        one), ``snapshot_version_6`` (its contents for older readers) and ``redis_url`` (a server for this
        side only, if there is one).
    folder
        A temporary folder for this side only.
    """

    name: str
    settings: dict[str, str]
    folder: Path

    @property
    def is_ours(self) -> bool:
        """Whether our packages are timed."""
        return self.name == "ours"


@dataclass(frozen=True)
class Row:
    """One comparison: its title, the required ratio to the peer's speed, and its preparation."""

    title: str
    at_least: float | None
    prepare: Callable[[Side], Timed] = field(repr=False)


REGISTRY: dict[str, Row] = {}


def row(
    title: str, *, at_least: float | None = None
) -> Callable[[Callable[[Side], Timed]], Callable[[Side], Timed]]:
    """Register a row; `at_least` is the required ratio (None: for information only)."""

    def register(prepare: Callable[[Side], Timed]) -> Callable[[Side], Timed]:
        if title in REGISTRY:
            raise ValueError(f"There are two rows with the title {title!r}. Rename one.")
        REGISTRY[title] = Row(title, at_least, prepare)
        return prepare

    return register


def load_rows() -> dict[str, Row]:
    """Import every ``rows_*.py`` and return the rows in the order of their definition."""
    for path in sorted(Path(__file__).parent.glob("rows_*.py")):
        importlib.import_module(path.stem)
    return REGISTRY


def _loop(timed: Callable[[], object], loops: int) -> float:
    """Time a loop of calls with the garbage collector disabled, as `timeit` does."""
    repeat = range(loops)
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        for _ in repeat:
            timed()
        return time.perf_counter() - start
    finally:
        gc.enable()


def seconds_of(timed: Callable[[], object], loops: int) -> float:
    """Time `loops` calls, less the time of as many calls of an empty function.

    Otherwise the ratio of two calls of some 100 ns would be too close to 1.
    """
    if isinstance(timed, SelfTimed):
        return sum(timed() for _ in range(loops))
    taken = _loop(timed, loops)
    return max(taken - _loop(lambda: None, loops), taken / 10) if loops > 100 else taken


def loops_for(timed: Callable[[], object], seconds: float) -> int:
    """Return how many calls take about `seconds`; finding out also warms everything up."""
    timed()
    loops = 1
    while True:
        taken = seconds_of(timed, loops)
        if taken >= seconds / 4:
            return max(1, round(loops * seconds / taken))
        loops *= 4 if taken > 0.001 else 16


def serve(side: Side) -> None:
    """Answer the requests of `run.py` over standard input and output, one JSON object a line.

    ``{"prepare": title, "seconds": s}`` is answered by ``{"loops": n}`` (0: this side lacks the feature),
    ``{"time": title, "loops": n}`` by ``{"seconds": taken}`` for all loops together, and
    ``{"drop": title}`` by ``{}``; it discards what was prepared.
    """
    rows = load_rows()
    prepared: dict[str, Callable[[], object]] = {}
    answers = sys.stdout
    sys.stdout = sys.stderr  # Output of a row must not mix with the answers.
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        answer: dict[str, float] = {}
        if "prepare" in request:
            timed = rows[request["prepare"]].prepare(side)
            if timed is None:
                answer["loops"] = 0
            else:
                prepared[request["prepare"]] = timed
                answer["loops"] = loops_for(timed, request["seconds"])
        elif "time" in request:
            answer["seconds"] = seconds_of(prepared[request["time"]], request["loops"])
        else:
            prepared.pop(request["drop"], None)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    # The files with rows import `harness`; that must be this module, not a second copy.
    sys.modules["harness"] = sys.modules["__main__"]
    serve(Side(sys.argv[1], json.loads(sys.argv[2]), Path(sys.argv[3])))
