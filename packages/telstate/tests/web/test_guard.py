"""Which requests are refused: by host, by method, without the token; and the headers of all answers."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from web_client import TIMEOUT, Answer, Client, serve

from telstate import TelescopeState
from telstate.web import _guard, create_app

TOKEN = "correct horse battery staple"
API = (
    "store",
    "overview",
    "keys",
    "summary",
    "value",
    "samples",
    "plot",
    "indexed",
    "csv",
    "events",
)


def state() -> TelescopeState:
    """Return a telescope state with one sensor."""
    ts = TelescopeState()
    ts.add("gain", 1.5, ts=1.0)
    return ts


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A client of a page that needs no token."""
    with serve(create_app(state(), allowed_hosts=["Telstate.Example.org"])) as client:
        yield client


@pytest.fixture(scope="module")
def locked() -> Iterator[Client]:
    """A client of a page that needs a token."""
    with serve(create_app(state(), token=TOKEN)) as client:
        yield client


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:1234",
        "127.0.0.1",
        "127.0.0.1:80",
        "[::1]:8080",
        "telstate.example.org",
        "telstate.example.org.:443",
        "[::ffff:127.0.0.1]",
    ],
)
def test_allowed_hosts(client: Client, host: str) -> None:
    """Names of this machine, its address, and names that were allowed are answered, with any port."""
    assert client.request("GET", "/api/store", Host=host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.2",
        "10.0.0.1",
        "[::2]",
        "localhost@evil.example",
        "localhost:80:80",
        "localhost evil.example",
        "",
        "[localhost",
        "2130706433",
        "0.0.0.0",
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/keys", "/static/plotly.min.js", "/api/login"])
def test_other_hosts_are_refused(client: Client, host: str, path: str) -> None:
    """A page that has its name point here reads nothing, not even the page."""
    method = "POST" if path == "/api/login" else "GET"
    answer = client.request(method, path, Host=host)
    assert answer.status in (400, 403)
    assert b"gain" not in answer.body


def test_addresses_of_the_connection() -> None:
    """On all addresses of the machine, only the one at which the connection arrived is a host."""
    with serve(create_app(state()), "0.0.0.0") as client:
        here = Client(client.port)
        assert here.request("GET", "/api/store", Host=f"127.0.0.1:{client.port}").status == 200
        assert here.request("GET", "/api/store", Host="192.0.2.1").status == 403
        assert here.request("GET", "/api/store", Host="evil.example").status == 403
        other = Client(client.port, "127.0.0.2")
        assert other.request("GET", "/api/store").status == 200


def test_ipv6() -> None:
    """The check is the same on IPv6."""
    with serve(create_app(state()), "::1") as client:
        assert client.request("GET", "/api/store", Host=f"[::1]:{client.port}").status == 200
        assert client.request("GET", "/api/store", Host="[0:0::1]").status == 200
        assert client.request("GET", "/api/store", Host="[2001:db8::1]").status == 403
        assert client.request("GET", "/api/store", Host="evil.example").status == 403


@pytest.mark.parametrize(
    "path", ["/", "/api/store", "/api/plot?key=gain", "/api/csv?key=gain", "/x"]
)
@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"]
)
def test_nothing_can_be_written(client: Client, path: str, method: str) -> None:
    """Methods other than GET and HEAD are refused everywhere."""
    assert client.request(method, path, b"{}").status == 405


@pytest.mark.parametrize(
    "site, status",
    [("same-origin", 200), ("none", 200), ("cross-site", 403), ("same-site", 403), ("x", 403)],
)
def test_other_sites_cause_no_work(client: Client, site: str, status: int) -> None:
    """A browser that shows another site has nothing computed, but may follow a link to the page."""
    for path in ("/api/overview", "/api/plot?key=gain", "/api/csv?key=gain"):
        assert client.request("GET", path, Sec_Fetch_Site=site).status == status
    assert client.request("GET", "/", Sec_Fetch_Site=site).status == 200


def test_head(client: Client) -> None:
    """HEAD is answered without a body."""
    for path in ("/", "/api/store", "/api/csv?key=gain", "/api/events"):
        answer = client.request("HEAD", path)
        assert answer.status in (200, 204)
        assert answer.body == b""


