"""The command: its manners, its verdicts, and the lists of keys."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdb_command import COMMAND, run, run_in_shell, run_on_terminal

from telstate_rdb import Hash, List, RdbWriter
from telstate_rdb._crc64 import crc64
from telstate_rdb.cli.main import main
from telstate_rdb.printable import escape
from telstate_testing.terminals import Terminal

KEYS = b"\xfe\x00\x00\x04gain\x031.5\x00\x02:x\x01v\x01\x04list\x02\x01a\x01b"
KEYS += b"\xfe\x03\xfc" + (1_700_000_000_000).to_bytes(8, "little") + b"\x00\x05a\x1b[2J\x02vv"
CONTENT = b"REDIS0011\xfa\x09redis-ver\x057.2.4\xfa\x05ctime\xc2\x00\xf1\x53\x65" + KEYS + b"\xff"
SOUND = CONTENT + crc64(CONTENT).to_bytes(8, "little")
NOT_A_ZIPLIST = SOUND.replace(b"\x01\x04list\x02", b"\x0a\x04list\x02")
ESCAPE = re.compile("\x1b\\[[0-9;]*m")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A valid file."""
    path = tmp_path / "dump.rdb"
    path.write_bytes(SOUND)
    return path


# -------------------------------------------------------------------------------- info and verify


def test_info(path: Path) -> None:
    """In a pipe, facts, shares and the biggest keys are tab-separated."""
    result = run("info", path)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"file\t{path}",
        "format\tRDB version 11 (since Redis 7.2)",
        "written by\tRedis 7.2.4",
        "created\t2023-11-14 22:13:20 UTC",
        "checksum\tok",
        "sound\tyes",
        "keys\t4 of 29 bytes, 1 of them expire",
        "function libraries\t0",
        "",
        "0\tlist\tlinked list\t1\t0\t9",
        "0\tstring\tstring\t2\t0\t12",
        "3\tstring\tstring\t1\t1\t8",
        "",
        "biggest keys",
        "9\t0\tlist\t\tlist",
        "8\t3\tstring\t2023-11-14T22:13:20Z\ta\\x1b[2J",
        "8\t0\tstring\t\tgain",
        "4\t0\tstring\t\t:x",
    ]


def test_info_as_json(path: Path) -> None:
    """As JSON, a summary has the same facts."""
    result = run("info", path, "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["sound"] is True
    assert report["checksum"] == "ok"
    assert (report["keys"], report["bytes"]) == (4, 29)
    assert report["databases"] == {
        "0": {
            "list": {"linked list": {"keys": 1, "expiring": 0, "bytes": 9}},
            "string": {"string": {"keys": 2, "expiring": 0, "bytes": 12}},
        },
        "3": {"string": {"string": {"keys": 1, "expiring": 1, "bytes": 8}}},
    }
    assert report["facts"] == {"redis-ver": "7.2.4", "ctime": "1700000000"}
    assert [entry["key"] for entry in report["biggest"]] == ["list", "a\x1b[2J", "gain", ":x"]


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (SOUND[:-3] + b"abc", "the checksum is"),
        (SOUND + b"!", "more bytes follow the end"),
        (SOUND[:-20], "the file"),
        (NOT_A_ZIPLIST, "key list: a ziplist is truncated"),
    ],
)
def test_not_sound(path: Path, data: bytes, complaint: str) -> None:
    """A damaged file is summarised as far as possible, and the exit status is 1."""
    path.write_bytes(data)
    for options in ([], ["--json"], ["--keys", "gain"]):
        result = run("info", path, *options)
        assert result.exit_code == 1
        assert complaint in result.stderr
        assert "gain" in result.stdout
    assert json.loads(run("info", path, "--json").stdout)["sound"] is False
    result = run("verify", path)
    assert (result.exit_code, result.stdout) == (1, f"{path}\tNOT SOUND\n")
    assert complaint in result.stderr
    assert json.loads(run("verify", path, "--json").stdout)["problems"]
    assert run("keys", path).exit_code == 2


def test_key_that_is_there_twice(path: Path) -> None:
    """A key that is in a database twice is named, and the file is not sound."""
    path.write_bytes(b"REDIS0004\x00\x01a\x01v\x00\x01b\x01v\x00\x01a\x01w\xff")
    for command in ("info", "verify"):
        result = run(command, path)
        assert result.exit_code == 1
        assert result.stderr == (
            f"{path}: key a in database 0 is there twice, which no server loads\n"
        )


def test_info_of_chosen_keys(path: Path) -> None:
    """The keys that are chosen are counted, by each of the filters."""
    for options, count in (
        ("--keys [gl]*", 2),
        ("--type string --not-expiring", 2),
        ("--db 3", 1),
        ("--larger 8", 1),
        ("--expiring", 1),
        ("--keys nothing", 0),
    ):
        report = json.loads(run("info", path, "--json", *options.split()).stdout)
        assert (report["keys"], report["sound"]) == (count, True)


