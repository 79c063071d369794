"""What is wrong with a URL is told before anything is connected, and never what is in it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telstate_backends import AsyncRedisBackend, RedisBackend
from telstate_backends.redis.url import connect, connect_async, parse, target_of

SLIPS = [
    # URL, a part of what is said
    ("redis://host/abc", "database in this redis:// URL is not a whole number"),
    ("redis://host/-1", "not a whole number"),
    ("redis://host/1/2", "not a whole number"),
    ("redis://host/1_0", "not a whole number"),
    ("rediss://host/abc", "form is rediss://host:port/0"),
    ("redis://host/1?db=2", "only one"),
    ("redis://host?db=abc", "option db"),
    ("redis://host?db=-1", "no database -1"),
    ("redis://host?socket_timeout=soon", "option socket_timeout"),
    ("redis+sentinel://host/store/abc", r"form is redis\+sentinel://host:port,host:port/service/0"),
    ("redis+sentinel://host/store/1/2", "not a whole number"),
    ("redis+sentinel://host/store?db=abc", "option db"),
    ("redis+sentinel://host:26379", "name the service"),
    ("redis+sentinel://host:26379/", "name the service"),
    ("redis+sentinel://host/store?sentinel_socket_timeout=soon", "option sentinel_socket_timeout"),
    ("redis+sentinel://host/store?min_other_sentinels=few", "option min_other_sentinels"),
    ("redis+cluster://host/abc", "not a whole number"),
    ("redis+cluster://host?db=abc", "option db"),
    ("redis+cluster://host,,other", "quote special characters"),
    ("redis://::1", r"redis://\[::1\]:6379"),
    ("redis://fe80::1:6379/0", "brackets"),
    ("redis+sentinel://host,::1/store", "brackets"),
    ("redis://host:0", "number from 1 to 65535"),
    ("redis://host:65536", "number from 1 to 65535"),
    ("redis+cluster://host:port", "number from 1 to 65535"),
    ("redis://:hush/hush@host", "quote special characters"),
    ("redis://:hu#sh@host", "%23"),
    ("redis://host :6379", "blank"),
    ("redis:// host", "blank"),
    ("redis://host/1\n2", "line break"),
    ("unix://tmp/a.sock", "unix:///tmp/redis.sock"),
    ("unix://", "absolute path"),
    ("redis-sentinel://host/store", r"'redis-sentinel://' is no scheme.* mean redis\+sentinel://"),
    ("http://host", "'http://' is no scheme of ours; use redis://"),
    ("hush1:hush@host://", "^this is no scheme"),
    ("host:6379", "starts with its scheme"),
]


@pytest.mark.parametrize(("url", "said"), SLIPS)
async def test_slips(url: str, said: str) -> None:
    """Each usual slip is a ValueError that says what to write, in both manners, and shows no password."""
    with pytest.raises(ValueError, match=said) as caught:
        RedisBackend.from_url(url)
    assert "hush" not in str(caught.value) and caught.value.__cause__ is None
    with pytest.raises(ValueError, match=said) as caught:
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
def test_what_is_no_slip(url: str, host: str, database: int | None) -> None:
    """Blanks around a URL, capitals, a slash at the end and the like mean what they seem to."""
    arguments = target_of(url, None).arguments()
    assert (arguments["host"], arguments.get("db")) == (host, database)


def test_blanks_in_a_list() -> None:
    """Hosts may be separated by a comma and a blank."""
    assert target_of("redis+cluster://a:1, b", None).hosts == [("a", 1), ("b", 6379)]


async def test_options_for_sentinels() -> None:
    """They mean what those for servers mean, in both manners; what is for the servers is theirs alone."""
    own = {"socket_timeout": 1.5, "socket_keepalive": False, "health_check_interval": 3, "db": 2}
    listed = "&".join(f"sentinel_{name}={value}" for name, value in own.items())
    options = f"{listed}&sentinel_password=1&min_other_sentinels=1&max_connections=7"
    target = target_of(f"redis+sentinel://a,b/store?{options}", None)
    made: list[Any] = [connect(target), connect_async(target)]
    for pool in (client.connection_pool for client in made):
        assert pool.sentinel_manager.min_other_sentinels == 1
        assert (pool.max_connections, pool.connection_kwargs["socket_timeout"]) == (7, 5.0)
        for sentinel in pool.sentinel_manager.sentinels:
            given = sentinel.connection_pool.connection_kwargs
            assert {name: given[name] for name in own} == own
            credentials = given["credential_provider"].get_credentials()
            assert credentials[-1] == "1"


@given(st.integers(0, 10**6), st.sampled_from(["redis://h/{}", "redis+sentinel://h/s/{}"]))
def test_every_database(number: int, form: str) -> None:
    """A whole number is the database."""
    assert target_of(form.format(number), None).arguments()["db"] == number


@given(st.text(st.characters(exclude_characters="?#%", exclude_categories=["Cs"]), min_size=1))
def test_no_path_is_overlooked(path: str) -> None:
    """Whatever follows the host leads to the database that it names, or is refused."""
    try:
        chosen = target_of(f"redis://host/{path}", None).arguments().get("db")
    except ValueError:
        return
    digits = path.strip().strip("/")
    assert chosen == (int(digits) if digits.isdigit() else None)
    assert digits.isdigit() or not digits


@pytest.mark.parametrize("url", [None, b"redis://host", ("host", 6379)])
def test_what_is_no_string(url: Any) -> None:
    """What is no string is a TypeError that says what a URL looks like."""
    with pytest.raises(TypeError, match="a URL is a string, not a .*redis://host:port/db"):
        RedisBackend.from_url(url)


@pytest.mark.parametrize(
    "url, hosts, service",
    [
        ("redis+sentinel://a:1,b/store/2", [("a", 1), ("b", 26379)], "store"),
        ("redis+sentinel://u:p%40@[::1]:5/my%20store", [("::1", 5)], "my store"),
        ("redis+cluster://a,[::2]", [("a", 6379), ("::2", 6379)], ""),
        ("rediss+cluster://:p@a:7?socket_timeout=2", [("a", 7)], ""),
        ("redis://a:1/3", [], ""),
    ],
)
def test_urls(url: str, hosts: list[tuple[str, int]], service: str) -> None:
    """URLs of Sentinels and clusters give their hosts, the service, and everything else."""
    target = parse(url, None)
    assert (target.hosts, target.service) == (hosts, service)
    assert target.arguments()["socket_timeout"] == (2.0 if "timeout" in url else 5.0)
    assert target.arguments().get("db") == {"2": 2, "3": 3}.get(url[-1] if url[-2] == "/" else "")
    assert target.arguments().get("ssl", False) == url.startswith("rediss+")


@pytest.mark.parametrize(
    "url, db",
    [("redis://a/1", 2), ("http://a", None), ("redis+sentinel://a", None), ("redis", None)],
)
def test_contradictions_in_urls(url: str, db: int | None) -> None:
    """A URL that says something else than `db`, or is none of ours, is a ValueError."""
    with pytest.raises(ValueError):
        parse(url, db)
