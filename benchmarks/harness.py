"""What a benchmark row is, and how one is timed; imported in both environments.

A row is a function of a `Side` that prepares everything and returns the callable to time, for our
packages or for the peer (katsdptelstate). If a side lacks the feature, it returns a text that says so::

    from harness import Side, Timed, row

    @row("encode a NumPy scalar", at_least=5)
    def encode_scalar(side: Side) -> Timed:
        value = numpy.float64(1.5)
        if side.is_ours:
            from telstate_codec import encode_value
        else:
            from katsdptelstate.encoding import encode_value
        return lambda: encode_value(value)

`growth` defines a row for each of several sizes, and the report fits an exponent to their times. A row
that measures something else than the time of the whole call returns `Measured`; it can count things
(connections, round trips) beside it.

Rows are defined in files named ``rows_*.py`` beside this one. At the top of such a file only the standard
library and NumPy may be imported, because it is loaded in both environments.
"""

from __future__ import annotations

import gc
import importlib
import json
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Measurement:
    """What one call of a row measured: a value in the unit of the row, and counts by name."""

    value: float
    counts: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """A callable that measures something itself, for rows where not the whole call is timed."""

    measure: Callable[[], Measurement]

    def __call__(self) -> Measurement:
        return self.measure()


#: What a row prepares: a callable, or a text that says why this side has none.
Timed = Callable[[], object] | Measured | str


class NoServerError(Exception):
    """A row needs a server, and there is none."""


@dataclass(frozen=True)
class Side:
    """The packages that a row times.

    Attributes
    ----------
    name
        ``'ours'`` or ``'peer'``.
    settings
        ``test_data`` (a folder with a real snapshot), ``shared`` (a folder that both sides use; ours
        prepares first), ``redis_url`` (a server for this side only, if there is one) and ``quick``
        (whether rows should be small; empty if not).
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

    @property
    def redis_url(self) -> str:
        """The URL of the server of this side."""
        if "redis_url" not in self.settings:
            raise NoServerError("no server")
        return self.settings["redis_url"]

    @property
    def package(self) -> str:
        """The name of the package of this side."""
        return "telstate" if self.is_ours else "katsdptelstate"

    @property
    def is_quick(self) -> bool:
        """Whether the run only shows that every row works."""
        return bool(self.settings["quick"])


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes
    ----------
    title
        What is compared; unique.
    at_least
        The required ratio to the peer's speed, if there is one.
    prepare
        Returns what to time.
    unit
        ``'s'``, or ``'B'`` for bytes of memory.
    rounds
        The most rounds, of one call each, for rows that take long; None: as many as are asked for.
    group, size
        For the rows of a `growth`: their common title, and the size.
    is_quick
        Whether the row is part of quick runs.
    """

    title: str
    at_least: float | None
    prepare: Callable[[Side], Timed] = field(repr=False)
    unit: str = "s"
    rounds: int | None = None
    group: str = ""
    size: int = 0
    is_quick: bool = True


REGISTRY: dict[str, Row] = {}


def add_row(new: Row) -> None:
    """Register a row."""
    if new.title in REGISTRY:
        raise ValueError(f"There are two rows with the title {new.title!r}. Rename one.")
    REGISTRY[new.title] = new


def row(
    title: str, *, at_least: float | None = None, unit: str = "s", rounds: int | None = None
) -> Callable[[Callable[[Side], Timed]], Callable[[Side], Timed]]:
    """Register a row; the arguments are attributes of `Row`."""

    def register(prepare: Callable[[Side], Timed]) -> Callable[[Side], Timed]:
        add_row(Row(title, at_least, prepare, unit, rounds))
        return prepare

    return register


def growth(
    title: str,
    sizes: Sequence[int],
    *,
    quick_up_to: int | None = None,
    at_least: float | None = None,
    unit: str = "s",
    rounds: int | None = None,
) -> Callable[[Callable[[Side, int], Timed]], Callable[[Side, int], Timed]]:
    """Register a row for each size; quick runs have those up to `quick_up_to` (default: the first two)."""

    def register(prepare: Callable[[Side, int], Timed]) -> Callable[[Side, int], Timed]:
        largest = sizes[:2][-1] if quick_up_to is None else quick_up_to
        for size in sizes:

            def prepare_size(side: Side, size: int = size) -> Timed:
                return prepare(side, size)

            add_row(
                Row(
                    f"{title}: {size:,}",
                    at_least,
                    prepare_size,
                    unit,
                    rounds,
                    title,
                    size,
                    size <= largest,
                )
            )
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


def measure(timed: Callable[[], object], loops: int) -> Measurement:
    """Measure the mean of `loops` calls, less the time of as many calls of an empty function.

    Otherwise the ratio of two calls of some 100 ns would be too close to 1.
    """
    if isinstance(timed, Measured):
        all_measured = [timed() for _ in range(loops)]
        mean = sum(each.value for each in all_measured) / loops
        return Measurement(mean, all_measured[-1].counts)
    taken = _loop(timed, loops)
    net = max(taken - _loop(lambda: None, loops), taken / 10) if loops > 100 else taken
    return Measurement(net / loops)


def loops_for(timed: Callable[[], object], seconds: float) -> int:
    """Return how many calls take about `seconds`; finding out also warms everything up."""
    start = time.perf_counter()
    timed()
    if time.perf_counter() - start >= seconds:
        return 1
    loops = 1
    while True:
        start = time.perf_counter()
        measured = measure(timed, loops)
        # Of what measures something itself, all of the call counts, but not collecting garbage.
        whole = time.perf_counter() - start
        taken = whole if isinstance(timed, Measured) else measured.value * loops
        if taken >= seconds / 4:
            return max(1, round(loops * seconds / taken))
        loops *= 4 if taken > 0.001 else 16


def serve(side: Side) -> None:
    """Answer the requests of `run.py` over standard input and output, one JSON object a line.

    ``{"prepare": title, "seconds": s}`` is answered by ``{"loops": n}`` or ``{"lacks": why}``,
    ``{"time": title, "loops": n}`` by ``{"value": mean of the loops, "counts": {...}}``, and
    ``{"drop": title}`` by ``{}``; it discards what was prepared. What fails is answered by
    ``{"error": text}``.
    """
    rows = load_rows()
    prepared: dict[str, Callable[[], object]] = {}

    def answer_to(request: dict[str, Any]) -> dict[str, Any]:
        if "prepare" in request:
            wanted = rows[request["prepare"]]
            timed = wanted.prepare(side)
            if isinstance(timed, str):
                return {"lacks": timed}
            prepared[wanted.title] = timed
            return {"loops": 1 if wanted.rounds else loops_for(timed, request["seconds"])}
        if "time" in request:
            measured = measure(prepared[request["time"]], request["loops"])
            return {"value": measured.value, "counts": measured.counts}
        prepared.pop(request["drop"], None)
        gc.collect()
        return {}

    answers = sys.stdout
    sys.stdout = sys.stderr  # Output of a row must not mix with the answers.
    for line in sys.stdin:
        try:
            answer = answer_to(json.loads(line))
        except NoServerError as error:
            answer = {"lacks": str(error)}
        except Exception as error:
            traceback.print_exc()
            answer = {"error": repr(error)}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    # The files with rows import `harness`; that must be this module, not a second copy.
    sys.modules["harness"] = sys.modules["__main__"]
    serve(Side(sys.argv[1], json.loads(sys.argv[2]), Path(sys.argv[3])))
