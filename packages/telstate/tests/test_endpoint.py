"""Parsing and formatting endpoints and lists of endpoints."""

import argparse
import ipaddress
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telstate.endpoint import Endpoint, endpoint_list_parser, endpoint_parser, endpoints_to_str


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("a", "a", 7148),
        ("a:1", "a", 1),
        ("[::1]:5", "::1", 5),
        ("[::1]", "::1", 7148),
        ("", "", 7148),
        (":5", "", 5),
        ("1.2.3.4:0", "1.2.3.4", 0),
    ],
)
def test_parse(text: str, host: str, port: int) -> None:
    """Host and port are parsed, and a missing port is the default one."""
    assert endpoint_parser(7148)(text) == Endpoint(host, port)


@pytest.mark.parametrize("text", ["a:", "a:b", "[a]:3", "fe80::1%eth0", "[::1%lo]:3"])
def test_parse_refuses(text: str) -> None:
    """Text that is not an endpoint raises a ValueError that shows it."""
    with pytest.raises(ValueError, match="is not an endpoint"):
        endpoint_parser(7148)(text)


@pytest.mark.parametrize("make", [endpoint_parser, endpoint_list_parser])
def test_refusals_on_the_command_line(
    make: Callable[[int], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """argparse prints the reason for refusing an endpoint, and the error can be pickled."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--telstate", type=make(6379))
    with pytest.raises(SystemExit):
        parser.parse_args(["--telstate", "localhost:ssh"])
    assert (
        "'localhost:ssh' is not an endpoint: 'ssh' is not a port number" in capsys.readouterr().err
    )
    with pytest.raises(ValueError) as caught:
        make(6379)("localhost:ssh")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), again.args) == (type(caught.value), caught.value.args)


def test_no_default_port() -> None:
    """Without a default port the port is None."""
    assert endpoint_parser(None)("a") == Endpoint("a", None)


def test_endpoint_as_value() -> None:
    """An endpoint is hashable, unpacks as a pair, and writes IPv6 hosts in brackets."""
    host, port = Endpoint("::1", 5)
    assert (host, port) == ("::1", 5)
    assert str(Endpoint("::1", 5)) == "[::1]:5"
    assert repr(Endpoint("x", 1)) == "Endpoint('x', 1)"
    assert {Endpoint("x", 1)} == {Endpoint("x", 1)}


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("a,b:4", ["a:7148", "b:4"]),
        ("1.2.3.4+2", ["1.2.3.4:7148", "1.2.3.5:7148", "1.2.3.6:7148"]),
        ("1.2.3.255+1:7", ["1.2.3.255:7", "1.2.4.0:7"]),
        ("1.2.3.4+0", ["1.2.3.4:7148"]),
    ],
)
def test_parse_list(text: str, hosts: list[str]) -> None:
    """A list can have runs of consecutive IPv4 addresses."""
    assert [str(one) for one in endpoint_list_parser(7148)(text)] == hosts


@pytest.mark.parametrize(
    "text",
    ["a+2", "1.2.3.4+-1", "1.2.3.4+", "1.2.3.4+x", "255.255.255.255+1", "[::1]+2:3", "1.2.3.4:7+2"],
)
def test_parse_list_refuses(text: str) -> None:
    """Text that is not a run raises a ValueError that shows it."""
    with pytest.raises(ValueError, match="is no"):
        endpoint_list_parser(7148)(text)


def test_single_port() -> None:
    """With `single_port`, different ports are refused."""
    parse = endpoint_list_parser(7, single_port=True)
    assert len(parse("1.2.3.4+1,5.6.7.8:7")) == 3
    with pytest.raises(ValueError, match="same port"):
        parse("a:7,b:8")


@pytest.mark.parametrize(
    ("endpoints", "text"),
    [
        ([], ""),
        ([("1.2.3.4", 7), ("1.2.3.4", 7)], "1.2.3.4:7,1.2.3.4:7"),
        ([("1.2.3.255", 7), ("1.2.4.0", 7)], "1.2.3.255+1:7"),
        ([("::1", 5), ("::2", 5)], "[::1]+1:5"),
        (
            [("b", None), ("a", 3), ("::1", 5), ("1.2.3.4", 9), ("1.2.3.4", None)],
            "1.2.3.4,1.2.3.4:9,[::1]:5,b,a:3",
        ),
        (
            [("10.0.0.1", 7), ("9.0.0.2", 7), ("z", 2), ("y", 2), ("::ff", 2), ("::e", 2)],
            "9.0.0.2:7,10.0.0.1:7,[::e]:2,[::ff]:2,z:2,y:2",
        ),
    ],
)
def test_to_str(endpoints: list[tuple[str, int | None]], text: str) -> None:
    """Runs are written as such; IPv4 addresses come first, then IPv6, then names, each by port."""
    assert endpoints_to_str([Endpoint(host, port) for host, port in endpoints]) == text


@given(
    st.lists(
        st.tuples(
            st.integers(0, 40).map(lambda number: str(ipaddress.IPv4Address(number))),
            st.integers(0, 3),
        )
    )
)
def test_round_trip(pairs: list[tuple[str, int]]) -> None:
    """Parsing the text of endpoints returns the same endpoints."""
    endpoints = [Endpoint(host, port) for host, port in pairs]
    text = endpoints_to_str(endpoints)
    unfolded = endpoint_list_parser(None)(text) if text else []
    assert sorted(map(str, unfolded)) == sorted(map(str, endpoints))
