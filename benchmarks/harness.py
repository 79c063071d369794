"""What a benchmark row is, and how one is timed; imported in both environments.

A row is a function of `Side` that prepares everything and gives the callable to be timed, for our
packages or for the peer (katsdptelstate), or None if that side has no such thing::

    from harness import Side, Timed, row

    @row("encode a NumPy scalar", at_least=5)
    def encode_scalar(side: Side) -> Timed:
        value = numpy.float64(1.5)
        if side.is_ours:
            from telstate_codec import encode_value
        else:
            from katsdptelstate.encoding import encode_value
        return lambda: encode_value(value)

Rows live in files called ``rows_*.py`` beside this one, which `run.py` finds by name. Nothing but the
standard library and NumPy may be imported at the top of such a file: it is read in both environments.
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
    """A callable that gives the seconds that count, because the whole call is not to be timed."""

    seconds: Callable[[], float]

    def __call__(self) -> float:
        return self.seconds()


@dataclass(frozen=True)
class Side:
    """Whose code a row is to time.

    Attributes
    ----------
    name
        ``'ours'`` or ``'peer'``.
    settings
        What `run.py` passes on: ``test_data`` (a folder with a real snapshot), ``snapshot`` (a large
        one of Redis 7, or absent), ``snapshot_version_6`` (its contents for older readers) and
        ``redis_url`` (a server of this side's own, or absent where there is no server).
    folder
        A temporary folder of this side's own.
    """

    name: str
    settings: dict[str, str]
    folder: Path

    @property
    def is_ours(self) -> bool:
        """Whether our packages are to be timed."""
        return self.name == "ours"


@dataclass(frozen=True)
class Row:
    """One comparison: a title, how many times as fast as the peer it should be, its preparation."""

    title: str
    at_least: float | None
    prepare: Callable[[Side], Timed] = field(repr=False)


REGISTRY: dict[str, Row] = {}


def row(
    title: str, *, at_least: float | None = None
) -> Callable[[Callable[[Side], Timed]], Callable[[Side], Timed]]:
    """Register a row; `at_least` is the ratio that the issues ask for (None: for information)."""

    def register(prepare: Callable[[Side], Timed]) -> Callable[[Side], Timed]:
        if title in REGISTRY:
            raise ValueError(f"There are two rows with the title {title!r}; rename one.")
        REGISTRY[title] = Row(title, at_least, prepare)
        return prepare

    return register


def load_rows() -> dict[str, Row]:
    """Import every ``rows_*.py`` and give the rows in the order of their definition."""
    for path in sorted(Path(__file__).parent.glob("rows_*.py")):
        importlib.import_module(path.stem)
    return REGISTRY


def _loop(timed: Callable[[], object], loops: int) -> float:
    """Time a loop of calls, the garbage collector kept out of it as `timeit` does."""
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
    """Time `loops` calls; what the loop and an empty function take is measured beside, and taken off.

    Without that, calls of 100 ns would look slower than they are on both sides, and the ratio smaller.
    """
    if isinstance(timed, SelfTimed):
        return sum(timed() for _ in range(loops))
    taken = _loop(timed, loops)
    return max(taken - _loop(lambda: None, loops), taken / 10) if loops > 100 else taken


def loops_for(timed: Callable[[], object], seconds: float) -> int:
    """Find how many calls take about `seconds`; the calls made meanwhile warm everything up."""
    timed()
    loops = 1
    while True:
        taken = seconds_of(timed, loops)
        if taken >= seconds / 4:
            return max(1, round(loops * seconds / taken))
        loops *= 4 if taken > 0.001 else 16


def serve(side: Side) -> None:
    """Answer `run.py` over standard input and output, a JSON object a line.

    ``{"prepare": title, "seconds": s}`` gives ``{"loops": n}`` (0: this side has no such thing);
    ``{"time": title, "loops": n}`` gives ``{"seconds": taken}`` for all the loops together;
    ``{"drop": title}`` forgets what was prepared.
    """
    rows = load_rows()
    prepared: dict[str, Callable[[], object]] = {}
    answers = sys.stdout
    sys.stdout = sys.stderr  # What a row prints must not get between the answers.
    for line in sys.stdin:
        question: dict[str, Any] = json.loads(line)
        answer: dict[str, float] = {}
        if "prepare" in question:
            timed = rows[question["prepare"]].prepare(side)
            if timed is None:
                answer["loops"] = 0
            else:
                prepared[question["prepare"]] = timed
                answer["loops"] = loops_for(timed, question["seconds"])
        elif "time" in question:
            answer["seconds"] = seconds_of(prepared[question["time"]], question["loops"])
        else:
            prepared.pop(question["drop"], None)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    # `harness` must be one module, whether run or imported by the files with the rows in them.
    sys.modules["harness"] = sys.modules["__main__"]
    serve(Side(sys.argv[1], json.loads(sys.argv[2]), Path(sys.argv[3])))
