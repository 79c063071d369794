"""What the routes answer, whatever the keys and values are."""

from __future__ import annotations

import csv
import io
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from state_command import run
from web_client import Answer, Client, serve

from telstate import TelescopeState, aio, set_allow_pickle
from telstate.web import create_app
from telstate_backends import AddSample, SetImmutable
from telstate_codec import ENCODING_PICKLE, decode_key, encode_key, encode_value

#: Names that a page might take for markup, other keys, or nothing.
HOSTILE: list[str | bytes] = [
    "<script>alert(1)</script>",
    "a\nb\r\n\r\nSet-Cookie: c=d",
    b"\xff\xfe latin \xe9",
    "x" * 10_000,
    "\u202egnp.exe",
    "日本語" * 1000,
    "a&key=b",
    "#%2e%2e/../..",
    "\x00",
    "",
    '"\\u0000',
    b"\xed\xa0\x80",
]


@pytest.fixture(scope="module")
def ts() -> TelescopeState:
    """A telescope state with keys of all kinds."""
    ts = TelescopeState()
    ts["l0_n_chans"] = 4096
    ts["l0_stream_type"] = "sdp.vis"
    ts["nothing"] = None
    ts["nested"] = {"a": [1, (2.5, b"\xff")], "b": float("nan")}
    ts["line"] = np.linspace(-1.0, 1.0, 5000)
    ts["image"] = np.arange(1200 * 4, dtype="c8").reshape(1200, 4) * 1j
    ts["text_array"] = np.array(["a", "b"])
    ts["empty"] = np.zeros((0, 3))
    ts.add_many("gain", [1.5, math.nan, math.inf, 2.5], [1e9, 1e9 + 1, 1e9 + 2, 1e9 + 3])
    for number in range(4):
        ts.add_many(f"m{number:03}_target", ["J1939-6342, radec", "Sun"], [1e9, 1e9 + 60])
    ts.add("once", 1, ts=5.0)
    ts.set_indexed("peak", ("J1939-6342", 17), 1.5)
    ts.set_indexed("peak", ("J1939-6342", 3), 2.5)
    ts.add("pickled", [1, 2], immutable=True, encoding=ENCODING_PICKLE)
    ts.add("pickles", [1, 2], ts=1.0, encoding=ENCODING_PICKLE)
    ts.backend.execute(SetImmutable(b"corrupt", b"\xff\xc1"))
    return ts


@pytest.fixture(scope="module")
def client(ts: TelescopeState) -> Iterator[Client]:
    """A client of a page over that telescope state."""
    with serve(create_app(ts, name="test")) as client:
        yield client


def error_of(answer: Answer, status: int) -> str:
    """Return the message of an answer that is an error."""
    assert answer.status == status, answer
    message: str = answer.json()["error"]
    assert message.endswith(".")
    return message


def test_store(client: Client) -> None:
    """The page learns what it shows, and that it does not change."""
    store = client.json("store")
    assert (store["name"], store["live"], store["keys"]) == ("test", False, 18)
    assert client.get("api/events").status == 204


