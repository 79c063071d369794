"""The drop-in compared with katsdptelstate itself, which runs in its own environment."""

import json
import math
import random
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import dropin_peer_calls
import pytest
from dropin_modules import Old

from telstate_rdb import decode_dump
from telstate_testing import peer_python

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(peer_python() is None, reason="katsdptelstate is not there"),
]

MODULES = [
    "katsdptelstate",
    *(
        f"katsdptelstate.{name}"
        for name in """aio aio.backend aio.memory aio.rdb_writer aio.redis aio.telescope_state backend
        encoding endpoint errors memory rdb_reader rdb_utility rdb_writer rdb_writer_base redis
        telescope_state telescope_state_base utils""".split()
    ),
]
# Deliberate differences, which docs/how-to/moving-from-katsdptelstate.md explains.
UPDATES = {
    "ImmutableKeyUpdate",
    "IndexedKeyUpdate",
    "KeyUpdate",
    "KeyUpdateBase",
    "MutableKeyUpdate",
}
# Helpers that a module imports from another one, which still has them.
ELSEWHERE = {"display_str", "dump_hash", "dump_string", "dump_zset", "encode_len"}
OLD_METHODS = {
    "add_mutable",
    "clear",
    "delete",
    "exists",
    "get",
    "get_indexed",
    "get_range",
    "key_type",
    "keys",
    "load_from_file",
    "monitor_keys",
    "set_immutable",
    "set_indexed",
}
# Methods of rdbtools' class, which our reader does not need.
OF_RDBTOOLS = {"encode_key", "encode_value"}
CLASSES = {
    ("katsdptelstate", "TelescopeState"): set[str](),
    ("katsdptelstate.aio", "TelescopeState"): set[str](),
    ("katsdptelstate", "KeyType"): set[str](),
    ("katsdptelstate.rdb_writer", "RDBWriter"): set[str](),
    ("katsdptelstate.aio.rdb_writer", "RDBWriter"): set[str](),
    ("katsdptelstate.rdb_writer_base", "RDBWriterBase"): set[str](),
    ("katsdptelstate.endpoint", "Endpoint"): set[str](),
    ("katsdptelstate.errors", "RdbParseError"): set[str](),
    ("katsdptelstate.backend", "Backend"): OLD_METHODS | {"dump"},
    ("katsdptelstate.aio.backend", "Backend"): OLD_METHODS | {"dump"},
    ("katsdptelstate.memory", "MemoryBackend"): OLD_METHODS,
    ("katsdptelstate.aio.memory", "MemoryBackend"): OLD_METHODS,
    ("katsdptelstate.redis", "RedisBackend"): OLD_METHODS,
    ("katsdptelstate.aio.redis", "RedisBackend"): OLD_METHODS,
    ("katsdptelstate.rdb_reader", "BackendCallback"): OF_RDBTOOLS,
    ("katsdptelstate.memory", "MemoryCallback"): OF_RDBTOOLS,
    ("katsdptelstate.redis", "RedisCallback"): OF_RDBTOOLS,
}


# Constructors that only the library itself calls.
OTHER_PARAMETERS = {"Backend.__init__", "KeyType.__init__", "RdbParseError.__init__"}
NO_DEFAULT = "<class 'inspect._empty'>"