def test_verify(path: Path) -> None:
    """Several files are verified, and one that is not sound decides the exit status."""
    assert run("verify", path) == (0, f"{path}\tsound\n", "", f"{path}\tsound\n".encode())
    assert run("verify", "--quiet", path)[:3] == (0, "", "")
    other = path.with_name("other.rdb")
    other.write_bytes(b"root:x:0:0")
    result = run("verify", path, other, path)
    assert result.exit_code == 1
    assert [line.split("\t")[1] for line in result.stdout.splitlines()] == [
        "sound",
        "NOT SOUND",
        "sound",
    ]
    assert result.stderr == (
        f"{other}, byte 0: this is not an RDB file: it starts with b'root:x:0:'\n"
    )


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (b"REDIS0003\xff", "yes, as far as can be told without a checksum (this version"),
        (b"REDIS0009\xff" + bytes(8), "yes, as far as can be told without a checksum (it was not"),
    ],
)
def test_sound_without_a_checksum(path: Path, data: bytes, verdict: str) -> None:
    """Without a checksum the verdict says so."""
    path.write_bytes(data)
    result = run("info", path)
    assert result.exit_code == 0
    assert f"sound\t{verdict}" in result.stdout


# ------------------------------------------------------------------------------------ keys and get


def test_keys(path: Path) -> None:
    """Keys are listed in the order of the file, one a line."""
    result = run("keys", path)
    assert result[:3] == (
        0,
        "0\tstring\t8\t\tgain\n0\tstring\t4\t\t:x\n0\tlist\t9\t\tlist\n"
        "3\tstring\t8\t2023-11-14T22:13:20Z\ta\\x1b[2J\n",
        "",
    )
    assert run("keys", path, "--names").stdout == "gain\n:x\nlist\na\\x1b[2J\n"
    lines = [json.loads(line) for line in run("keys", path, "--json").stdout.splitlines()]
    assert lines[3] == {
        "db": 3,
        "type": "string",
        "bytes": 8,
        "expiry": 1_700_000_000_000,
        "key": "a\x1b[2J",
    }


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--keys [gl]*", ["gain", "list"]),
        ("--keys g* --keys :?", ["gain", ":x"]),
        ("--not-keys [gl]*", [":x", "a\\x1b[2J"]),
        ("--keys *i* --not-keys g*", ["list"]),
        ("--type list", ["list"]),
        ("--type list --type string --db 0", ["gain", ":x", "list"]),
        ("--db 3", ["a\\x1b[2J"]),
        ("--larger 8", ["list"]),
        ("--larger 1k", []),
        ("--expiring", ["a\\x1b[2J"]),
        ("--not-expiring --type string", ["gain", ":x"]),
    ],
)
@pytest.mark.parametrize("command", ["keys", "json"])
def test_filters(path: Path, command: str, options: str, expected: list[str]) -> None:
    """Every command takes the same filters."""
    result = run(command, path, *options.split(), *(["--names"] if command == "keys" else []))
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    if command == "json":
        lines = [escape(json.loads(line)["key"].encode()) for line in lines]
    assert lines == expected


def test_get(tmp_path: Path) -> None:
    """A value is printed with one element a line, as JSON, or as its bytes."""
    path = tmp_path / "dump.rdb"
    with RdbWriter(path) as writer:
        writer.write(b"text", "größe\n\x00".encode())
        writer.write(b"text", b"other", database=2)
        writer.write(b"\xffkey", List((b"a", b"\t")))
        writer.write(b"hash", Hash({b"f": b"v", b"g": b"w"}, {b"g": 1_900_000_000_000}))
    assert run("get", path, "text").stdout == "größe\\n\\x00\n"
    assert run("get", path, "text", "--raw").data == "größe\n\x00".encode()
    assert run("get", path, "text", "--db", "2").stdout == "other\n"
    assert run("get", path, b"\xffkey".decode("utf-8", "surrogateescape")).stdout == "a\n\\t\n"
    assert run("get", path, "hash").stdout == "g\t2030-03-17T17:46:40Z\tw\nf\t\tv\n"
    found = json.loads(run("get", path, "hash", "--json").stdout)
    assert found["field_expiries"] == {"g": 1_900_000_000_000}
    missing = run("get", path, "none")
    assert missing[:3] == (1, "", f"No key none is in {path}.\n")
    assert run("get", path, "hash", "--raw")[:2] == (2, "")


def test_times_without_a_date(path: Path) -> None:
    """The time 0 is a date; a time beyond all dates is a number with its unit."""
    with RdbWriter(path) as writer:
        writer.write(b"early", b"1", expiry=0)
        writer.write(b"late", b"2", expiry=(1 << 63) - 1)
    lines = run("keys", path).stdout.splitlines()
    assert [line.split("\t")[3] for line in lines] == [
        "1970-01-01T00:00:00Z",
        "9223372036854775807 ms since 1970",
    ]