def test_keys_are_in_natural_order_and_in_the_tree(client: Client, ts: TelescopeState) -> None:
    """Every key is in the list, and reachable in the tree, where those that look alike are folded."""
    answer = client.json("keys")
    kinds = {"IMMUTABLE": "a", "MUTABLE": "m", "INDEXED": "i"}
    assert {name: kind for name, kind in answer["keys"]} == {
        name: kinds[kind.name] for name, kind in ts.key_types().items()
    }

    def walk(nodes: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for node in nodes:
            yield node
            yield from walk(node["children"])

    nodes = list(walk(answer["tree"]))
    assert sorted(node["key"] for node in nodes if node["key"]) == ts.keys()
    (folded,) = (node for node in nodes if node["fold"])
    assert (folded["label"], folded["count"]) == ("m000_target ... m003_target", 4)
    assert sum(node["count"] for node in answer["tree"]) == len(ts.keys())


def test_overview(client: Client) -> None:
    """The overview has what info shows, and the targets."""
    found = client.json("overview")
    assert found["keys"] == {"a": 10, "m": 7, "i": 1}
    assert found["antennas"] == ["m000", "m001", "m002", "m003"]
    assert found["streams"] == ["l0"]
    assert found["pickles"] == ["pickled", "pickles"]
    (sensor,) = found["targets"]
    assert [target["name"] for target in sensor["targets"]] == ["J1939-6342", "Sun"]
    assert found["rates"][0]["key"] == "gain"


def test_overview_of_a_file(real_snapshot: Path) -> None:
    """Of a file, the overview says what it is, and whether it is sound."""
    with serve(create_app(real_snapshot)) as client:
        found = client.json("overview")
        assert found["snapshot"]["sound"] is True
        assert found["snapshot"]["size"] == real_snapshot.stat().st_size
        assert client.json("store")["name"] == str(real_snapshot)


def test_summary(client: Client) -> None:
    """A line says what a key holds; keys that do not exist are left out."""
    lines = client.json("summary", "gain", "line", "missing", "peak")["keys"]
    found = {line["key"]: line for line in lines}
    assert set(found) == {"gain", "line", "peak"}
    assert (found["gain"]["samples"], found["gain"]["last"]) == (4, 1e9 + 3)
    assert found["line"]["type"] == "float64 (5000,)"


def test_value_is_exact(client: Client) -> None:
    """A value is in the form that `telstate get --json` prints, and as text."""
    answer = client.json("value", "nested")
    assert answer["value"] == {
        "a": [1, {"$tuple": [2.5, {"$bytes": "/w=="}]}],
        "b": {"$float": "nan"},
    }
    assert "(2.5, b'\\xff')" in answer["text"]
    latest = client.json("value", "gain")
    assert (latest["kind"], latest["value"], latest["time"]) == ("m", 2.5, 1e9 + 3)


def test_value_of_an_array(client: Client) -> None:
    """An array has statistics, and a line or an image of bounded size."""
    line = client.json("value", "line")["array"]
    assert (line["dtype"], line["shape"], line["min"], line["max"]) == (
        "float64",
        [5000],
        -1.0,
        1.0,
    )
    assert len(line["line"]["low"]) == 2048
    assert line["line"]["low"][0] == -1.0 and line["line"]["high"][-1] == 1.0
    image = client.json("value", "image", part="phase")["array"]
    assert (image["part"], image["parts"]) == ("phase", ["amplitude", "phase"])
    assert image["image"]["reduced"] is True
    assert (len(image["image"]["z"]), len(image["image"]["z"][0])) == (400, 4)
    assert client.json("value", "text_array")["array"]["min"] is None
    assert client.json("value", "empty")["array"]["shape"] == [0, 3]


def test_values_that_cannot_be_read(client: Client) -> None:
    """What cannot be decoded is an answer that says why, and no pickle is read."""
    for key in ("pickled", "pickles", "corrupt"):
        answer = client.json("value", key)
        assert answer["value"] is None
        assert answer["error"]
    assert client.json("plot", "pickles")["type"] == "none"
    assert "not read" in client.json("samples", "pickles")["samples"][0][1]
    assert client.get("api/csv", "pickles").status == 200


def test_pickles_are_read_if_that_is_allowed(client: Client) -> None:
    """The safe policy reads those that are plain data."""
    set_allow_pickle("safe")
    try:
        assert client.json("value", "pickled")["value"] == [1, 2]
        assert client.json("store")["allow_pickle"] is True
    finally:
        set_allow_pickle(False)


def test_samples_are_paged(client: Client) -> None:
    """A table has some rows and the number of all."""
    answer = client.json("samples", "gain", offset=1, limit=2)
    assert answer == {
        "total": 4,
        "offset": 1,
        "samples": [[1e9 + 1, "nan"], [1e9 + 2, "inf"]],
    }
    part = client.json("samples", "gain", start=1e9 + 1, end=1e9 + 2)
    assert part["total"] == 2


def test_indexed(client: Client) -> None:
    """Sub-keys are in natural order."""
    rows = client.json("indexed", "peak")["rows"]
    assert rows == [["('J1939-6342', 3)", "2.5"], ["('J1939-6342', 17)", "1.5"]]
    assert client.json("indexed", "peak", offset=1)["rows"] == rows[1:]


def test_csv_of_an_indexed_key(client: Client) -> None:
    """The rows of an indexed key are its sub-keys and values, in full and in natural order."""
    rows = list(csv.reader(io.StringIO(client.get("api/csv", "peak").body.decode())))
    assert rows == [
        ["sub_key", "value"],
        ['{"$tuple": ["J1939-6342", 3]}', "2.5"],
        ['{"$tuple": ["J1939-6342", 17]}', "1.5"],
    ]


def test_csv_is_what_the_command_prints(client: Client, ts: TelescopeState, tmp_path: Path) -> None:
    """A download has the rows of `telstate range --csv`."""
    path = tmp_path / "observation.rdb"
    ts.save(path)
    keys = ["gain", "m000_target"]
    answer = client.get("api/csv", *keys)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].startswith("attachment")
    printed = run("range", str(path), *keys, "--csv").stdout
    assert list(csv.reader(io.StringIO(answer.body.decode()))) == list(
        csv.reader(io.StringIO(printed))
    )


