"""Simulate an observation, save it, load it and a real one, and show their contents.

No server is needed: everything is in memory. Run ``nox -s demo``, or with telstate, click and rich
installed ``python observation.py [FILE.rdb ...]`` with snapshots of your own.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import numpy
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from telstate import KeyType, RDBWriter, TelescopeState, TelstateError
from telstate.overview import key_tree, summarise, time_of

REAL = Path(__file__).parents[1] / "tests" / "data" / "1testdata_sdp_l0.rdb"

ANTENNAS = ["m000", "m001", "m002", "m003"]
CHANNELS = 256
START = 1_600_000_000.0
DURATION = 900.0
# Name, right ascension and declination in degrees, and purpose.
TARGETS = [
    ("J1939-6342", 294.854, -63.713, "bandpass calibrator"),
    ("J0408-6545", 62.085, -65.753, "gain calibrator"),
    ("NGC 641", 24.64, -42.51, "target"),
]


def configure(ts: TelescopeState) -> None:
    """Set the configuration, which is known before the observation starts."""
    ts["sdp_config"] = {
        "inputs": {"camdata": {"type": "cam.http", "url": "http://127.0.0.1:5000/"}},
        "outputs": {"sdp_l0": {"type": "sdp.vis", "output_int_time": 8.0}},
        "version": "3.1",
    }
    ts["sub_band"] = "l"
    ts["sub_pool_resources"] = ",".join(ANTENNAS)
    stream = ts.view("i0_antenna_channelised_voltage", exclusive=True)
    stream["n_chans"] = CHANNELS
    stream["bandwidth"] = 856e6
    stream["center_freq"] = 1284e6
    stream["input_labels"] = [antenna + pol for antenna in ANTENNAS for pol in "hv"]
    for number, antenna in enumerate(ANTENNAS):
        ts[f"{antenna}_observer"] = f"{antenna}, -30:42:39.8, 21:26:38.0, 1086.6, 13.5, {number}.0"
        ts.add(f"{antenna}_activity", "stop", ts=START)


def times(period: float) -> Iterator[float]:
    """Return the times of the samples of a sensor that reports every `period` seconds."""
    return (START + step * period for step in range(int(DURATION / period)))


def point(ts: TelescopeState, antenna: str, now: float) -> None:
    """Add the pointing of an antenna."""
    angle = 2 * math.pi * (now - START) / 86164.1
    ts.add(f"{antenna}_pos_actual_scan_azim", 120.0 + math.degrees(angle), ts=now)
    ts.add(f"{antenna}_pos_actual_scan_elev", 45.0 + 10 * math.sin(angle * 4), ts=now)


def calibrate(ts: TelescopeState, capture_block: str, now: float) -> None:
    """Add calibration solutions, as the calibration pipeline does after observing a calibrator."""
    view = ts.view(capture_block).view(ts.join(capture_block, "cal"))
    phase = numpy.exp(1j * numpy.linspace(0, now - START, len(ANTENNAS)))
    view.add("product_G", numpy.stack([phase, phase.conj()]).astype(numpy.complex64), ts=now)
    flat = numpy.ones((CHANNELS, 2, len(ANTENNAS)), numpy.complex64)
    view.add("product_B0", flat * phase.astype(numpy.complex64), ts=now)


def observe(ts: TelescopeState, progress: Progress) -> None:
    """Simulate an observation of fifteen minutes."""
    configure(ts)
    capture_block = str(int(START))
    ts["capture_block_id"] = capture_block
    block = ts.view(capture_block)
    block["obs_params"] = {"observer": "A. Stronomer", "antennas": ANTENNAS, "horizon": 15.0}
    seconds = progress.add_task("observing", total=DURATION)
    scan = DURATION / 9
    previous = None
    for now in times(4.0):
        for antenna in ANTENNAS:
            point(ts, antenna, now)
        number = int((now - START) / scan)
        if number != previous:
            name, right_ascension, declination, purpose = TARGETS[number % len(TARGETS)]
            ts.add("cbf_target", f"{name}, radec, {right_ascension}, {declination}", ts=now)
            ts.add("obs_activity", "track", ts=now)
            block.add("obs_script_log", f"INFO  tracking {name} ({purpose})", ts=now)
            for channel in range(0, CHANNELS, 32):
                block.set_indexed("peak_flux", (name, number, channel), 14.9 - channel / 100)
            if "calibrator" in purpose:
                calibrate(ts, capture_block, now)
            previous = number
        if int(now - START) % 60 == 0:
            ts.add("anc_air_temperature", 21.5 - (now - START) / 900, ts=now)
            ts.add("anc_wind_speed", 3 + 2 * math.sin(now / 300), ts=now)
        progress.update(seconds, completed=now + 4.0 - START)


def save(ts: TelescopeState, path: Path, progress: Progress) -> None:
    """Save a telescope state."""
    total = len(ts.keys())
    task = progress.add_task(f"saving {path.name}", total=total)
    with RDBWriter(path) as writer:
        writer.save(ts, progress=lambda written: progress.update(task, completed=written))


def load(path: Path, progress: Progress) -> TelescopeState:
    """Load a snapshot into a new store."""
    ts = TelescopeState()
    with progress.open(path, "rb", description=f"loading {path.name}") as file:
        ts.load_from_file(file)
    return ts


def show_range(ts: TelescopeState, console: Console, width: int = 8) -> None:
    """Show the last tenth of the samples of the sensor that has the most."""
    sensors = [key for key in summarise(ts) if math.isfinite((key.first or 0) + (key.last or 0))]
    sensor = max(sensors, key=lambda key: key.count if key.last else 0, default=None)
    if sensor is None or sensor.first is None or sensor.last is None:
        return
    start = sensor.last - (sensor.last - sensor.first) / 10
    samples = ts.get_range(sensor.name, st=start, include_previous=True, et=math.inf)
    title = f"{sensor.name} from {time_of(start)}, and the sample before:"
    console.print(title, highlight=False)
    table = Table()
    table.add_column("time (UTC)", no_wrap=True)
    table.add_column("value", no_wrap=True)
    room = console.width - 26  # the time and the lines of the table
    for value, timestamp in samples[:width]:
        table.add_row(time_of(timestamp), Text(str(value)[:room]))
    console.print(table)
    if len(samples) > width:
        console.print(f"and {len(samples) - width} more samples", highlight=False)


def show(path: Path, ts: TelescopeState, console: Console) -> None:
    """Show the contents of a snapshot."""
    keys = summarise(ts)
    samples = sum(key.count for key in keys if key.kind is KeyType.MUTABLE)
    title = f"{path.name}: {len(keys)} keys, {samples} samples, {os.path.getsize(path)} bytes"
    console.print(key_tree(keys, title), no_wrap=True, overflow="ellipsis", crop=True)
    show_range(ts, console)
    console.print()


@click.command()
@click.argument("snapshots", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(snapshots: tuple[Path, ...]) -> None:
    """Simulate an observation, save it, load it and SNAPSHOTS (default: a real one), show them."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)  # a file or a pipe has no width
    with tempfile.TemporaryDirectory(prefix="telstate-") as folder:
        played = Path(folder) / "observation.rdb"
        loaded = []
        with Progress(console=console) as progress:
            ts = TelescopeState()
            observe(ts, progress)
            save(ts, played, progress)
            for path in (played, *(snapshots or (REAL,))):
                try:
                    loaded.append((path, load(path, progress)))
                except TelstateError as error:
                    raise click.ClickException(str(error)) from error
        for path, again in loaded:
            try:
                show(path, again, console)
            except TelstateError as error:
                raise click.ClickException(f"{path}: {error}") from error
        same = all(
            loaded[0][1].get(key, return_encoded=True) == ts.get(key, return_encoded=True)
            for key in ts.keys()
        )
        console.print(
            f"What was saved and loaded again is {'the same' if same else 'NOT the same'}."
        )


if __name__ == "__main__":
    main()
