"""The commands that look at a store: ls, get and info."""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import struct
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import pytest
from conftest import NEWEST, NO_NEWEST
from state_command import Result, run, run_in_shell, run_on_terminal

from telstate import ENCODING_PICKLE, TelescopeState, set_allow_pickle
from telstate_rdb import List, RdbWriter, SortedSet
from telstate_testing import RedisBinary, RedisServer
from telstate_testing.observations import fill_observation, write_old_observation

PLAIN = {"NO_COLOR": "1"}
HOSTILE = "\x1b]0;title\x07\u202e"


@pytest.fixture(scope="module")
def observation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of an observation."""
    path = tmp_path_factory.mktemp("look") / "obs.rdb"
    ts = TelescopeState()
    fill_observation(ts, antennas=12)
    ts.save(path)
    return path


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot whose values are pickles."""
    path = tmp_path_factory.mktemp("look") / "old.rdb"
    write_old_observation(path)
    return path


@pytest.fixture
def live(newest: RedisBinary) -> Iterator[str]:
    """The address of a server with a few keys."""
    with RedisServer(newest) as server, TelescopeState(server.url) as ts:
        ts["n_chans"] = 4096
        ts.add("gain", 1.5, ts=1.6e9)
        ts.add("gain", 2.5, ts=1.6e9 + 60)
        ts.set_indexed("peak", ("J1939", 17), 14.9)
        yield f"127.0.0.1:{server.port}"


def rows(result: Result) -> list[list[str]]:
    """Return the cells of what a command has printed into a pipe."""
    assert result.exit_code == 0, result.stderr
    return [line.split("\t") for line in result.stdout.splitlines()]


# -------------------------------------------------------------------------------------------- info


def facts(result: Result) -> dict[str, str]:
    """Return what info has printed above the biggest keys."""
    lines = result.stdout.split("\n\n")[0].splitlines()
    return dict(line.split("\t") for line in lines)


def test_info(observation: Path) -> None:
    """A file is described: format, soundness, keys by kind, samples, time span, namespaces, biggest keys."""
    result = run("info", observation)
    assert result.exit_code == 0 and result.stderr == ""
    found = facts(result)
    total = len(rows(run("ls", observation)))
    expected = {
        "file": str(observation),
        "verdict": "sound",
        "checksum": "ok",
        "databases": f"0 ({total} keys)",
        "time span": "2020-09-13T12:26:40Z to 2020-09-13T12:28:38Z (0:01:58)",
        "capture blocks": "1600000000",
        "antennas": "m000 ... m011 (12)",
        "pickles": "none among the latest values",
        "bytes": f"{observation.stat().st_size} in the file",
    }
    assert {name: found[name] for name in expected} == expected
    assert "sdp_l0_continuum" in found["streams"] and found["format"].startswith("RDB version")
    assert found["keys"].startswith(f"{total}: ") and found["keys"].endswith(", 8 indexed")
    biggest = result.stdout.split("biggest keys\n")[1].splitlines()
    assert len(biggest) == 10 and biggest[0].endswith("sdp_task_details")


def test_info_as_json(observation: Path, live: str) -> None:
    """JSON has the same facts."""
    found = json.loads(run("info", observation, "--json").stdout)
    assert found["sound"] is True and len(found["antennas"]) == 12
    assert found["first"] == "2020-09-13T12:26:40Z" and found["keys"]["indexed"] == 8
    found = json.loads(run("info", live, "--json", "--unix").stdout)
    assert found["keys"] == {"immutable": 1, "mutable": 1, "indexed": 1}
    assert (found["first"], found["last"], found["samples"]) == (1.6e9, 1.6e9 + 60, 2)


def test_info_of_a_server(live: str) -> None:
    """A server is described with its name and version."""
    found = facts(run("info", live))
    assert found["store"] == live and found["server"].split(" ")[0] in ("Redis", "Valkey")
    assert found["keys"] == "3: 1 immutable, 1 mutable, 1 indexed" and "format" not in found


