"""The command demo: it plays an observation into memory, and shows it and other snapshots with the commands."""

from __future__ import annotations

import math
import os
import random
import shlex
import tempfile
import textwrap
from collections.abc import Iterable, Sequence
from contextlib import chdir, nullcontext

import click

from telstate._open import open_store
from telstate._pickles import find_pickles
from telstate.cli import _look, _sensors
from telstate.cli._store import StoreArgument, complete_store
from telstate.overview import KeySummary, summarise
from telstate.telescope_state import TelescopeState
from telstate_backends import TelstateError
from telstate_rdb import RdbError
from telstate_rdb.cli.group import FAILED, YES, describe_os_error, print_message
from telstate_rdb.cli.output import Output, force_option, print_to, refuse_existing
from telstate_rdb.printable import escape_path

ANTENNAS = ["m000", "m001", "m002", "m003"]
CHANNELS = 256
START = 1_600_000_000.0
# Seconds in all, for each target, of these until the antennas are there, and from sample to sample.
DURATION, SCAN, SLEW, PERIOD = 900, 100, 24, 4
# Name, right ascension, declination, purpose, and azimuth and elevation at the start, in degrees.
TARGETS = [
    ("J1939-6342", 294.854, -63.713, "bandpass calibrator", 152.0, 38.0),
    ("J0408-6545", 62.085, -65.753, "gain calibrator", 196.0, 45.0),
    ("NGC 641", 24.64, -42.51, "target", 211.0, 61.0),
]
ROWS = 8  # of the samples of a sensor
LINES = 50  # of the tree of keys


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE]...", shell_complete=complete_store)
@click.option(
    "-o",
    "--output",
    "kept",
    type=click.Path(dir_okay=False),
    help="Keep the observation in a file.",
)
@force_option
@print_to
def demo(files: Sequence[str], kept: str | None, force: bool, output: Output) -> int:
    """Show the commands with an observation that is played for it.

    No server and no network are needed. The observation lasts for fifteen minutes, and has four antennas.

    \b
    Examples:
      telstate demo
      telstate demo -o demo.rdb
      telstate demo observation.rdb
    """
    if kept is not None:
        refuse_existing(kept, force)
    played = TelescopeState()
    observe(played)
    is_same = True
    with tempfile.TemporaryDirectory(prefix="telstate-") as folder:
        path = kept or os.path.join(folder, "demo.rdb")
        count = played.save(path)
        with open_store(path) as again:
            is_same = all(
                played.get(key, return_encoded=True) == again.get(key, return_encoded=True)
                for key in played.keys()
            )
        print_line(
            output,
            f"An observation of {DURATION / 60:.0f} minutes was played into memory, and its {count} keys were "
            f"saved. What was loaded again is {'' if is_same else 'NOT '}the same.",
        )
        with chdir(folder) if kept is None else nullcontext():
            show(kept or "demo.rdb", output)
    is_shown = [try_to_show(file, output) for file in files]
    if kept is None:
        print_line(output)
        print_line(
            output, "To keep this observation, for other commands: telstate demo -o demo.rdb"
        )
    return YES if is_same and all(is_shown) else FAILED


def try_to_show(file: str, output: Output) -> bool:
    """Show a snapshot, or print why that fails; return whether it was shown."""
    try:
        show(file, output)
    except OSError as error:
        print_message(describe_os_error(error))
        return False
    except (TelstateError, RdbError, click.ClickException) as error:
        print_message(str(error))
        return False
    return True


def show(file: str, output: Output) -> None:
    """Show a snapshot with the commands, and say what it takes to read its pickles."""
    with StoreArgument(file).open() as opened:
        keys = summarise(opened.ts)
        pickled = find_pickles(opened.ts)
    run(_look.info, [file], output)
    run(_look.ls, [file, "--tree", "--limit", str(LINES)], output)
    unread = {key.name for key in pickled}
    sensor = choose_sensor([key for key in keys if key.name not in unread])
    if sensor is not None:
        run(_sensors.range_, [file, sensor, "--last", str(ROWS)], output)
    if pickled:
        plain = sum(not key.refused for key in pickled)
        print_line(output)
        print_line(
            output,
            f"{len(pickled)} of these keys hold pickles. They can run code, so they are not read by default; "
            f"{plain} of them hold plain data only, which --allow-pickle safe reads, with every command. "
            f"To list them: telstate pickles {escape_path(shlex.quote(file))}",
        )


