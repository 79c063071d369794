"""URLs: what they mean, and which are refused before anything is connected."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telstate_backends import AsyncRedisBackend, RedisBackend
from telstate_backends.redis.url import connect, connect_async, parse_url

REFUSED = [
    # URL, a part of the message
    ("redis://host/abc", "database that is not a whole number"),
    ("redis://host/-1", "not a whole number"),
    ("redis://host/1/2", "not a whole number"),
    ("redis://host/1_0", "not a whole number"),
    ("redis+sentinel://host/store/abc", "not a whole number"),
    ("redis+cluster://host/abc", "not a whole number"),
    ("redis://host/1?db=2", "two databases"),
    ("redis://host?db=-1", "no database -1"),
    ("redis+cluster://host/2", "database 0 only"),
    ("redis://host?socket_timeout=soon", "not valid"),
    ("redis+sentinel://host/store?sentinel_socket_timeout=soon", "not valid"),
    ("redis+sentinel://host/store?min_other_sentinels=few", "not valid"),
    ("redis+sentinel://host:26379/", "name the service"),
    ("redis+cluster://host,,other", "not valid"),
    ("redis://::1", r"redis://\[::1\]:6379"),
    ("redis+sentinel://host,::1/store", "brackets"),
    ("redis://host:0", "port 0"),
    ("redis+cluster://host:00", "port 0"),
    ("redis://host:65536", "not valid"),
    ("redis+cluster://host:port", "not valid"),
    ("redis://:hush/hush@host", "quote special characters"),
    ("redis://:hu#sh@host", "%23"),
    ("redis://host/1\n2", "line break"),
    ("unix://tmp/a.sock", "unix:///path"),
    ("unix://", "absolute path"),
    ("http://host", "one of redis, rediss"),
    ("hush1:hush@host://", "scheme"),
    ("host:6379", "begins with its scheme, such as redis://"),
]


@pytest.mark.parametrize(("url", "message"), REFUSED)
async def test_refused_urls(url: str, message: str) -> None:
    """A URL that cannot be read as it is meant is a ValueError, which shows no password."""
    with pytest.raises(ValueError, match=message) as caught:
        RedisBackend.from_url(url)
    assert "hush" not in str(caught.value) and caught.value.__cause__ is None
    with pytest.raises(ValueError, match=message) as caught:
        await AsyncRedisBackend.from_url(url)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "host", "database"),
    [
        (" redis://host/2\n", "host", 2),
        ("REDIS://host/%32/", "host", 2),
        ("redis://host/", "host", None),
        ("redis://host/2?db=2", "host", 2),
        ("redis://[::1]:7/2", "::1", 2),
        ("redis://u:p w@host:7/2", "host", 2),
    ],
)
def test_accepted_urls(url: str, host: str, database: int | None) -> None:
    """Blanks around a URL, capitals, a slash at the end and the like mean what they seem to."""
    arguments = parse_url(url, None).arguments
    assert (arguments["host"], arguments.get("db")) == (host, database)


@pytest.mark.parametrize(
    "url, hosts, service",
    [
        ("redis+sentinel://a:1,b/store/2", [("a", 1), ("b", 26379)], "store"),
        ("redis+sentinel://u:p%40@[::1]:5/my%20store", [("::1", 5)], "my store"),
        ("redis+cluster://a,[::2]", [("a", 6379), ("::2", 6379)], ""),
        ("redis+cluster://a:1, b", [("a", 1), ("b", 6379)], ""),
        ("rediss+cluster://:p@a:7?socket_timeout=2", [("a", 7)], ""),
        ("redis://a:1/3", [], ""),
    ],
)
def test_lists_of_hosts(url: str, hosts: list[tuple[str, int]], service: str) -> None:
    """URLs of Sentinels and clusters give their hosts, the service, and everything else."""
    parsed = parse_url(url, None)
    assert (parsed.hosts, parsed.service) == (hosts, service)
    assert parsed.arguments["socket_timeout"] == (2.0 if "timeout" in url else 5.0)
    assert parsed.arguments.get("db") == {"2": 2, "3": 3}.get(url[-1] if url[-2] == "/" else "")
    assert parsed.arguments.get("ssl", False) == url.startswith("rediss+")


def test_two_databases() -> None:
    """The argument `db` must not contradict the URL."""
    assert parse_url("redis://a", 2).arguments["db"] == 2
    with pytest.raises(ValueError, match="database 1, but db is 2"):
        parse_url("redis://a/1", 2)


@pytest.mark.parametrize("place", ["redis://{}a", "redis+sentinel://{}a/s", "redis+cluster://{}a"])
def test_passwords_are_not_shown(place: str) -> None:
    """Neither the parsed URL nor the arguments show the password."""
    parsed = parse_url(place.format("anna:hush@") + "?sentinel_password=hush", None)
    assert "hush" not in repr(parsed) and "hush" not in repr(parsed.arguments)
    assert parsed.arguments["credential_provider"].get_credentials() == ("anna", "hush")


async def test_options_for_sentinels() -> None:
    """They mean what those for servers mean; what is for the servers is theirs alone."""
    own = {"socket_timeout": 1.5, "socket_keepalive": False, "health_check_interval": 3, "db": 2}
    listed = "&".join(f"sentinel_{name}={value}" for name, value in own.items())
    options = f"{listed}&sentinel_password=1&min_other_sentinels=1&max_connections=7"
    parsed = parse_url(f"redis+sentinel://a,b/store?{options}", None)
    made: list[Any] = [connect(parsed), connect_async(parsed)]
    for pool in (client.connection_pool for client in made):
        assert pool.sentinel_manager.min_other_sentinels == 1
        assert (pool.max_connections, pool.connection_kwargs["socket_timeout"]) == (7, 5.0)
        for sentinel in pool.sentinel_manager.sentinels:
            arguments = sentinel.connection_pool.connection_kwargs
            assert {name: arguments[name] for name in own} == own
            credentials = arguments["credential_provider"].get_credentials()
            assert credentials[-1] == "1"


def test_the_name_of_the_library() -> None:
    """It is left out, unless the URL has one."""
    names = {"driver_info", "lib_name", "lib_version"}
    unnamed = parse_url("redis://host", None).arguments
    assert {unnamed[name] for name in names & unnamed.keys()} <= {None}
    named = parse_url("redis://host?lib_name=ours", None).arguments
    assert names & named.keys() == {"lib_name"}


@given(st.integers(0, 10**6), st.sampled_from(["redis://h/{}", "redis+sentinel://h/s/{}"]))
def test_every_database(number: int, form: str) -> None:
    """A whole number is the database."""
    assert parse_url(form.format(number), None).arguments["db"] == number


@given(st.text(st.characters(exclude_characters="?#%", exclude_categories=["Cs"]), min_size=1))
def test_no_path_is_overlooked(path: str) -> None:
    """Whatever follows the host leads to the database that it names, or is refused."""
    try:
        chosen = parse_url(f"redis://host/{path}", None).arguments.get("db")
    except ValueError:
        return
    digits = path.strip().strip("/")
    assert chosen == (int(digits) if digits.isdigit() else None)
    assert digits.isdigit() or not digits


def test_a_url_that_is_not_a_string() -> None:
    """The TypeError says what a URL looks like."""
    url: Any = b"redis://host"
    with pytest.raises(TypeError, match="A URL is a string, not a bytes.*redis://host:port/db"):
        RedisBackend.from_url(url)
