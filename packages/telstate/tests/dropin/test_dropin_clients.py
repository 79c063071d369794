"""Uses of katsdptelstate in public programs and in the mocks of their tests.

Each test is one use, named by the kind of program: the names exist, take these arguments and can be patched.
"""

import argparse
import asyncio
import concurrent.futures
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from dropin_modules import Old
from fakeredis import FakeAsyncRedis, FakeRedis

from telstate_backends import ConnectionError as TelstateConnectionError

# ----------------------------------------------------------------------------------------- mocks


def test_class_patched_with_autospec(old: Old) -> None:
    """Services: the class is patched with autospec, and `get` of its return value is replaced."""
    values = {"config": {"dump_rate": 2}}
    with mock.patch("katsdptelstate.TelescopeState", autospec=True) as patched:
        patched.return_value.get = mock.MagicMock(side_effect=lambda key, default=None: values[key])
        ts = old("").TelescopeState("example.com:6379")
        assert ts.get("config") == {"dump_rate": 2}
        ts.view("sdp").add("key", 1, immutable=True)
        ts["key"] = 1
        with pytest.raises(AttributeError):
            ts.no_such_method()
        patched.assert_called_once_with("example.com:6379")


def test_class_patched_where_it_was_defined(old: Old) -> None:
    """Argument parsers: the class is patched in `telescope_state` with autospec."""
    with mock.patch("katsdptelstate.telescope_state.TelescopeState", autospec=True) as patched:
        assert old("telescope_state").TelescopeState is patched
    assert old("telescope_state").TelescopeState is old("").TelescopeState


def test_constructor_patched(old: Old) -> None:
    """Controllers: the constructor is patched so that an address makes a store in memory."""
    original = old("").TelescopeState.__init__
    made = []

    def construct(self: object, *args: object, **kwargs: object) -> None:
        made.append(self)
        original(self)

    with mock.patch("katsdptelstate.TelescopeState.__init__", side_effect=construct, autospec=True):
        ts = old("").TelescopeState("telstate.example.com:6379")
    ts["sdp_config"] = {"a": 1}
    assert made == [ts]
    assert ts.view("sdp")["config"] == {"a": 1}


def test_instance_made_with_autospec(old: Old) -> None:
    """Simulators: an autospecced instance accepts valid arguments only."""
    ts = mock.create_autospec(old("").TelescopeState, instance=True)
    ts.add("bandwidth", 856e6, immutable=True)
    ts.wait_key("key", lambda value, ts: True, timeout=5)
    ts.add.assert_called_once_with("bandwidth", 856e6, immutable=True)
    with pytest.raises(TypeError):
        ts.wait_key("key", time_limit=5)


def test_reading_patched_to_fail(old: Old) -> None:
    """Models: `__getitem__` of the class is patched to raise a connection error."""
    ts = old("").TelescopeState()
    ts["key"] = 1
    failure = old("").ConnectionError("test error")
    with mock.patch("katsdptelstate.TelescopeState.__getitem__", side_effect=failure):
        with pytest.raises(old("").ConnectionError, match="test error"):
            ts["key"]
    assert ts["key"] == 1


async def test_asyncio_reading_patched(old: Old) -> None:
    """Controllers: a patched ``__getitem__`` of the asyncio class is awaited."""
    ts = old("aio").TelescopeState()
    await ts.set("key", 1)
    with mock.patch("katsdptelstate.aio.TelescopeState.__getitem__") as patched:
        patched.return_value = 2
        assert await ts["key"] == 2
        patched.side_effect = old("").ConnectionError("test error")
        with pytest.raises(old("").ConnectionError, match="test error"):
            await ts["key"]
    assert await ts["key"] == 1


async def test_asyncio_connection_patched(old: Old) -> None:
    """Controllers: `from_url` of the asyncio backend is patched to return one in memory."""
    ts = old("aio").TelescopeState()
    with mock.patch(
        "katsdptelstate.aio.redis.RedisBackend.from_url", return_value=ts.backend, autospec=True
    ) as from_url:
        backend = await old("").aio.redis.RedisBackend.from_url("redis://telstate:6379")
    assert backend is ts.backend
    assert isinstance(backend, old("aio.backend").Backend)
    from_url.assert_awaited_once_with("redis://telstate:6379")


def test_redis_client_patched(old: Old) -> None:
    """Imagers: redis-py's class is replaced, called with host, port and database, and its fake is used."""
    client = FakeRedis()
    with mock.patch("redis.Redis", return_value=client) as patched:
        old("").TelescopeState("telstate.invalid:6399", 1)["stream_name"] = "sdp_l0"
        assert old("").TelescopeState(
            old("endpoint").Endpoint("telstate.invalid", None)
        ).keys() == ["stream_name"]
    limits = {"socket_timeout": 5, "health_check_interval": 30}
    assert patched.mock_calls[0] == mock.call(host="telstate.invalid", port=6399, db=1, **limits)
    assert mock.call(host="telstate.invalid", db=0, **limits) in patched.mock_calls
    assert client.get("stream_name") == old("").encode_value("sdp_l0")


