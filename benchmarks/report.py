"""Format the results of `run.py`: lines for a terminal, and tables and a picture for the documentation.

Usage: ``python report.py FOLDER`` makes ``speed*.md`` and ``speed.svg`` of ``speed.json`` (of `run.py`),
and ``fleet-tables.md`` of ``fleet.json`` (of `fleet.py`); the documentation includes them.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any, TypeAlias

#: The results of a row, as in the JSON file.
Result: TypeAlias = dict[str, Any]

UNITS = {
    "s": [("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)],
    "B": [("MB", 1e6), ("kB", 1e3), ("B", 1.0)],
}
#: Above this, an exponent counts as worse than linear.
LINEAR = 1.1


def quantity(value: float | None, unit: str) -> str:
    """Format a value with a suitable unit."""
    if value is None:
        return "-"
    for name, size in UNITS[unit]:
        if value >= size or (name, size) == UNITS[unit][-1]:
            break
    number = value / size
    return f"{number:.0f} {name}" if number >= 100 else f"{number:.3g} {name}"


def counts_of(result: Result, side: str) -> str:
    """Return what was counted beside the time, such as ``5 round trips``."""
    counts: dict[str, float] = result[f"{side}_counts"]
    return ", ".join(
        f"{count:g} {name.removesuffix('s') if count == 1 else name}"
        for name, count in counts.items()
        if count
    )


def ratio_of(result: Result) -> str:
    """Format the ratio."""
    ratio = result["ratio"]
    return "-" if ratio is None else f"{ratio:.0f}" if ratio >= 100 else f"{ratio:.2f}"


def title_line() -> str:
    """Return the head of the table on a terminal."""
    return f"{'row':<62}  {'ours':>8} {'':>5}  {'peer':>8} {'':>5}  {'ratio':>6}  {'min':>5}"


def line_of(result: Result) -> str:
    """Format one line of the table on a terminal."""
    columns = [f"{result['row']:<62}"]
    for side in ("ours", "peer"):
        width = result[f"{side}_spread"]
        value = quantity(result[side], result["unit"])
        columns.append(f"{value:>8} {'' if width is None else f'±{width:.0%}':>5}")
    at_least = result["at_least"]
    columns.append(f"{ratio_of(result):>6}")
    columns.append("    -" if at_least is None else f"{at_least:>5g}")
    if result["ratio"] is not None and at_least is not None:
        columns.append("met" if result["ratio"] >= at_least else "MISSED")
    columns += [result["peer_lacks"]] if result["peer_lacks"] else []
    columns += [f"({counted})" for side in ("ours", "peer") if (counted := counts_of(result, side))]
    return "  ".join(columns).rstrip()


def exponent(points: Sequence[tuple[float, float]]) -> float | None:
    """Fit time = factor * size ** exponent by least squares of the logarithms."""
    if len(points) < 3:
        return None
    xs, ys = ([math.log(value) for value in axis] for axis in zip(*points))
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys)) / sum((a - x) ** 2 for a in xs)


def growths(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Return the results by the title of their growth, smallest size first."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        if "group" in result:
            groups.setdefault(result["group"], []).append(result)
    return groups


def exponents(group: Iterable[Result]) -> dict[str, float | None]:
    """Return the exponent of each side over all sizes, and over the last step ("ours at the end")."""
    found: dict[str, float | None] = {}
    for side in ("ours", "peer"):
        points = [(each["size"], each[side]) for each in group if each[side]]
        found[side] = exponent(points)
        if len(points) >= 2:
            (x0, y0), (x1, y1) = points[-2:]
            found[f"{side} at the end"] = math.log(y1 / y0) / math.log(x1 / x0)
    return found


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table whose first column is text and whose others are numbers."""
    rule = ["---", *("--:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *lines])


def side_cell(result: Result, side: str) -> str:
    """Format the value of a side and what was counted."""
    if result[side] is None:
        return str(result[f"{side}_lacks"])
    counted = counts_of(result, side)
    return quantity(result[side], result["unit"]) + (f" ({counted})" if counted else "")


def rows_table(results: Iterable[Result]) -> str:
    """Return the table of some rows."""
    lines = [
        [each["row"], side_cell(each, "ours"), side_cell(each, "peer"), ratio_of(each)]
        for each in results
    ]
    return table(["", "telstate", "katsdptelstate", "ratio"], lines)


def number(value: float | None) -> str:
    """Format an exponent."""
    return "-" if value is None else f"{value:.2f}"


def growth_table(results: Iterable[Result]) -> str:
    """Return the table of exponents."""
    lines = []
    for title, group in growths(results).items():
        found = exponents(group)
        first, last = group[0], group[-1]
        peaks = [(each["size"], each["ours_counts"].get("MB at most")) for each in group]
        lines.append(
            [
                title,
                f"{first['size']:,} to {last['size']:,}",
                f"{quantity(first['ours'], first['unit'])} to {quantity(last['ours'], last['unit'])}",
                number(found["ours"]),
                number(found.get("ours at the end")),
                number(exponent(peaks) if all(peak for _, peak in peaks) else None),
                number(found["peer"]),
            ]
        )
    head = [
        "",
        "sizes",
        "telstate",
        "exponent",
        "of the last step",
        "of peak memory",
        "katsdptelstate",
    ]
    return table(head, lines)


#: The rows that make up a strip of the picture and a section of the tables, by how their titles begin.
SECTIONS: list[tuple[str, str | tuple[str, ...]]] = [
    ("Encoding values", "codec: encode"),
    ("Decoding values", "codec: decode"),
    ("In memory", "memory"),
    ("On a Redis server", "redis:"),
    ("On a Redis server, asyncio", "redis, asyncio:"),
    ("On a network", "network"),
    ("Reading and writing RDB files", "rdb"),
    ("Snapshots and large files", ("snapshot", "files")),
    ("Import", "import"),
]


def section(results: Iterable[Result], start: str | tuple[str, ...]) -> list[Result]:
    """Return the rows of a section."""
    return [each for each in results if each["row"].startswith(start)]


def about(report: dict[str, Any]) -> str:
    """Return a paragraph about when and where the results were measured."""
    ours, peer, host = report["ours"], report["peer"], report["machine"]
    packages = ["telstate-codec", "telstate-rdb", "telstate-backends", "telstate"]
    own = ", ".join(f"{name} {ours[name]}" for name in packages)
    others = ", ".join(
        f"{name} {peer[name]}"
        for name in ("katsdptelstate", "rdbtools", "python-lzf")
        if name in peer
    )
    return (
        f"Measured on {report['date']}: {own}; {others}; on both sides Python {report['python']}, "
        f"NumPy {ours['numpy']}, redis-py {ours['redis']} and {report['server']}. "
        f"{host['processor']}, {host['cores']} cores, {host['memory'] / 2**30:.0f} GiB of memory, "
        f"{host['system']}. Each number is the median of up to {report['rounds']} interleaved rounds. "
        f"{report['conditions']}"
    )


def summary(report: dict[str, Any]) -> str:
    """Return the Markdown of what is slower and of what grows."""
    results: list[Result] = report["results"]
    slower = [each for each in results if each["ratio"] is not None and each["ratio"] < 1]
    faster = [each for each in results if each["ratio"] is not None and each["ratio"] >= 1]
    parts = [
        about(report),
        f"Of {len(slower) + len(faster)} rows that both can do, telstate is slower in {len(slower)}.",
        "## Slower than katsdptelstate",
        rows_table(sorted(slower, key=lambda each: float(each["ratio"]))),
        "## Growth",
        "The time is proportional to the size to the power of the exponent: 1 is linear, 2 is quadratic.",
        growth_table(results),
    ]
    return "\n\n".join(parts) + "\n"


def tables(report: dict[str, Any]) -> str:
    """Return the Markdown of all rows, by section."""
    parts = []
    for title, start in SECTIONS:
        if found := section(report["results"], start):
            parts += [f"### {title}", rows_table(found)]
    return "\n\n".join(parts) + "\n"


WIDTH, LEFT, RIGHT, TOP, STRIP = 760, 220, 28, 42, 30
LIMITS = (0.1, 1000.0)


def picture(report: dict[str, Any]) -> str:
    """Draw the ratios of all rows, a strip of dots for each section, in the colours of the page."""
    low, high = (math.log10(limit) for limit in LIMITS)

    def x_of(ratio: float) -> float:
        place = (math.log10(min(max(ratio, LIMITS[0]), LIMITS[1])) - low) / (high - low)
        return LEFT + place * (WIDTH - LEFT - RIGHT)

    height = TOP + STRIP * len(SECTIONS) + 44
    bottom = TOP + STRIP * len(SECTIONS)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'font-family="sans-serif" font-size="13" fill="currentColor">',
        "<title>Speed of telstate as a multiple of that of katsdptelstate, by kind of call</title>",
    ]
    for tick in (0.1, 1, 10, 100, 1000):
        x, width = x_of(tick), 2 if tick == 1 else 0.6
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 12}" y2="{bottom}" stroke="currentColor" '
            f'stroke-width="{width}" opacity="0.55"/>'
            f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{"≤ " if tick == LIMITS[0] else ""}{tick:g}×</text>'
        )
    middle = x_of(1)
    parts += [
        f'<text x="{middle - 8:.1f}" y="18" text-anchor="end">slower</text>',
        f'<text x="{middle + 8:.1f}" y="18">faster than katsdptelstate</text>',
    ]
    for index, (title, start) in enumerate(SECTIONS):
        y = TOP + STRIP * (index + 0.5)
        parts.append(f'<text x="{LEFT - 14}" y="{y + 4:.1f}" text-anchor="end">{title}</text>')
        for number, each in enumerate(section(report["results"], start)):
            if each["ratio"] is None:
                continue
            colour = "#1b9e9e" if each["ratio"] >= 1 else "#d9622b"
            shift = (number % 5 - 2) * 3.5
            parts.append(
                f'<circle cx="{x_of(each["ratio"]):.1f}" cy="{y + shift:.1f}" r="3.6" fill="{colour}" '
                f'fill-opacity="0.8"><title>{escape(each["row"])}: {ratio_of(each)}</title></circle>'
            )
    return "\n".join([*parts, "</svg>", ""])


