"""The commands for whole files: diff, merge, verify and pickles."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from state_command import run, run_in_shell, run_on_terminal
from state_contents import filled

from telstate import (
    ENCODING_PICKLE,
    KeyType,
    TelescopeState,
    compare,
    find_pickles,
    verify_snapshot,
)
from telstate_rdb import RdbWriter
from telstate_testing.observations import fill_observation, write_old_observation

M = KeyType.MUTABLE
BEFORE: dict[str, Any] = {
    "n_chans": 4096,
    "gain": {(1.0, 1.5): M, (2.0, 1.75): M},
    "product": {1: "a", 2: "b"},
    "old": 1,
    "kind": 1,
    "same": {(1.0, 1): M},
}
AFTER: dict[str, Any] = {
    "n_chans": 32768,
    "gain": {(1.0, 1.5): M, (2.25, 1.75): M, (5.0, 2.0): M},
    "product": {1: "a", 2: "B", 3: "c"},
    "new\x1b[2J": {(1.0, 1): M},
    "kind": {(1.0, 1): M},
    "same": {(1.0, 1): M},
}


@pytest.fixture
def a(tmp_path: Path) -> Path:
    """A snapshot."""
    ts = filled(BEFORE)
    ts["sdp_config"] = {"version": "3.4", "inputs": [1, 2], "gone": None}
    ts.save(tmp_path / "a.rdb")
    return tmp_path / "a.rdb"


@pytest.fixture
def b(tmp_path: Path) -> Path:
    """A later one."""
    ts = filled(AFTER)
    ts["sdp_config"] = {"version": "3.5", "inputs": [1, 3], "new": None}
    ts.save(tmp_path / "b.rdb")
    return tmp_path / "b.rdb"


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    """An observation as of before March 2019."""
    write_old_observation(tmp_path / "old.rdb")
    return tmp_path / "old.rdb"


DIFFERENCES = [
    "samples\tgain\t1 only in A, 2 only in B: 1970-01-01T00:00:02Z to 1970-01-01T00:00:05Z",
    "kind\tkind\timmutable -> mutable",
    "value\tn_chans\t4096 -> 32768",
    r"only in B\tnew\x1b[2J\tmutable".replace(r"\t", "\t"),
    "only in A\told\timmutable",
    "sub-keys\tproduct\t1 only in B, 1 changed",
    "value\tsdp_config\t4 items, such as ['version']: '3.4' -> '3.5'",
]


def test_diff(a: Path, b: Path, real_snapshot: Path) -> None:
    """Each key that differs has a line, and the exit status is 1; without differences it is 0."""
    found = run("diff", a, b)
    assert (found.exit_code, found.stderr) == (1, "")
    assert found.stdout.splitlines() == DIFFERENCES
    assert run("diff", a, a)[:3] == (0, "", "")
    assert run("diff", real_snapshot, real_snapshot)[:3] == (0, "", "")
    chosen = run("diff", a, b, "n*", "gain", "--unix")
    assert [line.split("\t")[1] for line in chosen.stdout.splitlines()] == [
        "gain",
        "n_chans",
        r"new\x1b[2J",
    ]
    assert "only in B: 2.0 to 5.0" in chosen.stdout
    counts = run("diff", a, b, "--summary")
    assert set(counts.stdout.splitlines()) == {
        "2\tvalue",
        *(f"1\t{name}" for name in ("samples", "sub-keys", "kind", "only in A", "only in B")),
    }


def test_diff_in_full(a: Path, b: Path) -> None:
    """The samples, sub-keys and items that differ are printed, too."""
    lines = run("diff", a, b, "--full", "gain", "product", "sdp_config").stdout.splitlines()
    assert lines == [
        "samples\tgain\t1 only in A, 2 only in B: 1970-01-01T00:00:02Z to 1970-01-01T00:00:05Z",
        "-\tgain\t1970-01-01T00:00:02Z  1.75",
        "+\tgain\t1970-01-01T00:00:02.250Z  1.75",
        "+\tgain\t1970-01-01T00:00:05Z  2.0",
        "sub-keys\tproduct\t1 only in B, 1 changed",
        "-\tproduct\t[2]  b",
        "+\tproduct\t[2]  B",
        "+\tproduct\t[3]  c",
        "value\tsdp_config\t4 items",
        "\tsdp_config\t['version']: '3.4' -> '3.5'",
        "\tsdp_config\t['inputs'][1]: 2 -> 3",
        "\tsdp_config\t['gone']: only in the first",
        "\tsdp_config\t['new']: only in the second",
    ]
    content = [
        json.loads(line) for line in run("diff", a, b, "--full", "--json").stdout.splitlines()
    ]
    assert content[0] == {
        "key": "gain",
        "difference": "samples",
        "kinds": ["mutable", "mutable"],
        "only": [1, 2],
        "changed": 0,
        "times": ["1970-01-01T00:00:02Z", "1970-01-01T00:00:05Z"],
        "values": [
            {"sign": "-", "time": "1970-01-01T00:00:02Z", "value": 1.75},
            {"sign": "+", "time": "1970-01-01T00:00:02.250Z", "value": 1.75},
            {"sign": "+", "time": "1970-01-01T00:00:05Z", "value": 2.0},
        ],
    }
    assert content[4]["kinds"] == ["immutable", None]
    assert content[5]["values"][1] == {"sign": "+", "sub_key": 2, "value": "B"}
    assert len(content) == len(DIFFERENCES)


def test_diff_of_arrays(tmp_path: Path) -> None:
    """Of arrays of the same shape, the elements that differ are counted; NaN is equal to itself."""
    values = np.array([1, np.nan, 3, np.nan]), np.array([1, np.nan, 4, 0])
    for name, value in zip("ab", values):
        ts = TelescopeState()
        ts["x"] = value
        ts["y"] = value[: 2 if name == "a" else 3]
        ts["z"] = 1 if name == "a" else 1.0
        ts.save(tmp_path / f"{name}.rdb")
    assert run("diff", tmp_path / "a.rdb", tmp_path / "b.rdb").stdout.splitlines() == [
        "value\tx\t2 of 4 elements (float64, shape (4,))",
        "value\ty\tarray([ 1., nan]) -> array([ 1., nan, 4.])",
        "value\tz\t1 -> 1.0",
    ]


def test_diff_of_pickles(old_file: Path, tmp_path: Path) -> None:
    """A pickle and the same value in MessagePack are equal if the safe policy is chosen."""
    assert run("pickles", old_file, "--rewrite", tmp_path / "new.rdb").exit_code == 0
    refused = run("diff", old_file, tmp_path / "new.rdb", "sub_*")
    assert refused.exit_code == 1
    assert "not read" in refused.stdout
    hint = "Some of these are pickles. --allow-pickle safe reads those that are plain data.\n"
    assert refused.stderr == hint
    shown = run("diff", old_file, tmp_path / "new.rdb", "m000_target", "--full", "--json")
    (content,) = map(json.loads, shown.stdout.splitlines())
    assert "is a pickle" in content["values"][0]["error"]
    assert "value" in content["values"][1]
    script = '"$@" --allow-pickle safe'  # in a process of its own, because the policy stays
    assert run_in_shell(script, "diff", old_file, tmp_path / "new.rdb").returncode == 0


def test_diff_with_a_server(a: Path, b: Path, newest_port: int) -> None:
    """A file and a server are compared as two files are."""
    address = f"127.0.0.1:{newest_port}"
    with TelescopeState(address) as ts:
        ts.load_from_file(b)
    assert run("diff", a, address).stdout.splitlines() == DIFFERENCES
    assert run("diff", f"redis://{address}", b)[:3] == (0, "", "")


def test_diff_that_cannot_be_made(a: Path, tmp_path: Path) -> None:
    """A missing file and a damaged one are errors, not differences."""
    assert run("diff", a, tmp_path / "none.rdb")[:2] == (2, "")
    (tmp_path / "cut.rdb").write_bytes(a.read_bytes()[:-20])
    found = run("diff", a, tmp_path / "cut.rdb")
    assert found[:2] == (2, "")
    assert "cut.rdb, byte" in found.stderr
    assert run("diff", "-", "-").exit_code == 2


@pytest.mark.parametrize(
    "words",
    [
        "ls A",
        "range A",
        "plot A",
        "diff A A",
        "dump A OUT.rdb",
        "export A -o OUT.csv",
        "merge A -o OUT.rdb --keys",
    ],
)
def test_a_glob_that_matches_nothing(a: Path, tmp_path: Path, words: str) -> None:
    """It is named in one line, the exit status is 1 of every command, and nothing is written."""
    paths = {
        "A": str(a),
        "OUT.rdb": str(tmp_path / "out.rdb"),
        "OUT.csv": str(tmp_path / "out.csv"),
    }
    before = set(tmp_path.iterdir())
    found = run(*(paths.get(word, word) for word in words.split()), "gian*")
    assert found[:2] == (1, "")
    assert "'gian*'" in found.stderr and found.stderr.count("\n") == 1
    assert set(tmp_path.iterdir()) == before


def test_completion(a: Path, b: Path) -> None:
    """The keys of the first store are offered."""
    script = (
        'export COMP_WORDS="telstate diff $4 $5 pro" COMP_CWORD=4 _TELSTATE_COMPLETE=bash_complete; '
        '"${@:1:3}"'
    )
    done = run_in_shell(script, a, b)
    assert done.stdout == b"plain,product\n"


@pytest.mark.parametrize("columns", [80, 200])
def test_diff_on_a_terminal(columns: int, a: Path, b: Path) -> None:
    """The table fits the terminal."""
    status, text = run_on_terminal("diff", a, b, "--full", columns=columns)
    lines = text.splitlines()
    assert status == 1
    assert max(map(len, lines)) <= columns + len("\x1b[1m\x1b[0m")
    assert lines[1].split()[:3] == ["samples", "gain", "1"]
    assert run_on_terminal("diff", a, a) == (0, "7 keys, no difference\n")
    assert run("diff", a, a)[:2] == (0, "")


def test_merge(a: Path, b: Path, tmp_path: Path) -> None:
    """Conflicts are named, and nothing is written unless one of the files decides."""
    out = tmp_path / "out.rdb"
    found = run("merge", a, b, "-o", out)
    assert found[:3] == (
        2,
        "",
        "Conflict: kind: immutable / mutable\n"
        "Conflict: n_chans: 4096 / 32768\n"
        "Conflict: product[2]: 'b' / 'B'\n"
        "Conflict: sdp_config: {'version': '3.4', 'inputs': [1, 2], 'gone': None} / "
        "{'version': '3.5', 'inputs': [1, 3], 'new': None}\n"
        f"{out} was not written, because the stores disagree on 4 keys. Use --prefer first or --prefer "
        "last.\n",
    )
    assert not out.exists()
    found = run("merge", a, b, "-o", out, "--json")
    report = json.loads(found.stdout)
    assert (found.exit_code, report["keys"], report["file"]) == (2, 0, None)
    assert report["conflicts"][2] == {
        "key": "product",
        "kinds": ["indexed", "indexed"],
        "values": ["'b'", "'B'"],
        "sub_keys": ["2"],
    }
    found = run("merge", a, b, "-o", out, "--prefer", "last")
    assert found[:2] == (0, f"8\t{out}\n")
    assert found.stderr.startswith("Taken from the last: kind: immutable / mutable\n")
    both = TelescopeState.from_snapshot(out)
    assert (both["n_chans"], len(both.get_range("gain", 0))) == (32768, 4)
    assert run("diff", b, out).stdout.splitlines() == [
        "samples\tgain\t1 only in B: 1970-01-01T00:00:02Z",
        "only in B\told\timmutable",
    ]


def test_merge_does_not_overwrite(a: Path, tmp_path: Path, real_snapshot: Path) -> None:
    """A file that is there stays, also if it is one of the inputs, without --force, or with a mistyped glob."""
    content = a.read_bytes()
    found = run("merge", a, real_snapshot, "-o", a)
    assert found[:3] == (2, "", f"{a} exists. Use --force to overwrite it.\n")
    found = run("merge", a, real_snapshot, "-o", a, "--force", "--keys", "gian*")
    assert found[:2] == (1, "")
    assert "'gian*': no key matches" in found.stderr
    assert a.read_bytes() == content
    assert run("merge", a, tmp_path / "none.rdb", "-o", a, "--force").exit_code == 2
    assert run("merge", "-", "-", "-o", tmp_path / "out.rdb").exit_code == 2
    assert a.read_bytes() == content
    found = run("merge", a, real_snapshot, "-o", a, "--force", "--prefer", "first", "--json")
    report = json.loads(found.stdout)
    assert (report["keys"], report["file"]) == (205, str(a))
    assert [one["key"] for one in report["conflicts"]] == ["sdp_config"]
    assert len(TelescopeState.from_snapshot(a).keys()) == 205


def test_merge_of_databases(tmp_path: Path, a: Path) -> None:
    """A file whose databases have keys of the same name is refused, unless a database is chosen."""
    path = tmp_path / "two.rdb"
    with RdbWriter(path) as writer:
        for database in (0, 2):
            writer.write(b"x", b"\xff\x01", database=database)
    found = run("merge", a, path, "-o", tmp_path / "out.rdb")
    assert found.exit_code == 2
    assert "several of its databases 0 and 2" in found.stderr
    assert not (tmp_path / "out.rdb").exists()


def test_verify(real_snapshot: Path, a: Path, old_file: Path, tmp_path: Path) -> None:
    """Each file has a line; problems go to standard error, and the exit status is 1."""
    unseen = "it has no checksum, so that damage inside values cannot be seen"
    assert run("verify", real_snapshot)[:3] == (0, f"{real_snapshot}\tsound\t{unseen}\n", "")
    assert json.loads(run("verify", real_snapshot, "--json").stdout)["checksum"] == "not computed"
    assert not verify_snapshot(real_snapshot).has_checksum and verify_snapshot(a).has_checksum
    damaged, twice, value = (tmp_path / f"{name}.rdb" for name in ("damaged", "twice", "value"))
    content = bytearray(a.read_bytes())
    content[-20] ^= 1
    damaged.write_bytes(content)
    twice.write_bytes(b"REDIS0003" b"\x00\x04gain\x02\xff\x01" b"\x00\x04gain\x02\xff\x02" b"\xff")
    with RdbWriter(value) as writer:
        writer.write(b"gain", b"\xff")
    found = run("verify", a, damaged, twice, value, old_file)
    assert found.exit_code == 1
    assert found.stdout == (
        f"{a}\tsound\n{damaged}\tNOT SOUND (1 problem)\n{twice}\tNOT SOUND (1 problem)\n"
        f"{value}\tNOT SOUND (1 problem)\n{old_file}\tsound\n"
    )
    messages = found.stderr.splitlines()
    assert any(one.startswith(f"{damaged}: byte ") for one in messages)
    reason = "the key is in the database twice, so that no server loads the file"
    assert f"{twice}: key gain: {reason}" in messages
    assert f"{value}: key gain: The value cannot be decoded: it ends too early." in messages
    assert messages[-1].startswith(f"{old_file}: Not read: key 1600000000_obs_catalogue: The safe")
    assert run("verify", "--quiet", a, old_file)[:3] == (0, "", "")
    found = run("verify", a, twice, "--json")
    first, second = map(json.loads, found.stdout.splitlines())
    assert (first["sound"], first["keys"], first["checksum"]) == (True, 7, "ok")
    assert second["problems"] == [{"reason": reason, "name": "gain", "database": 0, "offset": None}]
    assert run("verify", tmp_path / "none.rdb")[:2] == (2, "")


def test_verify_standard_input(a: Path, tmp_path: Path) -> None:
    """A pipe and a compressed file are verified, too."""
    with gzip.open(tmp_path / "a.rdb.gz", "wb") as file:
        file.write(a.read_bytes())
    done = run_in_shell('cat "${@: -1}" | "${@:1:$#-1}"', "verify", "-", tmp_path / "a.rdb.gz")
    assert (done.returncode, done.stdout) == (0, b"standard input\tsound\n")
    assert run("verify", tmp_path / "a.rdb.gz").exit_code == 0


def test_pickles(old_file: Path, tmp_path: Path, real_snapshot: Path) -> None:
    """The keys with pickles are listed, and all but one are rewritten."""
    found = run("pickles", old_file)
    assert found.exit_code == 0
    lines = found.stdout.splitlines()
    assert "1600000000_cal_antlist\timmutable\t1\t1\tlist" in lines
    assert "anc_air_pressure\tmutable\t6\t6\tfloat" in lines
    (refused,) = [line for line in lines if "refused" in line]
    assert refused == (
        "1600000000_obs_catalogue\timmutable\t1\t1\trefused. The safe policy does not read this pickle "
        "(byte 2): the global katpoint.catalogue.Catalogue is not plain data."
    )
    count = len(lines)
    summary = (
        f"{old_file}: {count} keys with pickles; in a rewritten file, some of 1 key stay pickles: "
        "1600000000_obs_catalogue.\n"
    )
    assert found.stderr == summary
    out = tmp_path / "new.rdb"
    found = run("pickles", old_file, "--rewrite", out, "--json")
    assert len(found.stdout.splitlines()) == count
    number = sum(key.count for key in find_pickles(old_file)) - 1
    summary = summary.replace("a rewritten file", str(out))
    assert found.stderr == f"{summary}{out}: {count} keys, {number} pickles rewritten.\n"
    refused_key = next(one for one in map(json.loads, found.stdout.splitlines()) if one["refused"])
    assert refused_key | {"reason": None} == {
        "db": 0,
        "key": "1600000000_obs_catalogue",
        "kind": "immutable",
        "values": 1,
        "pickles": 1,
        "types": {},
        "refused": 1,
        "kept": 0,
        "reason": None,
    }
    assert run("pickles", old_file, "--rewrite", out)[:3] == (
        2,
        "",
        f"{out} exists. Use --force to overwrite it.\n",
    )
    assert run("pickles", out).stdout == f"{refused}\n"
    assert run("pickles", real_snapshot)[:3] == (0, "", f"{real_snapshot}: 0 keys with pickles.\n")


def test_pickles_on_a_server(newest_port: int, tmp_path: Path) -> None:
    """The keys of a server are listed and rewritten into a file, too."""
    address = f"127.0.0.1:{newest_port}"
    with TelescopeState(address) as ts:
        ts.add("gain", 1.5, ts=1.0, encoding=ENCODING_PICKLE)
        assert run("pickles", address).stdout == "gain\tmutable\t1\t1\tfloat\n"
        out = tmp_path / "new.rdb"
        assert run("pickles", address, "--rewrite", out).exit_code == 0
        assert TelescopeState.from_snapshot(out)["gain"] == 1.5


def test_an_observation_on_a_terminal(old_file: Path) -> None:
    """The table of pickles fits a narrow terminal."""
    status, text = run_on_terminal("pickles", old_file)
    assert status == 0
    table = text.splitlines()[:-1]
    assert max(map(len, table)) <= 80 + len("\x1b[1m\x1b[0m")


def test_two_observations(tmp_path: Path) -> None:
    """Two observations with the same capture block, made from different seeds, merge if the last is preferred."""
    states = [TelescopeState(), TelescopeState()]
    for seed, ts in enumerate(states):
        fill_observation(ts, antennas=2, channels=8, seconds=30, seed=seed)
        ts.save(tmp_path / f"{seed}.rdb")
    files = [tmp_path / f"{seed}.rdb" for seed in range(2)]
    assert run("merge", *files, "-o", tmp_path / "out.rdb").exit_code == 2
    found = run("merge", *files, "-o", tmp_path / "out.rdb", "--prefer", "last")
    assert found.exit_code == 0
    assert "more keys" in found.stderr
    both = TelescopeState.from_snapshot(tmp_path / "out.rdb")
    assert all(one.only[0] == one.changed == 0 for one in compare(states[1], both))


def test_times_in_tables_stay_whole(tmp_path: Path) -> None:
    """A table breaks lines between words, and no time in the middle."""
    paths = []
    for number, times in enumerate(([1.7e9], [1.7e9 + 1, 1.7e9 + 2])):
        ts = TelescopeState()
        ts.add_many("sensor_with_a_name_that_is_long_enough_to_fold_on_this_terminal", times, times)
        paths.append(str(tmp_path / f"{number}.rdb"))
        ts.save(paths[-1])
    for columns in (60, 66, 72, 80):
        _, shown = run_on_terminal("diff", *paths, columns=columns, environment={"NO_COLOR": "1"})
        assert max(map(len, shown.splitlines())) <= columns
        for second in (20, 22):
            assert f"2023-11-14T22:13:{second}Z" in shown