@given(st.lists(st.binary() | st.text().map(str.encode), max_size=5, unique=True))
def test_names_are_shown_differently(names: list[bytes]) -> None:
    """No two names are shown alike."""
    assert len({escape(name) for name in names}) == len(names)


# ----------------------------------------------------------------------------------------- manners


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("arguments", [["info"], ["keys"], ["get", "long"]])
def test_tables_fit_the_terminal(tmp_path: Path, columns: int, arguments: list[str]) -> None:
    """On a terminal there is a table with a header, folded to its width, and nothing is cut."""
    path = tmp_path / "dump.rdb"
    with RdbWriter(path) as writer:
        writer.write("größe 大 ".encode() * 20, b"x" * 70000)
        writer.write(b"long", b"0123456789" * 30)
        writer.write(b"soon", b"", expiry=1_900_000_000_000, database=15)
    status, text = run_on_terminal(arguments[0], path, *arguments[1:], columns=columns)
    assert status == 0
    assert "\x1b[1m" in text
    lines = ESCAPE.sub("", text).splitlines()
    wide = sum(character == "大" for character in text)
    assert max(map(len, lines)) <= columns
    if arguments[0] == "get":
        assert "0123456789" * 30 in "".join(lines)
    else:
        assert "70," in text
        assert wide in (20, 40)


def test_no_colour(path: Path) -> None:
    """NO_COLOR and a dumb terminal are respected."""
    for variables in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in run_on_terminal("keys", path, environment=variables)[1]


def test_standard_input() -> None:
    """A dash means standard input."""
    output = subprocess.run([*COMMAND, "keys", "-"], input=SOUND, capture_output=True, check=True)
    assert output.stdout.count(b"\n") == 4
    assert output.stderr == b""


def test_compressed_file(path: Path) -> None:
    """A file that is compressed with gzip is read."""
    path.write_bytes(gzip.compress(SOUND))
    assert run("keys", path, "--names").stdout.startswith("gain\n")
    assert run("verify", path).exit_code == 0
    path.write_bytes(gzip.compress(SOUND)[:-9])
    assert run("verify", path).exit_code == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("info", "{}", "--json"),
        ("diff", "{}", "{}"),
        ("diff", "{}", "{}", "--full"),
        ("merge", "{}", "-o", "{}.new", "--force"),
    ],
)
def test_progress_on_a_terminal_only(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """A large file has a progress bar where standard error is a terminal, and nowhere else."""
    path = tmp_path / "large.rdb"
    value = b"\x00\x01%c\x80" + (1 << 20).to_bytes(4, "big") + bytes(1 << 20)
    path.write_bytes(b"REDIS0004" + b"".join(value % n for n in range(17)) + b"\xff")
    command = [*COMMAND, *(argument.replace("{}", str(path)) for argument in arguments)]
    environment = os.environ | {"TERM": "xterm"}
    with Terminal(command, stdout=subprocess.DEVNULL, env=environment) as terminal:
        assert "large.rdb" in terminal.read()
        assert terminal.process.wait() == 0
    quiet = subprocess.run(command, capture_output=True, check=True)
    assert quiet.stderr == b""


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["info"],
        ["info", "missing.rdb"],
        ["keys", "--type", "number", "missing.rdb"],
        ["keys", "--larger", "much", __file__],
        ["json", "--output", "/missing/x.json", __file__],
        ["convert", __file__, "out.rdb", "--shift-expiry", "nan"],
        ["split", __file__, "--by", "slot", "--parts", "257"],
        ["split", __file__, "--by", "prefix", "--separator", ""],
        ["memory", __file__, "--by-prefix", ""],
        ["diff", "--full", "/dev/null", __file__],
        ["merge", "-", "-o", "out.rdb"],
    ],
)
def test_wrong_usage(arguments: list[str]) -> None:
    """Wrong usage is one line on standard error, with exit status 2."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    if arguments:
        assert result.stderr.count("\n") == 1
    else:  # the help
        assert "\nCommands:\n" in result.stderr


def test_existing_files_are_not_overwritten(path: Path) -> None:
    """A file that exists is only overwritten with --force."""
    target = path.with_name("out.json")
    target.write_text("precious")
    result = run("json", path, "-o", target)
    assert result[:3] == (2, "", f"{target} exists. Use --force to overwrite it.\n")
    assert target.read_text() == "precious"
    assert run("json", path, "-o", target, "--force").exit_code == 0
    assert target.read_text().count("\n") == 4
    path.write_bytes(SOUND[:-3])
    assert run("json", path, "-o", target, "--force").exit_code == 2
    assert target.read_text().count("\n") == 4


@pytest.mark.parametrize("command", ["info", "keys", "json"])
def test_closed_pipe(tmp_path: Path, command: str) -> None:
    """A pipe that is closed early ends a command without a message, with status 2."""
    path = tmp_path / "dump.rdb"
    with RdbWriter(path) as writer:
        for number in range(20_000):
            writer.write(b"a key of some length %d" % number, b"")
    script = '"$@" | head -c 1 > /dev/null; echo ${PIPESTATUS[0]}'
    result = run_in_shell(script, command, path)
    assert result.stderr == b""
    if command != "info":  # which has little to print
        assert result.stdout.split() == [b"2"]


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ('"$@" keys {} > /dev/full', b"The output cannot be written: No space left on device.\n"),
        ('"$@" keys - <&-', b"standard input cannot be read: it is closed.\n"),
        ('"$@" convert {} /missing/x.rdb', b"/missing/x.rdb: No such file or directory.\n"),
        ('"$@" info /proc/self/mem', b"/proc/self/mem: Input/output error.\n"),
        ('ulimit -v 400000; "$@" json {large}', b"There is not enough memory for this.\n"),
    ],
)
def test_other_errors(tmp_path: Path, script: str, complaint: bytes) -> None:
    """Any other error is reported in one line, with exit status 2."""
    path, large = tmp_path / "dump.rdb", tmp_path / "large.rdb"
    path.write_bytes(SOUND)
    size = 1 << 29
    with large.open("wb") as file:
        file.write(b"REDIS0004\x00\x01k\x80" + size.to_bytes(4, "big"))
        file.seek(size, 1)
        file.write(b"\xff")
    result = run_in_shell(script.replace("{}", str(path)).replace("{large}", str(large)))
    assert (result.returncode, result.stderr) == (2, complaint)


def test_interrupt(tmp_path: Path) -> None:
    """Ctrl-C ends a command without a message, as a signal does."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = subprocess.Popen([*COMMAND, "keys", pipe], stderr=subprocess.PIPE)
    with pipe.open("wb") as writer:  # which waits until the command opens it
        writer.write(SOUND[:-20])
        writer.flush()
        while process.poll() is None:  # the signal may come before Python handles it
            process.send_signal(signal.SIGINT)
            time.sleep(0.05)
    _, errors = process.communicate()
    assert (process.returncode, errors) == (-signal.SIGINT, b"")


