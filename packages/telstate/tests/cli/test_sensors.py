"""The commands about samples: range, watch and wait."""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from state_command import COMMAND, run, run_on_terminal

from telstate import TelescopeState
from telstate_backends import Load, Samples
from telstate_codec import encode_sample

START = 1_600_000_000.0
"""2020-09-13T12:26:40Z."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A snapshot with sensors of several kinds of values."""
    ts = TelescopeState()
    ts["n_chans"] = 4096
    for step in range(4):
        ts.add("m000_azim", 10.5 + step, ts=START + 2 * step)
        ts.add("m001_azim", -float(step), ts=START + 3 * step)
    ts.add("target", "J1939-6342, radec\x1b[2J", ts=START)
    ts.add("gains", np.array([1.5 + 2j]), ts=START)
    path = tmp_path / "observation.rdb"
    ts.save(path)
    return path


@pytest.fixture
def live(newest_port: int) -> Iterator[tuple[str, TelescopeState]]:
    """The address of a server, and a telescope state on it."""
    address = f"127.0.0.1:{newest_port}"
    with TelescopeState(address) as ts:
        yield address, ts


# ------------------------------------------------------------------------------------------ range


def test_all_samples(path: Path) -> None:
    """Without a range, all samples of a sensor are printed, tab-separated in a pipe."""
    result = run("range", path, "m000_azim")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "2020-09-13T12:26:40Z\t10.5",
        "2020-09-13T12:26:42Z\t11.5",
        "2020-09-13T12:26:44Z\t12.5",
        "2020-09-13T12:26:46Z\t13.5",
    ]


@pytest.mark.parametrize(
    "options",
    [
        ("--start", "2020-09-13T12:26:44"),
        ("--start", "2020-09-13 14:26:44+02:00"),
        ("--start", "1600000004"),
        ("--start", "-2s"),
        ("--start", "-0.03333333333333333m", "--end", "1600000100"),
        ("--last", "2"),
    ],
)
def test_a_range(path: Path, options: tuple[str, ...]) -> None:
    """Times are ISO 8601, seconds, or before the last sample."""
    result = run("range", path, "m000_azim", "--unix", *options)
    assert result.stdout.splitlines() == ["1600000004.0\t12.5", "1600000006.0\t13.5"]


def test_the_end_is_not_included(path: Path) -> None:
    """The range ends before --end."""
    result = run("range", path, "m000_azim", "--unix", "--end", "1600000002")
    assert result.stdout.splitlines() == ["1600000000.0\t10.5"]


def test_joined_sensors(path: Path) -> None:
    """Several sensors, also those that a glob selects, are joined on time."""
    result = run("range", path, "m00?_azim", "--unix", "--csv", "--end", "1600000004")
    assert result.stdout.splitlines() == [
        "time,m000_azim,m001_azim",
        "1600000000.0,10.5,-0.0",
        "1600000002.0,11.5,",
        "1600000003.0,,-1.0",
    ]


def test_filled_sensors(path: Path) -> None:
    """With --fill, values last until the next sample, also that of the last one before the start."""
    options = ("--unix", "--fill", "--start", "1600000004", "--end", "1600000008")
    result = run("range", path, "m000_azim", "m001_azim", *options)
    assert result.stdout.splitlines() == [
        "1600000004.0\t12.5\t-1.0",
        "1600000006.0\t13.5\t-2.0",
    ]


def test_a_filled_sensor(path: Path) -> None:
    """The value before the start is at the start, unless there is a sample at that time."""
    options = ("m000_azim", "--unix", "--fill", "--end", "1600000004")
    before = run("range", path, *options, "--start", "1600000001")
    assert before.stdout.splitlines() == ["1600000001.0\t10.5", "1600000002.0\t11.5"]
    at_start = run("range", path, *options, "--start", "1600000002")
    assert at_start.stdout.splitlines() == ["1600000002.0\t11.5"]


