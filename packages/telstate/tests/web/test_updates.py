"""Updates of a live store: each page has the latest values, whatever happens to the server and to other pages."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
import redis
from web_client import TIMEOUT, Client, query, serve

from telstate import TelescopeState
from telstate.web import _live, create_app
from telstate.web._live import MAX_CHANGES, MAX_STREAMS, Page
from telstate_backends import KeyType
from telstate_testing import RedisBinary, RedisServer


@pytest.fixture
def server(newest: RedisBinary) -> Iterator[RedisServer]:
    """A server of its own, which may be killed."""
    with RedisServer(newest) as server:
        yield server


@pytest.fixture
def client(newest_port: int) -> Iterator[Client]:
    """A client of a page over an empty server."""
    with serve(create_app(f"127.0.0.1:{newest_port}")) as client:
        yield client


@pytest.fixture
def ts(newest_port: int) -> Iterator[TelescopeState]:
    """A telescope state on the same server."""
    with TelescopeState(f"127.0.0.1:{newest_port}") as ts:
        yield ts


def subscriptions(port: int) -> int:
    """Return the number of patterns to which the clients of a server are subscribed."""
    with redis.Redis(port=port) as connection:
        return int(connection.pubsub_numpat())


def test_present_state_comes_first(client: Client, ts: TelescopeState) -> None:
    """A page that is opened is sent the state of its keys, and nothing of others."""
    ts.add("gain", 1.5, ts=100.0)
    ts["n_chans"] = 4096
    ts.set_indexed("peak", "sun", 1)
    with client.stream("gain", "n_chans", "peak", "missing") as stream:
        assert stream.next().name == "ready"
        events = [stream.next() for _ in range(3)]
        ts.set_indexed("peak", "moon", 2)
        # Which sub-key is sent first is arbitrary, so that one is not shown as news.
        assert stream.until("update", text="['moon'] = 2")["any"] is False
    assert [event.content for event in events] == [
        {"key": "gain", "kind": "m", "time": 100.0, "text": "1.5", "any": False},
        {"key": "n_chans", "kind": "a", "time": None, "text": "4096", "any": False},
        {"key": "peak", "kind": "i", "time": None, "text": "['sun'] = 1", "any": True},
    ]


def test_updates(client: Client, ts: TelescopeState) -> None:
    """Values arrive as they are written, and only those of keys that were asked for."""
    ts.add("gain", 1.5, ts=100.0)
    with client.stream("gain") as stream:
        stream.until("ready")
        ts.add("other", 1, ts=1.0)
        ts.add("gain", 2.5, ts=101.0)
        assert stream.until("update", text="2.5")["time"] == 101.0
        ts.add("gain", "</script>", ts=102.0)
        assert stream.until("update")["text"] == "'</script>'"


def test_new_and_deleted_keys(client: Client, ts: TelescopeState) -> None:
    """Keys appear and disappear on a page, whichever it shows."""
    ts["n_chans"] = 4096
    with client.stream() as stream:
        digest = stream.until("ready")["digest"]
        assert client.json("keys")["digest"] == digest
        ts.add("<b>", 1, ts=1.0)
        assert stream.until("keys")["added"] == [["<b>", "m"]]
        ts.delete("n_chans")
        assert stream.until("keys")["deleted"] == ["n_chans"]
        ts.clear()
        assert stream.until("keys") == {"reload": True}
        assert client.json("keys")["digest"] != digest


def test_view(newest_port: int, ts: TelescopeState) -> None:
    """With prefixes, pages learn of keys that begin with one of them; glob characters stand for themselves."""
    with serve(create_app(f"127.0.0.1:{newest_port}", prefixes=["a*_"])) as client:
        with client.stream() as stream:
            stream.until("ready")
            ts["ab_c"] = 1
            ts["a*_c"] = 2
            assert stream.until("keys")["added"] == [["a*_c", "a"]]
            assert client.json("keys")["keys"] == [["a*_c", "a"]]


def test_one_subscription_for_all_pages(
    client: Client, ts: TelescopeState, newest_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many pages are open, the server has one subscriber; when all are closed, it has none."""
    monkeypatch.setattr(_live, "LINGER", 0.0)
    with redis.Redis(port=newest_port) as connection:
        before = len(connection.client_list())
        with client.stream("gain") as first, client.stream("gain") as second:
            for stream in (first, second):
                stream.until("ready")
            connected = len(connection.client_list()) - before
            with client.stream("gain") as third:
                third.until("ready")
                assert len(connection.client_list()) - before == connected
            ts.add("gain", 1, ts=1.0)
            for stream in (first, second):
                stream.until("update", text="1")
        deadline = time.monotonic() + TIMEOUT
        while subscriptions(newest_port):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_page_that_opens_again(client: Client, ts: TelescopeState, newest_port: int) -> None:
    """A page that opens again for other keys finds the store still watched, and has the state of now."""
    ts.add("gain", 1, ts=1.0)
    with client.stream("gain") as stream:
        stream.until("update", text="1")
    with redis.Redis(port=newest_port) as connection:
        before = connection.info("stats")["total_connections_received"]
        for number in range(3):
            ts.add("gain", number, ts=2.0 + number)
            with client.stream("gain") as stream:
                stream.until("ready")
                stream.until("update", text=str(number))
        assert connection.info("stats")["total_connections_received"] == before