def ask(question: str, cases: list[Any]) -> list[Any]:
    """Return katsdptelstate's answers to a question."""
    result = subprocess.run(
        [str(peer_python()), dropin_peer_calls.__file__],
        input=json.dumps({question: cases}),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    answers: list[Any] = json.loads(result.stdout)
    return answers


@pytest.mark.usefixtures("old")
def test_public_names() -> None:
    """Every public name of every module exists, except those that `watch` replaces."""
    for module, names in zip(MODULES, ask("names", MODULES)):
        missing = set(names) - set(dropin_peer_calls.names_of(module))
        assert missing - ELSEWHERE <= UPDATES, module


@pytest.mark.usefixtures("old")
def test_public_members() -> None:
    """Every public attribute of every class exists, except the old methods of backends."""
    cases = [list(case) for case in CLASSES]
    for case, theirs in zip(cases, ask("members", cases)):
        missing = set(theirs) - set(dropin_peer_calls.members(case))
        assert missing <= CLASSES[case[0], case[1]], case


@pytest.mark.usefixtures("old")
def test_parameters() -> None:
    """Every function and method has the same parameters, in order and with the same defaults."""
    classes = [list(case) for case in CLASSES]
    cases = [
        [module, f"{name}.{member}"]
        for (module, name), theirs in zip(classes, ask("members", classes))
        for member in [*theirs, "__init__"]
        if member not in CLASSES[module, name]
    ]
    for module, names in zip(MODULES, ask("names", MODULES)):
        cases += [[module, name] for name in names]
    compared = 0
    for case, theirs in zip(cases, ask("parameters", cases)):
        ours = dropin_peer_calls.parameters(case)
        if theirs is None or ours is None or case[1] in OTHER_PARAMETERS:
            continue
        compared += 1
        assert [one[0] for one in ours[: len(theirs)]] == [one[0] for one in theirs], case
        for our, their in zip(ours, theirs):
            assert our[1] in (their[1], "POSITIONAL_OR_KEYWORD"), case
            assert our[2].replace("b''", "''") == their[2].replace("b''", "''"), case
        assert all(one[2] != NO_DEFAULT for one in ours[len(theirs) :]), case
    assert compared > 100


def test_new_names_are_documented() -> None:
    """The page on moving lists every new attribute of our class, which hides a key of that name."""
    page = (
        Path(__file__).parents[4] / "docs" / "how-to" / "moving-from-katsdptelstate.md"
    ).read_text()
    (theirs,) = ask("members", [["katsdptelstate", "TelescopeState"]])
    new = set(dropin_peer_calls.members(["telstate", "TelescopeState"])) - set(theirs)
    assert [name for name in sorted(new) if f"`{name}`" not in page] == []


def test_payloads_mean_the_same(old: Old) -> None:
    """Payloads have the same content, those of strings the same bytes."""
    chance = random.Random(5)
    sizes = [1, 2, 5, 20, 62, 63, 64, 253, 254, 300, 16383, 16384, 70000]
    cases = [
        [(b"\xff" + chance.randbytes(chance.choice(sizes))).hex() for _ in range(count)]
        for count in (1, 2, 7, 40)
    ]
    for case, theirs in zip(cases, ask("payloads", cases)):
        assert len(case) == len(set(case))
        for number, (their, our) in enumerate(zip(theirs, dropin_peer_calls.payloads(case))):
            if number not in (1, 2):  # collections may use another encoding
                assert our[:-16] == their[:-16] if number == 0 else our == their
                continue
            repaired = old("rdb_writer_base").with_checksum(bytes.fromhex(their))
            assert decode_dump(bytes.fromhex(our)) == decode_dump(repaired)


@pytest.mark.usefixtures("old")
def test_bounds_of_ranges() -> None:
    """Bounds of ranges are packed into the same bytes."""
    times = [-math.inf, -1.0, -0.0, 0.0, 5e-324, 1.5, 3, 1e300, math.inf]
    cases = [[time, end, also] for time in times for end in (False, True) for also in (False, True)]
    assert [dropin_peer_calls.bound(case) for case in cases] == ask("bounds", cases)


@pytest.mark.usefixtures("old")
def test_lists_of_endpoints() -> None:
    """Lists of endpoints are written with the same order and runs."""
    chance = random.Random(7)
    hosts = ["b.example.com", "a", *(f"1.2.3.{n}" for n in range(4)), "::1", "::2", "fe80::9"]
    ports = [None, 1, 7148, 7149]
    cases = [
        [[chance.choice(hosts), chance.choice(ports)] for _ in range(chance.randrange(9))]
        for _ in range(500)
    ]
    assert [dropin_peer_calls.listed(case) for case in cases] == ask("endpoints", cases)


@pytest.mark.usefixtures("old")
def test_texts_of_endpoints() -> None:
    """Lists of endpoints are parsed alike, with blanks too."""
    cases = [
        "a:1, b:2",
        "239.0.0.1+1:7148, 239.0.0.4:7148",
        " a , b ",
        "::1",
        "[::1]",
        "[fe80::1]:80",
    ]
    cases += [
        "a",
        "",
        ",",
        "a,",
        "a:",
        ":80",
        "a:b",
        "10.0.0.1+3",
        "10.0.0.255+1",
        "a+1",
        "1.2.3.4+-1",
    ]
    assert [dropin_peer_calls.read(case) for case in cases] == ask("texts", cases)


@pytest.mark.usefixtures("old")
def test_ranges() -> None:
    """Ranges in memory are equal for every combination of arguments."""
    times: list[float | None] = [None, 0.0, 1.0, 2.5, 4.0, 9.0, math.inf]
    either = [None, False, True]
    cases = [
        [stored, dict(st=st, et=et, include_previous=previous, include_end=bool(end))]
        for stored in ([1.0, 2.0, 4.0], [])
        for st, et, previous, end in product(times, times, either, either[1:])
    ]
    assert [dropin_peer_calls.ranged(case) for case in cases] == ask("ranges", cases)


@pytest.mark.usefixtures("old")
def test_views() -> None:
    """Views of views have the same prefixes."""
    steps = [[name, *more] for name in ("a", "b_", "") for more in ([], [False], [True, True])]
    cases = [list(views) for views in product(steps, steps)]
    assert [dropin_peer_calls.viewed(case) for case in cases] == ask("views", cases)


@pytest.mark.usefixtures("old")
def test_globs() -> None:
    """Globs match the same keys."""
    keys = ["a", "ab", "abc", "b", "a_b", "a*", "a[b]", "-", "^", "x\n", "é"]
    globs = [
        "*",
        "a",
        "a*",
        "*b*",
        "?",
        "??",
        "[a-b]",
        "[^a]",
        "[!a]",
        "a\\*",
        "[",
        "a[[]b]",
        "**c",
        "",
    ]
    cases = [[keys, glob] for glob in globs]
    assert [dropin_peer_calls.matched(case) for case in cases] == ask("globs", cases)


@pytest.mark.usefixtures("old")
def test_equal_values() -> None:
    """An attribute may be set again to the same equal values."""
    values = [
        "1",
        "1.0",
        "True",
        "'1'",
        "b'1'",
        "None",
        "[1]",
        "(1,)",
        "{'a': 1}",
        "float('nan')",
        "-0.0",
        "0.0",
    ]
    values += [
        "numpy.int64(1)",
        "numpy.float32(1)",
        "numpy.ones(2)",
        "numpy.ones(2, int)",
        "1j",
        "''",
        "b''",
    ]
    values += [
        "numpy.array([1.0, float('nan')])",
        "numpy.bool_(True)",
        "numpy.ones((2, 1))",
        "[1.0]",
        "2**40",
    ]
    cases = [list(pair) for pair in product(values, values)]
    assert [dropin_peer_calls.set_again(case) for case in cases] == ask("pairs", cases)