def test_errors(client: Client) -> None:
    """What cannot be answered is an error in a sentence, with its status."""
    assert "'missing'" in error_of(client.get("api/value", "missing"), 404)
    for path in ("plot", "samples", "csv"):
        assert "'missing'" in error_of(client.get(f"api/{path}", "missing"), 404)
        assert "immutable" in error_of(client.get(f"api/{path}", "l0_n_chans"), 400)
    error_of(client.get("api/indexed", "gain"), 400)
    error_of(client.get("api/value"), 400)
    for wrong in ({"start": "nan"}, {"start": "x"}, {"start": 2, "end": 1}, {"width": 5000}):
        error_of(client.get("api/plot", "gain", **wrong), 400)
    error_of(client.get("api/samples", "gain", limit=1001), 400)
    error_of(client.get("api/samples", "gain", offset=-1), 400)
    assert client.get("api/nothing").status == 404


def test_hostile_keys() -> None:
    """Each key is found under its own name, in an answer in plain JSON, and no answer has its name elsewhere."""
    ts = TelescopeState()
    for number, key in enumerate(HOSTILE):
        ts.add(key, number, ts=1.0 + number)
    with serve(create_app(ts)) as client:
        names = [name for name, _ in client.json("keys")["keys"]]
        assert sorted(map(encode_key, names)) == sorted(map(encode_key, HOSTILE))
        assert client.json("overview")["samples"] == len(HOSTILE)
        for number, key in enumerate(HOSTILE):
            name = key if isinstance(key, bytes) else encode_key(key)
            assert client.json("value", name)["value"] == number
            assert client.json("plot", name)["first"] == 1.0 + number
            (line,) = client.json("summary", name)["keys"]
            assert line["key"] == decode_key(name)
            answer = client.get("api/csv", name, "\x01missing")
            assert answer.headers["content-type"] == "application/json"
            assert "set-cookie" not in answer.headers
            assert client.get("api/csv", name).status == 200


def test_hostile_values() -> None:
    """A value is text in JSON, whatever it holds."""
    ts = TelescopeState()
    values = ["</script><script>", b"\x00" * 10, "\u202e", "x" * 1_000_000, [[[]]] * 1000]
    for number, value in enumerate(values):
        ts.add("text", value, ts=float(number))
    with serve(create_app(ts)) as client:
        assert client.json("samples", "text")["total"] == len(values)
        assert client.json("plot", "text")["type"] == "bands"


def test_corrupt_samples() -> None:
    """Invalid times and samples do not hide the others."""
    ts = TelescopeState()
    for key, times in {
        "some": [1.0, 2.0, math.inf, math.nan],
        "none": [math.inf, math.nan],
    }.items():
        for time in times:
            member = struct.pack(">d", time) + encode_value(1.5)
            ts.backend.execute(AddSample(encode_key(key), member))
    ts.add("values", 1, ts=1.0)
    ts.backend.execute(AddSample(b"values", struct.pack(">d", 2.0) + b"\xff\xc1"))
    with serve(create_app(ts)) as client:
        client.json("overview")
        client.json("summary", "some", "none", "values")
        assert client.json("plot", "some")["high"] == [1.5, 1.5]
        assert client.json("plot", "none")["type"] == "none"
        assert client.json("plot", "values")["type"] == "none"
        for key, count in {"some": 2, "none": 0, "values": 2}.items():
            assert client.json("samples", key)["total"] == count
            assert client.get("api/csv", key).status == 200
            client.get("api/value", key).json()


async def test_an_open_asyncio_state() -> None:
    """A telescope state of asyncio is served with the keys of its view, and is left open."""
    ts = aio.TelescopeState()
    await ts.set("a_b", 1)
    await ts.set("c", 2)
    app = create_app(ts.view("a", exclusive=True))
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/keys",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
    }
    await app(scope, receive, send)
    assert sent[0]["status"] == 200
    assert b'"a_b"' in sent[1]["body"] and b'"c"' not in sent[1]["body"]
    assert await ts["c"] == 2


def test_a_state_on_a_server_is_refused(any_port: int) -> None:
    """A synchronous telescope state on a server would block the page."""
    with TelescopeState(f"127.0.0.1:{any_port}") as ts:
        with pytest.raises(TypeError, match="Pass its URL"):
            create_app(ts)


def test_scripts_are_served_from_here(client: Client) -> None:
    """The page is HTML, and the script of Plotly is that of its package, compressed if that is accepted."""
    page = client.get("")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    number = client.json("store")["plotly"]
    script = client.get("static/plotly.min.js", v=number)
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    packed = client.request("GET", "/static/plotly.min.js", accept_encoding="gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert len(packed.body) < len(script.body) / 2
    again = client.request("GET", "/static/plotly.min.js", if_none_match=script.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert client.get("static/../../__init__.py").status == 404
    assert client.get("static/%2e%2e/_app.py").status == 404