def test_characters_outside_the_encoding(path: Path) -> None:
    """A key that cannot be shown in the encoding of the output is escaped."""
    with RdbWriter(path) as writer:
        writer.write("größe".encode(), b"1")
    result = run_in_shell('PYTHONIOENCODING=ascii "$@"', "keys", path)
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"gr\\xf6\\xdfe" in result.stdout


def test_version() -> None:
    """The command prints its version."""
    result = run("--version")
    assert (result.exit_code, result.stdout[:21]) == (0, "telstate-rdb, version")


def test_every_command_has_an_example() -> None:
    """The help of each command has an example that uses it."""
    for name in main.commands:
        result = run(name, "--help")
        assert result.exit_code == 0
        assert re.search(rf"Examples:\n    telstate-rdb {name} ", result.stdout), name


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("telstate-rdb ve", ["verify"]),
        ("telstate-rdb keys --not-e", ["--not-expiring"]),
        ("telstate-rdb get {} ", [":x", "gain", "list"]),
        ("telstate-rdb get {} ga", ["gain"]),
        ("telstate-rdb keys {} --keys li", ["list"]),
    ],
)
def test_completion(path: Path, words: str, expected: list[str]) -> None:
    """The shell completes commands, options, and the keys of the file on the line."""
    words = words.replace("{}", str(path))
    environment = os.environ | {
        "_TELSTATE_RDB_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    code = "from telstate_rdb.__main__ import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert result.stdout.splitlines() == [f"plain,{word}" for word in expected]
    assert result.stderr == ""


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_missing_extra(missing: str, path: Path) -> None:
    """Without the packages of the extra, the command names it in one line and exits with status 2."""
    code = "import sys; sys.modules[sys.argv[1]] = None; from telstate_rdb.__main__ import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, missing, path], capture_output=True, text=True
    )
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line == f"The command needs {missing}. Install telstate-rdb with its extra 'cli'."


def test_interrupt_in_a_destructor(tmp_path: Path) -> None:
    """Ctrl-C in a destructor ends the command too, without a message; Python would report and ignore it."""
    (tmp_path / "command.py").write_text(
        "import os, signal\n"
        "class Value:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        [None for _ in range(1000)]\n"
        "def main(prog_name):\n"
        "    value = Value()\n"
        "    del value\n"
        "    print('not ended')\n"
    )
    code = "from telstate_rdb.entry_point import run_command; run_command('command', 'x')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")