def milliseconds(values: dict[str, float]) -> str:
    """Format the median and the 99th percentile of some times."""
    if not values["count"]:
        return "-"
    return " / ".join(unbroken(quantity(values[name], "s")) for name in ("p50", "p99"))


def unbroken(text: str) -> str:
    """Keep a text on one line."""
    return text.replace(" ", "\u00a0")


def fleet_tables(report: dict[str, Any]) -> str:
    """Return the Markdown of a simulated fleet."""
    rates, times, memory = [], [], []
    errors = 0
    for store in ("one server", "cluster"):
        for phase in report[store]["phases"]:
            name = f"{store},\u00a0{phase['speed']:g}\u00a0×"
            numbers = [f"{phase[f'{what} per second']:,.0f}" for what in ("writes", "deliveries")]
            late = unbroken(quantity(phase["late"].get("p99"), "s"))
            doubled = f"{phase['lost']} / {phase['doubled']}"
            rates.append([name, *numbers, late, doubled, f"{phase['cores of servers']:.2f}"])
            kinds = ("writes", "reads", "waits", "deliveries")
            times.append([name, *(milliseconds(phase[kind]) for kind in kinds)])
            errors += sum(phase["errors"].values())
        sizes = [report[store][f"bytes for each {who}"] for who in ("process", "asyncio client")]
        memory.append([store, *(quantity(size, "B") for size in sizes)])
    host, clients = report["machine"], report["clients"]
    parts = [
        f"Measured on {report['date']} with telstate {report['ours']['telstate']} and "
        f"{report['server']}, all on one machine: {host['processor']}, {host['cores']} cores. "
        f"{report['antennas']} processes write; of the asyncio clients {clients['read']} read, "
        f"{clients['wait']} wait and {clients['watch']} watch. Each phase took "
        f"{report['seconds']:g} s. {report['conditions']}",
        table(["", "writes/s", "updates/s", "late", "lost / doubled", "processors"], rates),
        "A write is *late* by the time from when it was due to when it began; the 99th percentile is shown. "
        "The last column is what the servers used. In all phases together, calls failed "
        f"{errors} times. Medians and 99th percentiles of how long calls took, and of how old updates were "
        "when they arrived at a wait or a watch:",
        table(["", "write", "read", "wait", "watch"], times),
        table(["private memory", "each process", "each asyncio client"], memory),
    ]
    return "\n\n".join(parts) + "\n"


def documents(folder: Path) -> dict[str, str]:
    """Return what belongs beside the results in a folder: the contents by file name."""
    speed = json.loads((folder / "speed.json").read_text())
    fleet = json.loads((folder / "fleet.json").read_text())
    return {
        "speed-summary.md": summary(speed),
        "speed-tables.md": tables(speed),
        "speed.svg": picture(speed),
        "fleet-tables.md": fleet_tables(fleet),
    }


def main() -> None:
    """Write the tables and the picture."""
    folder = Path(sys.argv[1])
    for name, content in documents(folder).items():
        (folder / name).write_text(content)


if __name__ == "__main__":
    main()