@pytest.mark.parametrize("autospec", [False, True], ids=["mock", "autospec"])
def test_from_url_patched(old: Old, autospec: bool) -> None:
    """Tests of clients: `redis.Redis.from_url` is replaced, called with the URL, and its fake is used."""
    client = FakeRedis()
    url = "redis://telstate.invalid/2"
    with mock.patch(
        "redis.Redis.from_url", side_effect=lambda *_, **__: client, autospec=autospec
    ) as patched:
        old("").TelescopeState(url)["stream_name"] = "sdp_l0"
        assert old("").TelescopeState(old("redis").RedisBackend.from_url(url, db=2)).keys() == [
            "stream_name"
        ]
    limits = {"socket_timeout": 5, "health_check_interval": 30}
    assert patched.mock_calls == [mock.call(url, db=db, **limits) for db in (0, 2)]


@pytest.mark.parametrize("target", ["redis.asyncio.Redis.from_url", "redis.asyncio.Redis"])
async def test_asyncio_from_url_patched(old: Old, target: str) -> None:
    """Tests of clients: the same for asyncio, where the class may be replaced as well."""
    client = FakeAsyncRedis()
    url = "redis://telstate.invalid/2"
    with mock.patch(target) as patched:
        make = patched if target.endswith("from_url") else patched.from_url
        make.return_value = client
        ts = old("aio").TelescopeState(await old("").aio.redis.RedisBackend.from_url(url))
    await ts.set("stream_name", "sdp_l0")
    assert await client.get("stream_name") == old("").encode_value("sdp_l0")
    make.assert_called_once_with(url, db=None, socket_timeout=5, health_check_interval=30)


@pytest.mark.parametrize("target", ["redis.Redis", "redis.Redis.from_url"])
@pytest.mark.parametrize("url", ["redis+sentinel://127.0.0.1:1/m", "redis+cluster://127.0.0.1:1"])
def test_sentinels_and_clusters_while_patched(old: Old, target: str, url: str) -> None:
    """Mocks of redis-py's class do not affect addresses of Sentinels and clusters."""
    with mock.patch(target) as patched:
        for connect in (old("").TelescopeState, old("redis").RedisBackend.from_url):
            with pytest.raises(TelstateConnectionError, match="127.0.0.1:1"):
                connect(url)
    assert not patched.mock_calls


def test_class_patched_with_its_specification(old: Old) -> None:
    """A mock that has just the attributes of redis-py's class can be connected to."""
    with mock.patch("redis.Redis", autospec=True) as patched:
        old("").TelescopeState("telstate.invalid:6399")
    patched.assert_called_once()


FIRST_USE = """
from unittest import mock
with mock.patch("redis.Redis") as patched, mock.patch("redis.asyncio.Redis"):
    import telstate
    from telstate.aio.redis import RedisBackend
    telstate.TelescopeState("telstate.invalid:6379")
    patched.assert_called_once()
import fakeredis
from telstate_backends import RedisBackend
ts = telstate.TelescopeState(RedisBackend(fakeredis.FakeRedis()))
ts["stream_name"] = "sdp_l0"
print(ts["stream_name"])
"""


def test_first_use_while_patched() -> None:
    """A program that first uses telstate while redis-py's classes are mocks can use it afterwards."""
    done = subprocess.run([sys.executable, "-c", FIRST_USE], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "sdp_l0\n"), done.stderr


def test_nothing_for_an_endpoint(old: Old) -> None:
    """Simulators: None for an endpoint is a store in memory."""
    ts = old("").TelescopeState(None)
    ts["n_chans"] = 4096
    assert (ts["n_chans"], isinstance(ts.backend, old("memory").MemoryBackend)) == (4096, True)


def test_errors_raised_by_tests(old: Old) -> None:
    """Archives: mocks raise a parse error with or without the name of a file."""
    error = old("").RdbParseError
    assert error(filename=None).filename is error().filename is None
    assert error("a.rdb").filename == error(filename=b"a.rdb").filename == "a.rdb"
    assert str(error("a.rdb")).startswith("a.rdb: ")