def test_lost_and_regained(server: RedisServer) -> None:
    """A page learns that the server is lost and back, and then has the state of now."""
    with TelescopeState(server.url) as ts:
        ts.add("gain", 1.5, ts=100.0)
        ts["gone"] = 1
        with serve(create_app(server.url)) as client, client.stream("gain") as stream:
            stream.until("update", text="1.5")
            server.kill()
            assert f":{server.port}" in stream.until("lost")["why"]
            answer = client.get("api/keys")
            assert (answer.status, "retry-after" in answer.headers) == (503, True)
            with client.stream("gain") as late:
                assert late.next().name == "lost"
            server.start()
            ts.add("gain", 2.5, ts=101.0)
            stream.until("regained")
            assert stream.until("update", text="2.5")["time"] == 101.0
            assert client.json("value", "gain")["value"] == 2.5
            assert client.json("keys")["keys"] == [["gain", "m"]]
            ts.add("gain", 3.5, ts=102.0)
            stream.until("update", text="3.5")


def test_keys_that_others_delete_silently(
    client: Client, ts: TelescopeState, newest_port: int
) -> None:
    """Where no update says so, a lost subscription makes the page compare its keys with those of the server."""
    ts["gone"] = 1
    with client.stream("gone") as stream, redis.Redis(port=newest_port) as connection:
        stream.until("update")
        connection.delete("gone")
        connection.client_kill_filter(_type="pubsub")
        assert stream.until("keys")["deleted"] == ["gone"]


def test_only_reading_is_permitted(server: RedisServer) -> None:
    """A user who may only read and subscribe can have the page, and the server sees no command that writes."""
    with TelescopeState(server.url) as ts:
        ts.add("gain", 1.5, ts=100.0)
        ts["n_chans"] = 4096
        ts.set_indexed("peak", "sun", 1)
    with redis.Redis(port=server.port) as connection:
        rights = ["+@read", "+@connection", "+ping", "+info", "+subscribe", "+psubscribe"]
        rights += ["+unsubscribe", "+punsubscribe", "-@write", "-@dangerous", "+keys", "+info"]
        rights += ["+eval_ro", "+evalsha_ro", "+multi", "+exec"]
        connection.execute_command("ACL", "SETUSER", "reader", "on", ">secret", "~*", "&*", *rights)
        connection.config_resetstat()
        url = f"redis://reader:secret@127.0.0.1:{server.port}"
        with serve(create_app(url)) as client, client.stream("gain") as stream:
            stream.until("update", text="1.5")
            assert "secret" not in client.get("api/store").body.decode()
            client.json("keys")
            client.json("overview")
            client.json("summary", "gain", "peak")
            client.json("value", "n_chans")
            client.json("indexed", "peak")
            client.json("plot", "gain")
            client.json("samples", "gain")
            assert client.get("api/csv", "gain").status == 200
        used = connection.info("commandstats")
        commands = {name.removeprefix("cmdstat_").partition("|")[0] for name in used}
        flags = connection.command()
        writing = {name for name, about in flags.items() if "write" in about["flags"]}
        assert not commands & writing