def test_names_in_json(tmp_path: Path) -> None:
    """Names that look alike when they are printed are different names in JSON."""
    ts = TelescopeState()
    names: list[str | bytes] = [r"\xff", b"\xff", "line\n"]
    for name in names:
        ts.add(name, 1, ts=START)
    ts.save(tmp_path / "names.rdb")
    result = run("range", tmp_path / "names.rdb", "*", "--json")
    assert set(json.loads(result.stdout)) == {"time", r"\xff", "\udcff", "line\n"}
    header = run("range", tmp_path / "names.rdb", "*", "--csv").stdout.splitlines()[0]
    assert header == r"time,\xff,line\n,\xff"


def test_unreadable_samples(tmp_path: Path) -> None:
    """The error names the key and the reason; for a pickle, the option that may read it."""
    ts = TelescopeState()
    pickled = encode_sample(START, pickle.dumps([1.5], protocol=0))
    ts.backend.execute(Load(b"gain", Samples([pickled])))
    ts.save(tmp_path / "old.rdb")
    result = run("range", tmp_path / "old.rdb", "gain")
    assert result.exit_code == 2
    assert "'gain'" in result.stderr and "--allow-pickle safe" in result.stderr
    ts.backend.execute(Load(b"short", Samples([b"abc"])))
    ts.save(tmp_path / "short.rdb")
    assert "it has 3 in all" in run("range", tmp_path / "short.rdb", "short").stderr


def test_range_to_a_file(path: Path, tmp_path: Path) -> None:
    """With -o it writes CSV, and does not overwrite unless --force is given."""
    out = tmp_path / "azimuth.csv"
    arguments = ("range", path, "m000_azim", "--unix", "--last", "1", "-o", out)
    assert run(*arguments).exit_code == 0
    assert out.read_text() == "time,value\n1600000006.0,13.5\n"
    refused = run(*arguments)
    assert refused.exit_code == 2 and "--force" in refused.stderr
    assert run(*arguments, "--force").exit_code == 0


def test_json(path: Path) -> None:
    """JSON lines hold times and values in the text form."""
    result = run("range", path, "gains", "target", "--json")
    (row,) = map(json.loads, result.stdout.splitlines())
    assert row["time"] == "2020-09-13T12:26:40Z"
    assert row["target"] == "J1939-6342, radec\x1b[2J"
    assert row["gains"]["$array"]["dtype"] == "<c16"