def test_names_looked_for_on_the_class(old: Old) -> None:
    """Wrappers: names are looked up on the class, to tell attributes from keys."""
    ts = old("").TelescopeState()
    names = ["SEPARATOR", "SEPARATOR_BYTES", "backend", "prefixes", "get_range", "add", "join"]
    assert [name for name in names if not hasattr(type(ts), name)] == []
    assert not hasattr(type(ts), "n_chans")
    assert ts.join("i0", "n_chans") == old("").TelescopeState.SEPARATOR.join(["i0", "n_chans"])


# ------------------------------------------------------------------------------------------- use


def test_endpoints_on_the_command_line(old: Old) -> None:
    """Receivers and senders: endpoints are types of options, unpacked and logged."""
    endpoint = old("endpoint")
    parser = argparse.ArgumentParser()
    parser.add_argument("--l0-spead", type=endpoint.endpoint_list_parser(7200), default=":7200")
    parser.add_argument("--telstate", type=endpoint.endpoint_parser(6379))
    args = parser.parse_args(["--l0-spead=239.9.3.1+3:7148", "--telstate=telstate.example.com"])
    assert endpoint.endpoints_to_str(args.l0_spead) == "239.9.3.1+3:7148"
    assert tuple(args.telstate) == ("telstate.example.com", 6379)
    assert [(one.host, one.port) for one in parser.parse_args([]).l0_spead] == [("", 7200)]
    assert str(endpoint.Endpoint("239.9.3.1", 7148)) == "239.9.3.1:7148"


def test_attributes_set_by_several_processes(old: Old) -> None:
    """Ingest: the second writer of another value catches ImmutableKeyError and reads the first value."""
    ts = old("").TelescopeState(old("").memory.MemoryBackend())
    ts.add("sync_time", 1500000000.0, immutable=True)
    try:
        ts.add("sync_time", 1500000001.0, immutable=True)
    except old("").ImmutableKeyError:
        assert ts.get("sync_time") == 1500000000.0


def test_sensors_by_kind(old: Old) -> None:
    """katdal: keys are listed and sensors are read from the start."""
    ts = old("").TelescopeState()
    ts["obs_params"] = {"observer": "me"}
    ts.add("obs_activity", "track", ts=100.0)
    ts.add("obs_activity", "slew", ts=90.0)
    kinds = {key: ts.key_type(key) for key in ts.keys()}
    sensors = [key for key, kind in kinds.items() if kind == old("").KeyType.MUTABLE]
    assert {key: ts.get_range(key, st=0) for key in sensors} == {
        "obs_activity": [("slew", 90.0), ("track", 100.0)]
    }


def test_waiting_with_a_condition_and_a_way_out(old: Old) -> None:
    """Pipelines: a condition and timeout are positional, and a future cancels the wait."""
    ts = old("").TelescopeState()
    ts.add("cal_product_G", 1.0, ts=10.0)
    with pytest.raises(TimeoutError):
        ts.wait_key("cal_product_G", lambda value, t: t is not None and t > 20.0, 0.01)
    ts.wait_key("cal_product_G", lambda value, t: value == 1.0)
    stop: concurrent.futures.Future[None] = concurrent.futures.Future()
    stop.set_result(None)
    with pytest.raises(old("").CancelledError):
        ts.wait_key("sdp_cam2telstate_status", cancel_future=stop)


def test_waiting_with_a_mock_of_a_future(old: Old) -> None:
    """Tests of pipelines: a mock of a future, which has no callbacks, cancels a wait."""
    future = mock.MagicMock()
    future.done.side_effect = [False, False, False, True]
    with pytest.raises(old("").CancelledError):
        old("").TelescopeState().wait_key("sdp_cam2telstate_status", cancel_future=future)