def test_info_of_a_damaged_file(observation: Path, tmp_path: Path) -> None:
    """Of a damaged file, what can be read is described, the damage is named, and the exit status is 1."""
    content = observation.read_bytes()
    path = tmp_path / "damaged.rdb"
    path.write_bytes(content[: len(content) * 7 // 10])
    result = run("info", path)
    assert result.exit_code == 1 and result.stderr.startswith(f"{path}, byte ")
    found = facts(result)
    assert found["verdict"] == "NOT SOUND (1 problem)" and not found["keys"].startswith("0")
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert facts(run("info", path))["checksum"] == "wrong"
    path.write_bytes(b"no snapshot")
    result = run("info", path)
    assert result.exit_code == 1 and result.stdout == "" and result.stderr.count("\n") == 1


def test_info_of_a_damaged_compressed_file(observation: Path, tmp_path: Path) -> None:
    """Of a compressed file that ends too early, what can be decompressed is described."""
    path = tmp_path / "obs.rdb.gz"
    content = gzip.compress(observation.read_bytes())
    path.write_bytes(content)
    assert facts(run("info", path))["verdict"] == "sound"
    path.write_bytes(content[: len(content) // 2])
    result = run("info", path)
    assert result.exit_code == 1 and "cannot be decompressed" in result.stderr
    assert facts(result)["verdict"] == "NOT SOUND (2 problems)"
    small = tmp_path / "small.rdb"
    ts = TelescopeState()
    ts["noise"] = os.urandom(1000)
    ts["after"] = os.urandom(1000)
    ts.save(small)
    path.write_bytes(gzip.compress(small.read_bytes())[:-500])
    assert facts(run("info", path))["keys"].startswith("1:")
    path.write_bytes(content[:20])
    result = run("info", path)
    assert (result.exit_code, result.stdout) == (1, "") and str(path) in result.stderr


def test_info_of_other_contents(tmp_path: Path) -> None:
    """Databases, keys of the same name in them, keys of other programs and repeated keys are named."""
    path = tmp_path / "mixed.rdb"
    with RdbWriter(path) as writer:
        for database in (0, 2):
            writer.write(b"n_chans", b"\xff\x01", database=database)
        writer.write(b"list", List((b"a",)), database=2)
    result = run("info", path)
    found = facts(result)
    assert (result.exit_code, found["databases"]) == (0, "0 (1 key), 2 (2 keys)")
    assert found[""] == "1 key in several of them, such as n_chans: choose with --db"
    assert found["left out"] == "1 key with a Redis list, such as list"
    assert facts(run("info", path, "--db", "0"))["databases"] == "0 (1 key)"
    twice = b"REDIS0003" + 2 * b"\x00\x04gain\x02\xff\x01" + b"\xff"
    path.write_bytes(twice)
    result = run("info", path)
    assert result.exit_code == 1 and "key gain is there twice" in result.stderr


def test_info_of_pickles(old: Path) -> None:
    """The keys that hold pickles are counted, as far as one value of each key tells."""
    found = facts(run("info", old))
    assert (
        found["pickles"]
        == f"at least {found['keys'].split(':')[0]} keys, such as 1600000000_cal_antlist"
    )


@pytest.mark.parametrize("columns", [80, 200])
def test_info_on_a_terminal(observation: Path, columns: int) -> None:
    """On a terminal, names and facts are aligned, and folded between words."""
    path = str(observation)
    status, shown = run_on_terminal("info", path, columns=columns, environment=PLAIN)
    assert status == 0 and max(map(len, shown.splitlines())) <= columns
    assert "antennas           m000 ... m011 (12)\n" in shown
    assert "i0_baseline_correlation_products" in shown


def test_info_of_standard_input(observation: Path) -> None:
    """Standard input is described without a seek."""
    done = run_in_shell(f'cat {observation} | "$@" info - --json')
    assert done.returncode == 0 and json.loads(done.stdout)["store"] == "standard input"


# ---------------------------------------------------------------------------------------------- ls


def test_ls(observation: Path) -> None:
    """Into a pipe, each key is a row of name, kind, count, bytes, times, type and value, in natural order."""
    found = {name: cells for name, *cells in rows(run("ls", observation))}
    assert len(found) > 400
    assert found["sub_band"][:2] == ["immutable", "1"] and found["sub_band"][-2:] == ["str", "'l'"]
    pointing = found["m011_pos_request_scan_azim"]
    assert pointing[:2] == ["mutable", "60"]
    assert pointing[3:6] == ["2020-09-13T12:26:40Z", "2020-09-13T12:28:38Z", "float"]
    assert found["1600000000_cal_product_G"][5] == "complex64 (2, 12)"
    assert found["1600000000_spectral_image_peak"][:2] == ["indexed", "32"]
    names = list(found)
    assert names.index("1600000000_cal_shared_9") + 1 == names.index("1600000000_cal_shared_10")


def test_ls_selects(observation: Path) -> None:
    """Globs, kinds and views select keys; a glob also matches in a view."""
    assert len(rows(run("ls", observation, "m*_target"))) == 12
    kinds = {row[1] for row in rows(run("ls", observation, "--kind", "indexed"))}
    assert kinds == {"indexed"}
    viewed = rows(run("ls", observation, "--view", "1600000000", "--view", "1600000000_cal"))
    assert viewed and all(row[0].startswith("1600000000_") for row in viewed)
    assert viewed[0][0].startswith("1600000000_cal")
    assert len(rows(run("ls", observation, "--view", "m000", "targ?t"))) == 1
    assert [row[0] for row in rows(run("ls", observation, "sub_band", "stream_name"))] == [
        "stream_name",
        "sub_band",
    ]


def test_ls_sorts(observation: Path) -> None:
    """Keys are sorted by size, samples or time of the last sample, the most first; a limit ends the list."""

    def column(sort: str, place: int) -> list[str]:
        return [row[place] for row in rows(run("ls", observation, "--sort", sort, "--limit", "20"))]

    sizes = list(map(int, column("size", 3)))
    assert len(sizes) == 20 and sizes == sorted(sizes, reverse=True)
    assert set(column("samples", 2)) == {"60"}
    last = column("last", 5)
    assert last == sorted(last, reverse=True)
    assert len(rows(run("ls", observation, "--limit", "0"))) > 255


def test_ls_as_json(observation: Path) -> None:
    """JSON lines have the same facts, with times as ISO 8601 or in seconds."""
    for options, expected in (((), "2020-09-13T12:26:40Z"), (("--unix",), 1.6e9)):
        found = json.loads(run("ls", observation, "m000_target", "--json", *options).stdout)
        assert found["first"] == expected and set(found) == {
            *("key", "kind", "count", "bytes", "first", "last", "type", "value")
        }


def test_ls_finds_nothing(observation: Path) -> None:
    """A glob or name that matches nothing is named, and the exit status is 1; what others match is listed."""
    result = run("ls", observation, "sub_*", "nope_*", "sub_bend")
    assert result.exit_code == 1 and result.stdout.count("\n") == 6
    assert result.stderr == (
        f"No key of {observation} matches 'nope_*'.\n"
        f"No key of {observation} matches 'sub_bend'; did you mean 'sub_band' or 'sub_sub_nr'?\n"
    )


@pytest.mark.parametrize(
    ("columns", "names", "times"),
    [
        (200, "key kind count first last type value", ["12:26:40", "12:28:38"]),
        (80, "key kind count first last value", ["12:26", "12:28"]),
        (65, "key count last value", ["12:28"]),
    ],
)
def test_ls_on_a_terminal(observation: Path, columns: int, names: str, times: list[str]) -> None:
    """On a terminal, rows fit its width: values give way before times, and columns last; the type stays whole."""
    path = str(observation)
    status, shown = run_on_terminal("ls", path, columns=columns, environment=PLAIN)
    lines = shown.splitlines()
    assert status == 0 and max(map(len, lines)) <= columns
    assert any("complex64 (8, 2, 12)" in line for line in lines)
    header = next(line for line in lines if line.startswith("key"))
    assert header.split() == names.split() and "Times are UTC, of 2020-09-13.\n" in shown
    assert any("  ".join(times) in line for line in lines)


def test_ls_of_many_keys_on_a_terminal(tmp_path: Path) -> None:
    """On a terminal, a thousand keys are listed, and a line says how to see the others."""
    ts = TelescopeState()
    for number in range(1200):
        ts[f"k{number}"] = number
    path = str(tmp_path / "many.rdb")
    ts.save(path)
    status, shown = run_on_terminal("ls", path, environment=PLAIN)
    assert status == 0 and shown.count("\n") == 1002
    assert shown.endswith(
        "200 more keys: --limit 0 shows all, --tree and globs show what there is.\n"
    )
    assert len(rows(run("ls", path))) == 1200


@pytest.mark.parametrize("columns", [80, 200])
def test_tree(observation: Path, columns: int) -> None:
    """The tree folds what looks alike, fits a terminal, and is cut at a depth or a number of lines."""
    path = str(observation)
    status, shown = run_on_terminal("ls", path, "--tree", columns=columns, environment=PLAIN)
    assert status == 0 and max(map(len, shown.splitlines())) <= columns
    assert "m000 ... m010  11 alike" in shown or "m000 ... m011  12 alike" in shown
    assert "0 ... 59  60 alike" in shown
    shallow = run("ls", observation, "--tree", "--depth", "1").stdout
    assert "├── 1600000000  " in shallow and "target" in shallow and "B0" not in shallow
    short = run("ls", observation, "--tree", "--limit", "5").stdout.splitlines()
    assert len(short) == 7 and "more lines: --limit 0 shows all" in short[-1]
    assert run("ls", observation, "--depth", "1").exit_code == 2


def test_ls_of_a_server(live: str) -> None:
    """A live server is listed as a file is."""
    found = rows(run("ls", live))
    assert [row[:3] for row in found] == [
        ["gain", "mutable", "2"],
        ["n_chans", "immutable", "1"],
        ["peak", "indexed", "1"],
    ]
    assert [row[0] for row in rows(run("ls", live, "n_*"))] == ["n_chans"]


def test_hostile_names_and_values(tmp_path: Path) -> None:
    """Names and values are escaped wherever they are printed."""
    ts = TelescopeState()
    ts[HOSTILE] = HOSTILE
    ts.set_indexed("table", HOSTILE, HOSTILE)
    path = str(tmp_path / "hostile.rdb")
    ts.save(path)
    commands = [
        *(("ls", path), ("ls", path, "--tree"), ("get", path, HOSTILE), ("get", path, "table")),
        *(("get", path, f"{HOSTILE}x"), ("get", path, "table", HOSTILE), ("ls", path, HOSTILE * 2)),
    ]
    shown = [run_on_terminal(*command, environment=PLAIN)[1] for command in commands[:2]]
    for command in commands:
        result = run(*command)
        shown += [result.stdout, result.stderr]
    for text in shown:
        for line in text.split("\n"):
            assert line.replace("\t", "").isprintable()
            assert "\\x1b]0;" in line or "\x1b" not in line


# --------------------------------------------------------------------------------------------- get


def test_get(observation: Path) -> None:
    """A value is printed in the one text form: the latest of a sensor, all values of an indexed key."""
    assert run("get", observation, "sub_band").stdout == "l\n"
    assert run("get", observation, "sub_dump_rate").stdout == "0.125\n"
    assert run("get", observation, "m000_activity").stdout == "track\n"
    assert run("get", observation, "band", "--view", "sub").stdout == "l\n"
    table = rows(run("get", observation, "1600000000_spectral_image_peak"))
    assert len(table) == 32 and table[9][0].endswith(", 9]") and table[10][1] == "5.0"
    array = json.loads(run("get", observation, "1600000000_cal_product_G").stdout)
    assert array["$array"]["shape"] == [2, 12]


def test_get_a_sub_key(observation: Path) -> None:
    """A sub-key is JSON, or text; a missing one is named with one that is there."""
    key = "1600000000_spectral_image_peak"
    target = "J1939-6342 | PKS1934-63, radec bpcal, 19:39:25.03, -63:42:45.6"
    assert run("get", observation, key, json.dumps([target, 17])).stdout == "8.5\n"
    missing = run("get", observation, key, json.dumps([target, 99]))
    assert missing.exit_code == 1 and f'["{target}", 9]' in missing.stderr
    assert run("get", observation, key, "[no JSON").exit_code == 1
    assert run("get", observation, "sub_band", "x").exit_code == 2


def test_get_at(observation: Path) -> None:
    """--at prints what a sensor said then, and exits with 1 if it had said nothing."""

    def at(time: str, *options: str) -> Result:
        return run("get", observation, "m000_activity", "--at", time, *options)

    assert at("2020-09-13T12:26:49").stdout == "slew\n"
    assert at("2020-09-13T12:26:50Z").stdout == "track\n"
    found = json.loads(at("-5s", "--json", "--unix").stdout)
    assert found == {"key": "m000_activity", "kind": "mutable", "time": 1600000060, "value": "slew"}
    assert json.loads(at("1600000060", "--json").stdout)["time"] == "2020-09-13T12:27:40Z"
    early = at("1600000000.0", "--json")
    assert early.exit_code == 0
    assert at("+10s").stdout == at("2020-09-13T12:26:50Z").stdout
    none = at("2020-09-13")
    assert none.exit_code == 1 and "the first is of 2020-09-13T12:26:40Z" in none.stderr
    assert run("get", observation, "sub_band", "--at", "-1h").exit_code == 2


def test_get_raw(observation: Path, tmp_path: Path) -> None:
    """--raw writes text and bytes as they are, and an array as a .npy file."""
    ts = TelescopeState()
    ts["text"], ts["bytes"] = "größe\x1b", b"\x00\xff\n"
    ts.save(tmp_path / "raw.rdb")
    assert run("get", tmp_path / "raw.rdb", "text", "--raw").data == "größe\x1b".encode()
    assert run("get", tmp_path / "raw.rdb", "bytes", "--raw").data == b"\x00\xff\n"
    array = numpy.load(io.BytesIO(run("get", observation, "sdp_l0_bls_ordering", "--raw").data))
    assert array.shape == (300, 2)
    assert run("get", observation, "sub_sub_nr", "--raw").exit_code == 2


def test_get_on_a_terminal(observation: Path) -> None:
    """On a terminal, a sensor's value stands below its time, and what is long is laid out in lines."""
    path = str(observation)
    _, shown = run_on_terminal("get", path, "1600000000_cal_product_G", environment=PLAIN)
    lines = shown.splitlines()
    assert lines[:2] == ["2020-09-13T12:27:40Z", "complex64 array, shape (2, 12)"]
    _, shown = run_on_terminal("get", path, "sdp_config", environment=PLAIN)
    assert shown.startswith("{'version': '3.4',\n") and max(map(len, shown.splitlines())) <= 80


def test_get_finds_nothing(observation: Path, live: str) -> None:
    """A missing key is one line with the near names, and exit status 1."""
    missing = run("get", observation, "m000_targt")
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert "did you mean 'm000_target'" in missing.stderr and missing.stderr.count("\n") == 1
    missing = run("get", live, "n_chanz")
    assert missing.exit_code == 1 and "did you mean 'n_chans'?" in missing.stderr
    assert run("get", live, "n_chans").stdout == "4096\n"
    assert run("get", live, "gain").stdout == "2.5\n"


def test_get_loads_one_key(observation: Path, tmp_path: Path) -> None:
    """The other keys of a file are not decoded: one that cannot be does not matter."""
    path = tmp_path / "foreign.rdb"
    with RdbWriter(path) as writer:
        writer.write(b"n_chans", b"\xff\x01")
        writer.write(b"broken", b"\xff\xc1")
    assert run("get", path, "n_chans").stdout == "1\n"
    broken = run("get", path, "broken")
    assert broken.exit_code == 2 and broken.stderr.count("\n") == 1
    found = rows(run("ls", path))
    assert [row[-2] for row in found] == ["?", "int"]


def test_standard_input(observation: Path) -> None:
    """- stands for standard input, which is read once."""
    done = run_in_shell(f'"$@" get - sub_band < {observation}')
    assert (done.returncode, done.stdout) == (0, b"l\n")


def test_pickles(old: Path) -> None:
    """Pickles are not read unless that is allowed, and then only plain data."""
    listed = run("ls", old)
    assert {row.split("\t")[-2] for row in listed.stdout.splitlines()} == {"pickle"}
    assert listed.stderr.startswith("Pickles are not read. --allow-pickle safe")
    refused = run("get", old, "sub_band")
    assert refused.exit_code == 2 and "--allow-pickle safe" in refused.stderr
    safe = "--allow-pickle", "safe"
    try:
        assert run("get", old, "sub_band", *safe).stdout == "l\n"
        assert run("ls", old, "sub_band", *safe).stdout.endswith("'l'\n")
        unsafe = run("get", old, "1600000000_obs_catalogue", *safe)
    finally:
        set_allow_pickle(False)
    assert unsafe.exit_code == 2 and "katpoint" in unsafe.stderr
    for result in (run("range", old, "anc_air_pressure"), unsafe):
        assert result.exit_code == 2 and "set_allow_pickle" not in result.stderr
    assert "--allow-pickle safe reads those" in run("range", old, "anc_air_pressure").stderr


def test_damaged_files(observation: Path, tmp_path: Path) -> None:
    """Commands refuse a damaged file, and read its intact parts with an option."""
    content = observation.read_bytes()
    path = tmp_path / "damaged.rdb"
    path.write_bytes(content[: len(content) * 7 // 10])
    refused = run("ls", path)
    assert refused.exit_code == 2 and refused.stdout == ""
    assert refused.stderr.endswith("; --damaged reads the intact parts.\n")
    assert ", key b'" not in refused.stderr
    found = run("ls", path, "--damaged")
    assert found.exit_code == 0 and found.stdout
    refused = run("set", "localhost:1", "key", "1", "--damaged")
    assert refused.exit_code == 2 and "commands that read" in refused.stderr


def test_exports_are_not_stores(observation: Path, tmp_path: Path) -> None:
    """A file that export has written is refused with what can be done with it."""
    for suffix, advice in ((".jsonl", "telstate load loads it"), (".csv", "CSV cannot be loaded")):
        path = tmp_path / f"obs{suffix}"
        assert run("export", observation, "m000_*", "-o", path).exit_code == 0
        for command in ("ls", "info"):
            refused = run(command, path)
            assert (refused.exit_code, refused.stdout) == (2, "")
            assert "telstate export" in refused.stderr and advice in refused.stderr


def test_short_help() -> None:
    """The summary of each command fits a terminal of 80 columns."""
    shown = run("--help").stdout.partition("Commands:")[2]
    assert "verify" in shown and "..." not in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_pickle_that_doubles(tmp_path: Path) -> None:
    """A pickle of a few bytes that stands for 2**60 values is refused when it is printed, and is listed."""
    doubling: tuple[object, ...] = ()
    for _ in range(60):
        doubling = (doubling, doubling)
    ts = TelescopeState()
    ts.add("double", doubling, immutable=True, encoding=ENCODING_PICKLE)
    path = tmp_path / "double.rdb"
    ts.save(path)
    try:
        results = [
            run(*command, "--allow-pickle", "safe")
            for command in (
                ("get", path, "double"),
                ("get", path, "double", "--json"),
                ("ls", path),
            )
        ]
    finally:
        set_allow_pickle(False)
    assert [result.exit_code for result in results] == [2, 2, 0]
    assert "too many to print" in results[0].stderr


def test_values_that_are_hard_to_print(tmp_path: Path) -> None:
    """Times a million years apart, deep nesting, and what only pickles hold are printed or refused in one line."""
    ts = TelescopeState()
    ts.add_many("sensor", [1, 2], [0, 1e18])
    deep: list[object] = []
    for _ in range(400):
        deep = [deep]
    ts["deep"] = deep
    for name, value in (("long", 10**5000), ("text", "\udc80"), ("set", {1})):
        ts.add(name, value, immutable=True, encoding=ENCODING_PICKLE)
    path = str(tmp_path / "hard.rdb")
    ts.save(path)
    assert facts(run("info", path))["time span"].endswith("(1e+18 s)")
    status, shown = run_on_terminal("get", path, "deep", environment=PLAIN)
    assert (status, shown) == (0, f"{401 * '['}{401 * ']'}\n")
    try:
        text, long, set_ = (
            run("get", path, *one, "--allow-pickle", "safe")
            for one in (("text", "--raw"), ("long",), ("set",))
        )
    finally:
        set_allow_pickle(False)
    assert text.data == b"\xed\xb2\x80"
    assert (long.exit_code, long.stderr) == (2, "An integer of 16,610 bits is too long for JSON.\n")
    assert (set_.exit_code, set_.stderr.count("\n")) == (2, 1)


def test_times_that_are_not_valid(tmp_path: Path) -> None:
    """A sample whose time is NaN is listed, and neither printed nor plotted."""
    path = tmp_path / "times.rdb"
    with RdbWriter(path) as writer:
        member = struct.pack(">d", math.nan) + b"\xff\x01"
        writer.write(b"gain", SortedSet((member,), array("d", [0.0])))
    assert rows(run("ls", path))[0][4:6] == ["nan", "nan"]
    for options in ((), ("--at", "2020")):
        result = run("get", path, "gain", *options)
        assert result[:2] == (1, "")
        assert result.stderr == "Key 'gain' has no sample with a valid time.\n"
    assert "no samples" in run("plot", path, "gain").stdout


def test_names_that_are_globs(tmp_path: Path) -> None:
    """A key whose name is a glob is found by its name."""
    ts = TelescopeState()
    ts["k[1]"], ts["k1"] = "glob", "name"
    path = tmp_path / "globs.rdb"
    ts.save(path)
    assert [row[0] for row in rows(run("ls", path, "k[1]"))] == ["k1", "k[1]"]
    assert run("get", path, "k[1]").stdout == "glob\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", NEWEST or NO_NEWEST)
def test_a_cluster(name: str, ports_of_cluster: Callable[[str], list[int]]) -> None:
    """A cluster is listed and described as one server is."""
    url = f"redis+cluster://127.0.0.1:{ports_of_cluster(name)[0]}"
    with TelescopeState(url) as ts:
        for number in range(50):
            ts.add(f"m{number:03}_gain", number, ts=1.6e9)
    assert len(rows(run("ls", url))) == 50
    assert facts(run("info", url))["keys"] == "50: 0 immutable, 50 mutable, 0 indexed"
    assert run("get", url, "m049_gain").stdout == "49\n"


def test_closed_pipe(observation: Path) -> None:
    """A reader that has seen enough ends the command quietly."""
    done = run_in_shell(f'"$@" ls {observation} | head -n 1')
    assert done.returncode == 0 and done.stderr == b""


@pytest.mark.parametrize("typed", ["azimuth", "*AZIM*"])
def test_near_misses(observation: Path, typed: str) -> None:
    """For a glob in another case, or a name that is longer, a glob is suggested that matches."""
    missed = run("ls", observation, typed)
    assert missed.exit_code == 1
    assert f"matches {typed!r}; try '*azim*', for names such as 'm000_" in missed.stderr