def run(command: click.Command, arguments: Sequence[str], output: Output) -> None:
    """Print a command, and run it."""
    shown = shlex.join([f"{command.name}", *arguments])
    print_line(output)
    print_line(output, f"$ telstate {escape_path(shown)}")
    output.flush()
    # Not `command.main`, which prints an empty line for Ctrl-C.
    with command.make_context(command.name, list(arguments)) as context:
        command.invoke(context)


def choose_sensor(keys: Iterable[KeySummary]) -> str | None:
    """Return the name of the sensor with the most samples, among those with valid times."""
    sensors = [key for key in keys if math.isfinite((key.first or 0) + (key.last or 0))]
    most = max(sensors, key=lambda key: key.count if key.last else 0, default=None)
    return None if most is None or most.last is None else most.name


def print_line(output: Output, text: str = "") -> None:
    """Print a line, and fold it on a terminal."""
    lines = textwrap.wrap(text, output.width) if output.is_terminal else []
    output.write("\n".join(lines or [text]) + "\n")


# ------------------------------------------------------------------------------- the observation


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


def point(elapsed: float) -> tuple[float, float, str]:
    """Return azimuth and elevation in degrees, and whether the antennas slew, track a calibrator or scan a target."""
    number, since = divmod(elapsed, SCAN)
    *_, purpose, azimuth, elevation = TARGETS[int(number) % len(TARGETS)]
    *_, last_azimuth, last_elevation = TARGETS[int(number - 1) % len(TARGETS)]
    left = max(0.0, 1 - since / SLEW)
    azimuth += left * (last_azimuth - azimuth) - elapsed / 400
    elevation += left * (last_elevation - elevation) + elapsed / 300
    if left or purpose != "target":
        return azimuth, elevation, "slew" if left else "track"
    row, across = divmod(4 * (since - SLEW) / (SCAN - SLEW), 1)  # four rows to and fro
    return azimuth + 8 * (1 - across if row % 2 else across), elevation + 2 * row, "scan"


def calibrate(ts: TelescopeState, capture_block: str, now: float) -> None:
    """Add calibration solutions, as the calibration pipeline does after observing a calibrator."""
    import numpy  # takes longer to import than the rest of the command

    view = ts.view(capture_block).view(ts.join(capture_block, "cal"))
    phase = numpy.exp(1j * numpy.linspace(0, now - START, len(ANTENNAS)))
    view.add("product_G", numpy.stack([phase, phase.conj()]).astype(numpy.complex64), ts=now)
    flat = numpy.ones((CHANNELS, 2, len(ANTENNAS)), numpy.complex64)
    view.add("product_B0", flat * phase.astype(numpy.complex64), ts=now)


def observe(ts: TelescopeState) -> None:
    """Simulate an observation of fifteen minutes."""
    configure(ts)
    capture_block = str(int(START))
    ts["capture_block_id"] = capture_block
    block = ts.view(capture_block)
    block["obs_params"] = {"observer": "A. Stronomer", "antennas": ANTENNAS, "horizon": 15.0}
    noise = random.Random(START).gauss
    activity = ""
    for elapsed in range(0, DURATION, PERIOD):
        now = START + elapsed
        azimuth, elevation, doing = point(elapsed)
        for antenna in ANTENNAS:
            ts.add(f"{antenna}_pos_actual_scan_azim", round(noise(azimuth, 0.02), 3), ts=now)
            ts.add(f"{antenna}_pos_actual_scan_elev", round(noise(elevation, 0.02), 3), ts=now)
        if doing != activity:
            activity = doing
            for name in ("obs", *ANTENNAS):
                ts.add(f"{name}_activity", activity, ts=now)
        if elapsed % SCAN == 0:
            number = elapsed // SCAN
            name, right_ascension, declination, purpose, *_ = TARGETS[number % len(TARGETS)]
            ts.add("cbf_target", f"{name}, radec, {right_ascension}, {declination}", ts=now)
            block.add("obs_script_log", f"INFO  observing {name} ({purpose})", ts=now)
            for channel in range(0, CHANNELS, 32):
                block.set_indexed("peak_flux", (name, number, channel), 14.9 - channel / 100)
            if "calibrator" in purpose:
                calibrate(ts, capture_block, now)
        if elapsed % 60 == 0:
            ts.add("anc_air_temperature", 21.5 - elapsed / 900, ts=now)
            ts.add("anc_wind_speed", 3 + 2 * math.sin(now / 300), ts=now)