async def test_asyncio_state_of_a_product(old: Old) -> None:
    """Controllers: joined keys, views and indexed keys on asyncio, and closing the backend."""
    backend = old("").aio.memory.MemoryBackend()
    ts = old("").aio.TelescopeState(backend)
    await ts.set(ts.join("sdp", "l0", "bls_ordering"), [("m000h", "m000h")])
    await ts.view("sdp_l0").set_indexed("models", ("m000", "h"), "url")
    assert await ts["sdp_l0_bls_ordering"] == [("m000h", "m000h")]
    assert await ts.get_indexed("sdp_l0_models", ("m000", "h")) == "url"
    assert await ts.exists("sdp_l0_models")
    assert old("").TelescopeState(backend.to_sync()).keys() == await ts.keys()
    waiting = asyncio.create_task(ts.wait_key("sdp_status"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    ts.backend.close()
    await ts.backend.wait_closed()


async def test_dump_of_a_capture_block(old: Old, tmp_path: Path) -> None:
    """Meta-data writers: keys of an asyncio store on Redis are saved, and missing ones are counted."""
    ts = old("").aio.TelescopeState(old("").aio.redis.RedisBackend(FakeAsyncRedis()))
    await ts.add("obs_activity", "track", ts=100.0)
    await ts.set("sdp_config", {"a": 1})
    with old("aio.rdb_writer").RDBWriter(str(tmp_path / "1.rdb")) as writer:
        await writer.save(ts, keys=["obs_activity", "sdp_config", "missing"])
    assert (writer.keys_written, writer.keys_failed) == (2, 1)
    ts.backend.close()
    await ts.backend.wait_closed()


def test_copy_with_overrides(old: Old, tmp_path: Path) -> None:
    """Archive tools: unchanged keys of one store and changed keys of another go into one file."""
    original, overrides = old("").TelescopeState(), old("").TelescopeState()
    original["stream_name"], original["chunk_info"] = "sdp_l0", {"prefix": "old"}
    overrides["chunk_info"] = {"prefix": "new"}
    unmodified = set(original.keys()) - set(overrides.keys())
    with old("rdb_writer").RDBWriter(tmp_path / "1.rdb") as writer:
        writer.save(original.backend, unmodified)
        writer.save(overrides.backend)
    copy = old("").TelescopeState()
    copy.load_from_file(tmp_path / "1.rdb")
    assert (copy["stream_name"], copy["chunk_info"]) == ("sdp_l0", {"prefix": "new"})


def test_copy_with_overrides_on_top(old: Old, tmp_path: Path) -> None:
    """Older archive tools: all keys, then the changed ones, which replace the first, go into one file."""
    original, overrides = old("").TelescopeState(), old("").TelescopeState()
    original["stream_name"], original["chunk_info"] = "sdp_l0", {"prefix": "old"}
    overrides["chunk_info"] = {"prefix": "new"}
    with old("rdb_writer").RDBWriter(tmp_path / "1.rdb") as writer:
        writer.save(original.backend)
        writer.save(overrides.backend)
        writer.write_key(b"stream_name", overrides.backend.dump(b"chunk_info"))
    assert (writer.keys_written, writer.keys_failed) == (4, 0)
    copy = old("").TelescopeState()
    assert copy.load_from_file(tmp_path / "1.rdb") == 2
    assert (copy["stream_name"], copy["chunk_info"]) == ({"prefix": "new"}, {"prefix": "new"})
    assert [path.name for path in tmp_path.iterdir()] == ["1.rdb"]


def test_snapshots_made_without_a_store(old: Old, tmp_path: Path) -> None:
    """Tests of readers: files are made of payloads of values and of DUMPs of a backend."""
    encoding, utility = old("").encoding, old("").rdb_utility
    with old("rdb_writer_base").RDBWriterBase(tmp_path / "0.rdb") as writer:
        for key, value in {"int_time": 8.0, "shape": (1, 2)}.items():
            writer.write_key(key.encode(), utility.dump_string(encoding.encode_value(value)))
    ts = old("").TelescopeState()
    assert (writer.keys_written, ts.load_from_file(tmp_path / "0.rdb")) == (2, 2)
    ts.add("obs_activity", "track", ts=1.0, immutable=False)
    with old("rdb_writer_base").RDBWriterBase(tmp_path / "1.rdb") as writer:
        for key in ts.keys():
            writer.write_key(key.encode(), ts.backend.dump(key.encode()))
    again = old("").TelescopeState()
    assert again.load_from_file(tmp_path / "1.rdb") == 3
    assert (again["shape"], again["int_time"], again.obs_activity) == ((1, 2), 8.0, "track")


def test_errors_of_opening(old: Old, tmp_path: Path) -> None:
    """katdal: a missing file is an OSError, a broken one RdbParseError, no server ConnectionError."""
    with pytest.raises(OSError):
        old("").TelescopeState().load_from_file(str(tmp_path / "none.rdb"))
    (tmp_path / "broken.rdb").write_bytes(b"<html>404</html>")
    with pytest.raises(old("").RdbParseError, match="broken.rdb"):
        old("").TelescopeState().load_from_file(str(tmp_path / "broken.rdb"))
    with pytest.raises(old("").ConnectionError, match="127.0.0.1:1"):
        old("").TelescopeState("127.0.0.1:1", 2)


async def test_asyncio_connection_to_a_server(old: Old, newest_port: int) -> None:
    """Controllers: `from_url` connects to a server, which a synchronous client shares."""
    address = f"127.0.0.1:{newest_port}"
    backend = await old("").aio.redis.RedisBackend.from_url(f"redis://{address}", db=1)
    ts = old("").aio.TelescopeState(backend)
    await ts.set("sub_band", "l")
    sync = old("").TelescopeState(address, 1)
    assert sync["sub_band"] == "l"
    sync.backend.close()
    ts.backend.close()
    await ts.backend.wait_closed()