def test_updates_that_may_not_be_watched(server: RedisServer) -> None:
    """A user without the right to subscribe is told so, and can read everything."""
    with TelescopeState(server.url) as ts:
        ts.add("gain", 1.5, ts=100.0)
    with redis.Redis(port=server.port) as connection:
        connection.execute_command(
            "ACL", "SETUSER", "reader", "on", ">secret", "~*", "resetchannels", "+@all"
        )
    with serve(create_app(f"redis://reader:secret@127.0.0.1:{server.port}")) as client:
        with client.stream("gain") as stream:
            assert "cannot be watched" in stream.until("lost")["why"]
            assert client.json("value", "gain")["value"] == 1.5


def test_limit_of_streams(client: Client) -> None:
    """A hundred pages can be open; another one is told to wait, and can be opened when one is closed."""
    streams = [client.stream() for _ in range(MAX_STREAMS)]
    try:
        assert {stream.status for stream in streams} == {200}
        answer = client.get("api/events")
        assert (answer.status, answer.json()["error"]) == (
            503,
            "100 pages are open, and no more can be.",
        )
        streams.pop().__exit__(None, None, None)
        deadline = time.monotonic() + TIMEOUT
        while True:
            stream = client.stream()
            if stream.status == 200:
                streams.append(stream)
                break
            stream.__exit__(None, None, None)
            assert time.monotonic() < deadline
    finally:
        for stream in streams:
            stream.__exit__(None, None, None)


def test_a_slow_page_has_the_latest_values(client: Client, ts: TelescopeState) -> None:
    """A page that does not read makes nobody wait, and continues with the latest value."""
    ts.add("gain", 0, ts=0.0)
    with socket.create_connection(("127.0.0.1", client.port), timeout=TIMEOUT) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        path = f"/api/events{query('gain')}"
        slow.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        with client.stream("gain") as stream:
            stream.until("ready")
            for number in range(1, 3001):
                ts.add("gain", number, ts=float(number))
            stream.until("update", text="3000")
        received, deadline = b"", time.monotonic() + TIMEOUT
        while b'"3000"' not in received:  # heartbeats arrive even if it never does
            assert time.monotonic() < deadline
            received = received[-100:] + slow.recv(65536)


def test_what_waits_for_a_page_is_bounded() -> None:
    """A page that is not read holds one value of each key, and so many changes of the list."""
    page = Page([b"gain"])
    for number in range(3 * MAX_CHANGES):
        page.change(b"%d" % number, KeyType.MUTABLE)
        assert page.waiting <= MAX_CHANGES
    assert page.take() == [("keys", {"reload": True})]
    assert page.take() == []


def test_memory_that_changes() -> None:
    """A store in memory that other code writes to can be shown as a live one."""
    ts = TelescopeState()
    ts.add("gain", 1, ts=1.0)
    with serve(create_app(ts, live=True)) as client, client.stream("gain") as stream:
        stream.until("update", text="1")
        ts.add("gain", 2, ts=2.0)
        stream.until("update", text="2")
        assert client.json("plot", "gain")["n"] == 2
        for number in range(3, 6):
            ts.add("gain", number, ts=float(number))
            assert client.json("plot", "gain")["high"] == list(range(1, number + 1))
        ts.add("gain", 1.5, ts=1.5)  # later than its time
        assert client.json("plot", "gain")["high"] == [1, 1.5, 2, 3, 4, 5]
        ts.add("gain", "text", ts=9.0)
        assert client.json("plot", "gain")["type"] == "bands"