def test_range_on_a_terminal(path: Path) -> None:
    """A terminal gets a table of its width, and nothing that controls it."""
    status, text = run_on_terminal("range", path, "gains", "target", columns=80)
    assert status == 0
    assert "\x1b[2J" not in text and r"\x1b[2J" in text
    assert max(map(len, text.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("m000_azmi",), 1, "m000_azmi"),
        (("nothing_*",), 1, "nothing_*"),
        (("n_chans",), 2, "n_chans"),
        (("m000_azim", "--start", "2", "--end", "1"), 2, "The range is empty"),
        (("m000_azim", "--start", "yesterday"), 2, "'yesterday' is not a time"),
        (("m000_azim", "--start", "-10"), 2, "'-10' is not a time"),
        (("m000_azim", "--end", "inf"), 2, "'inf' is not a time"),
        (("m000_azim", "--start", "2025-01-01"), 0, "There are no samples in this range."),
        (("m000_azim", "--db", "3"), 2, "has no keys in database 3."),
        ((), 2, "Missing argument"),
    ],
)
def test_wrong_ranges(path: Path, arguments: tuple[str, ...], status: int, message: str) -> None:
    """An error is one line, and the status says whether a key is missing."""
    result = run("range", path, *arguments)
    assert (result.exit_code, result.stdout) == (status, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_view(path: Path) -> None:
    """--view sets the prefix of a key; a glob selects full names nevertheless."""
    expected = run("range", path, "m000_azim").stdout
    assert run("range", path, "azim", "--view", "m000").stdout == expected
    assert run("range", path, "m000_azi?", "--view", "m001").stdout == expected


def test_a_glob_in_a_view(tmp_path: Path) -> None:
    """What a glob selects is read by its full name, also where the view has a key of that name."""
    ts = TelescopeState()
    ts.add("gain", 1, ts=START)
    ts.add("cal_gain", 2, ts=START)
    path = tmp_path / "gains.rdb"
    ts.save(path)
    for key, value in {"gai?": "1", "gain": "2"}.items():
        result = run("range", path, key, "--view", "cal", "--unix")
        assert result.stdout == f"{START}\t{value}\n"


# ------------------------------------------------------------------------------------------ watch


def test_watch(live: tuple[str, TelescopeState]) -> None:
    """Updates of keys and globs are printed at once, in order, until it is interrupted."""
    address, ts = live
    arguments = ("watch", address, "gain", "cal_*", "--timeout", "60", "--json")
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    stop = threading.Event()

    def write() -> None:
        """Write until the process has subscribed."""
        number = 0
        while not stop.wait(0.05):
            ts.add("gain", number, ts=START + number)
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    first = json.loads(process.stdout.readline())
    stop.set()
    writer.join()
    ts["cal_K"] = (1, 2)
    ts.set_indexed("cal_flux", ("J1939", 1), 14.9)
    found = [first]
    while found[-1]["key"] != "cal_flux":
        found.append(json.loads(process.stdout.readline()))
    process.send_signal(signal.SIGINT)
    assert process.wait() == -signal.SIGINT
    process.stdout.close()
    numbers = [one["value"] for one in found[:-2]]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert found[0]["kind"] == "mutable" and found[0]["time"].startswith("2020-09-13T12:")
    assert found[-2:] == [
        {"key": "cal_K", "kind": "immutable", "time": None, "value": {"$tuple": [1, 2]}},
        {
            "key": "cal_flux",
            "kind": "indexed",
            "time": None,
            "sub_key": {"$tuple": ["J1939", 1]},
            "value": 14.9,
        },
    ]


def test_watch_count(live: tuple[str, TelescopeState]) -> None:
    """It ends after --count updates."""
    address, ts = live
    arguments = ("watch", address, "gain", "--count", "1", "--timeout", "60")
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE)
    while process.poll() is None:
        ts.add("gain", 1.5, ts=START)
        ts.delete("gain")
    assert process.stdout is not None
    assert process.stdout.read() == b"2020-09-13T12:26:40Z\tgain\t1.5\n"
    process.stdout.close()
    assert process.returncode == 0


def test_watch_ends_in_time(live: tuple[str, TelescopeState]) -> None:
    """--timeout ends it with status 0; with too few updates the status is 1."""
    address, _ = live
    assert run("watch", address, "gain", "--timeout", "0.1").exit_code == 0
    assert run("watch", address, "gain", "--timeout", "0.1", "--count", "1").exit_code == 1


@pytest.mark.parametrize("command", ["watch", "wait"])
def test_following_a_file(path: Path, command: str) -> None:
    """A file does not change, so nothing would end the wait for a key that it lacks."""
    result = run(command, path, "m000_azim")
    assert result.exit_code == 2
    assert "does not change" in result.stderr


# ------------------------------------------------------------------------------------------- wait


def test_wait(live: tuple[str, TelescopeState]) -> None:
    """It waits for a key, or for a value, which is compared as telstate compares values."""
    address, ts = live
    ts.add("activity", "track", ts=START)
    ts["gains"] = np.array([1.5, 2.0])
    assert run("wait", address, "activity", "--timeout", "0.1").exit_code == 0
    assert run("wait", address, "activity", "--value", "track").exit_code == 0
    gains = json.dumps(
        {"$array": {"dtype": "<f8", "shape": [2], "data": "AAAAAAAA+D8AAAAAAAAAQA=="}}
    )
    assert run("wait", address, "gains", "--value", gains).exit_code == 0
    ts.add("elevation", 15.0, ts=START)
    assert run("wait", address, "elevation", "--value", "15", "--timeout", "0.1").exit_code == 0
    late = run("wait", address, "activity", "--value", "stop", "--timeout", "0.1")
    assert late.exit_code == 1
    assert "activity" in late.stderr and late.stderr.count("\n") == 1


def test_wait_for_an_update(live: tuple[str, TelescopeState]) -> None:
    """A later update ends the wait."""
    address, ts = live
    process = subprocess.Popen([*COMMAND, "wait", address, "capture_block_id", "--timeout", "60"])
    ts["capture_block_id"] = "1600000000"
    assert process.wait() == 0