@pytest.mark.parametrize(
    "path", ["/", "/api/store", "/api/value?key=missing", "/x", "/api/csv?key=gain"]
)
def test_headers(client: Client, path: str) -> None:
    """Every answer has the headers that protect the page, and answers about data are not stored."""
    headers = client.request("GET", path).headers
    policy = dict(one.split(" ", 1) for one in headers["content-security-policy"].split("; "))
    assert policy["script-src"] == "'self'"
    assert policy["default-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers
    if path.startswith("/api/"):
        assert headers["cache-control"] == "no-store"


def log_in(client: Client, content: object, **headers: str) -> Answer:
    """Send a token."""
    return client.request("POST", "/api/login", json.dumps(content).encode(), **headers)


@pytest.mark.parametrize("name", API)
def test_data_needs_the_token(locked: Client, name: str) -> None:
    """Without the cookie, and with a wrong one, there is no data, no download and no event."""
    path = f"/api/{name}?key=gain"
    assert locked.request("GET", path).status == 401
    assert locked.request("HEAD", path).status == 401
    cookie = log_in(locked, {"token": TOKEN}).headers["set-cookie"].partition(";")[0]
    cookie_name, _, value = cookie.partition("=")
    for wrong in (
        f"{cookie_name}={TOKEN}",
        f"{cookie_name}=",
        f"x={value}",
        f"{cookie[:-1]}g",
        "=",
    ):
        assert locked.request("GET", path, Cookie=wrong).status == 401
    # Another application at this host may have set cookies of any form.
    for others in ("a=b", 'a={"b": [1, 2]}', "a b", "=;;"):
        answer = locked.request("GET", path, Cookie=f"{others}; {cookie}; c=d")
        assert answer.status in (200, 204, 400)


def test_the_page_itself_needs_no_token(locked: Client) -> None:
    """The page, which asks for the token, and its scripts have no data."""
    assert locked.get("").status == 200
    assert locked.get("static/plotly.min.js").status == 200


def test_mounted() -> None:
    """Below a path of another application, the same is refused, and the cookie is for that path."""
    app = Starlette(routes=[Mount("/below/this", create_app(state(), token=TOKEN))])
    with serve(app) as client:
        below = "/below/this"
        assert client.request("GET", f"{below}/").status == 200
        assert client.request("GET", f"{below}/static/plotly.min.js").status == 200
        assert client.request("GET", f"{below}/api/store").status == 401
        assert client.request("GET", f"{below}/api/store", Host="evil.example").status == 403
        assert client.request("POST", f"{below}/api/store", b"").status == 405
        body = json.dumps({"token": TOKEN}).encode()
        cookie, *attributes = (
            client.request("POST", f"{below}/api/login", body).headers["set-cookie"].split("; ")
        )
        assert f"Path={below}/" in attributes
        answer = client.request("GET", f"{below}/api/keys", Cookie=cookie)
        assert answer.json()["keys"] == [["gain", "m"]]
        for path in ("//api/keys", "/static/../api/keys", "/static/%2e%2e/api/keys", "/api//keys"):
            assert client.request("GET", below + path).status in (401, 404)


def test_cookie(locked: Client) -> None:
    """Scripts and other sites cannot use the cookie, and it does not hold the token."""
    answer = log_in(locked, {"token": TOKEN})
    assert (answer.status, answer.body) == (204, b"")
    cookie, *attributes = answer.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} == set(attributes)
    assert TOKEN not in cookie


@pytest.mark.parametrize(
    "content",
    [{"token": TOKEN[:-1]}, {"token": ""}, {"token": None}, {"token": "\ud800"}, {}, [TOKEN], None],
)
def test_wrong_tokens(locked: Client, content: object) -> None:
    """Other tokens are refused, whatever is sent."""
    answer = log_in(locked, content)
    assert answer.status == 401
    assert "set-cookie" not in answer.headers


def test_long_logins_are_refused(locked: Client) -> None:
    """A body of a login is short."""
    assert locked.request("POST", "/api/login", b" " * 100_000).status == 413
    assert locked.request("POST", "/api/login", b"[" * 4000).status == 401


def test_slow_logins_are_refused(locked: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A login whose body does not arrive does not keep its connection."""
    monkeypatch.setattr(_guard, "_BODY_SECONDS", 0.1)
    head = b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"
    with socket.create_connection(("127.0.0.1", locked.port), TIMEOUT) as connection:
        connection.sendall(head)
        assert connection.recv(100).startswith(b"HTTP/1.1 408 ")


def test_login_without_a_token(client: Client) -> None:
    """Where no token is needed, a page that has one may log in."""
    assert log_in(client, {"token": "old"}).status == 204


def test_an_empty_token_is_refused() -> None:
    """A token that is empty by mistake does not open the page to everybody."""
    with pytest.raises(ValueError, match="empty"):
        create_app(state(), token="")
