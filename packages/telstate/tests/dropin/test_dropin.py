"""The drop-in for katsdptelstate: imports, metadata, settings and the older interfaces."""

import importlib.metadata
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from dropin_modules import Old, run
from fakeredis import FakeRedis

import telstate
from telstate_backends.errors import RdbWriteError
from telstate_codec import PicklePolicy, encode_sample
from telstate_rdb import decode_dump, read_rdb

IMPORTS = """
import sys
import telstate
telstate.install_as_katsdptelstate()
heavy = {"redis", "numpy", "pandas", "rich", "importlib.metadata", "telstate_rdb.contrib.rdbtools"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
import katsdptelstate
assert "redis" in dir(katsdptelstate)
assert "redis" not in sys.modules
assert katsdptelstate.endpoint.Endpoint("a", 1).port == 1
assert katsdptelstate.aio.memory.MemoryBackend().to_sync()
import katsdptelstate.aio.redis
assert "redis" in sys.modules
import katsdptelstate.aio.rdb_writer as writer
from katsdptelstate import KeyType, TelescopeState, encoding, rdb_utility
from katsdptelstate.aio import TelescopeState as AsyncTelescopeState
from katsdptelstate.rdb_writer import RDBWriter
assert TelescopeState is telstate.TelescopeState
assert AsyncTelescopeState is telstate.aio.TelescopeState
assert issubclass(writer.RDBWriter, katsdptelstate.rdb_writer_base.RDBWriterBase)
"""
OTHER = """
from importlib.metadata import version
import telstate
{before}
telstate.install_as_katsdptelstate()
import katsdptelstate
print(katsdptelstate.__version__, version("katsdptelstate"), version("KatSDPTelState"))
"""


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A folder with an installed distribution of katsdptelstate."""
    (tmp_path / "katsdptelstate").mkdir()
    (tmp_path / "katsdptelstate" / "__init__.py").write_text("__version__ = '0.99'\n")
    (tmp_path / "katsdptelstate-0.99.dist-info").mkdir()
    metadata = tmp_path / "katsdptelstate-0.99.dist-info" / "METADATA"
    metadata.write_text("Metadata-Version: 2.1\nName: katsdptelstate\nVersion: 0.99\n")
    return tmp_path


def test_every_way_to_import(tmp_path: Path) -> None:
    """All forms of import find the drop-in, and heavy modules are loaded on first use."""
    run("-c", IMPORTS, folder=tmp_path)


def test_ours_wins_over_an_installed_one(other: Path) -> None:
    """The drop-in and its metadata hide an installed katsdptelstate."""
    expected = "1.0.0+telstate 1.0.0+telstate 1.0.0+telstate\n"
    assert run("-c", OTHER.format(before=""), folder=other) == expected


def test_already_imported(other: Path) -> None:
    """Installing after the import of katsdptelstate raises an ImportError with its path."""
    message = run("-c", OTHER.format(before="import katsdptelstate"), folder=other, code=1)
    assert "ImportError: katsdptelstate 0.99 has already been imported from " in message
    assert str(other / "katsdptelstate") in message


@pytest.mark.parametrize("way", [["program.py"], ["-m", "program"]])
def test_run_a_program_unchanged(way: list[str], tmp_path: Path) -> None:
    """``python -m telstate.dropin`` runs a script or a module, with its arguments."""
    (tmp_path / "program.py").write_text(
        "import sys, katsdptelstate\nif __name__ == '__main__':\n"
        "    print(katsdptelstate.__version__, *sys.argv[1:])\n"
    )
    output = run("-m", "telstate.dropin", *way, "--flag", "a", folder=tmp_path)
    assert output == "1.0.0+telstate --flag a\n"


SPAWNING = """
import multiprocessing
import telstate
telstate.install_as_katsdptelstate()
import katsdptelstate

def version(_):
    return katsdptelstate.__version__

if __name__ == "__main__":
    with multiprocessing.get_context("{method}").Pool(1) as pool:
        print(*pool.map_async(version, [1]).get(30))
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_spawned_processes(method: str, tmp_path: Path) -> None:
    """The drop-in is installed in spawned processes, which run the same lines of the program."""
    (tmp_path / "program.py").write_text(SPAWNING.format(method=method))
    assert run("program.py", folder=tmp_path) == "1.0.0+telstate\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "Usage: ``python -m telstate.dropin"),
        (["--flag"], "Usage: ``python -m telstate.dropin"),
        (["no-such-program"], "There is no program no-such-program, neither here nor on the PATH."),
        (["folder"], "can't find '__main__' module in 'folder'"),
        (["-m", "nopemod"], "No module named nopemod"),
        (["-m", "package"], "No module named package.__main__"),
    ],
)
def test_nothing_to_run(arguments: list[str], expected: str, tmp_path: Path) -> None:
    """Without an existing program, the command fails with a message."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    message = run("-m", "telstate.dropin", *arguments, folder=tmp_path, code=1)
    assert expected in message


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(option: str, tmp_path: Path) -> None:
    """Help is printed to standard output, with exit code 0."""
    assert "Usage: ``python -m telstate.dropin" in run(
        "-m", "telstate.dropin", option, folder=tmp_path
    )


@pytest.mark.parametrize("way", ["package", "package.__main__", "folder"])
def test_packages_and_folders(way: str, tmp_path: Path) -> None:
    """Packages and folders with a ``__main__`` are run; their own import errors are shown."""
    for name in ("package", "folder"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__main__.py").write_text("import sys\nprint(*sys.argv[1:])\n")
    (tmp_path / "package" / "__init__.py").write_text("")
    module = [] if way == "folder" else ["-m"]
    command = ["-m", "telstate.dropin", *module, way, "--flag"]
    assert run(*command, folder=tmp_path) == "--flag\n"
    for name in ("package/__init__.py", "folder/__main__.py"):
        (tmp_path / name).write_text("import of_its_own\n")
    assert "No module named 'of_its_own'" in run(*command, folder=tmp_path, code=1)


def test_installing_again_does_nothing(old: Old) -> None:
    """Installing is idempotent."""
    before = (list(sys.meta_path), old(""))
    telstate.install_as_katsdptelstate()
    assert (list(sys.meta_path), old("")) == before


def test_metadata(old: Old) -> None:
    """Packaging tools find the version and the extras that clients require."""
    assert importlib.metadata.version("katsdptelstate") == old("").__version__
    metadata = importlib.metadata.metadata("katsdptelstate")
    assert metadata["Name"] == "katsdptelstate"
    assert metadata.get_all("Provides-Extra") == ["aio", "rdb", "test"]
    assert "katsdptelstate" in importlib.metadata.packages_distributions()
    found = [one.metadata["Name"] for one in importlib.metadata.distributions()]
    assert found.count("katsdptelstate") == 1
    assert importlib.metadata.version("telstate")


def test_unknown_names_are_attribute_errors(old: Old) -> None:
    """A missing name raises an AttributeError with the module."""
    for name in ("", "aio"):
        with pytest.raises(AttributeError, match=f"'{old(name).__name__}' has no attribute 'x'"):
            old(name).x
        assert set(old(name).__all__) <= set(dir(old(name)))


# ------------------------------------------------------------------------------------- pickles


@pytest.fixture
def refusing() -> Iterator[None]:
    """Refuse pickles before and after the test."""
    telstate.set_allow_pickle(False)
    yield
    telstate.set_allow_pickle(False)


@pytest.mark.usefixtures("refusing")
def test_patched_settings_hold_while_they_are_patched(old: Old) -> None:
    """`mock.patch` of the two settings changes `decode_value` until the patch ends."""
    pickled = b"S'1'\n."
    encoding = old("encoding")
    with pytest.raises(telstate.DecodeError):
        encoding.decode_value(pickled)
    with (
        mock.patch("katsdptelstate.encoding._allow_pickle", True),
        mock.patch("katsdptelstate.encoding._warn_on_pickle", False),
    ):
        assert encoding.decode_value(pickled) == telstate.decode_value(pickled) == "1"
        with mock.patch("katsdptelstate.encoding._warn_on_pickle", True):
            with pytest.warns(FutureWarning, match="pickled values"):
                encoding.decode_value(pickled)
        with mock.patch("katsdptelstate.encoding._allow_pickle", False):
            with pytest.raises(telstate.DecodeError):
                encoding.decode_value(pickled)
        assert encoding.decode_value(pickled) == "1"
    with pytest.raises(telstate.DecodeError):
        telstate.decode_value(pickled)
    assert (encoding._allow_pickle, encoding._warn_on_pickle) == (False, False)


@pytest.mark.usefixtures("refusing")
def test_a_patch_does_not_lose_the_safe_policy(old: Old) -> None:
    """The safe policy, which katsdptelstate does not have, is restored after a patch."""
    telstate.set_allow_pickle("safe", warn=True)
    with mock.patch("katsdptelstate.encoding._allow_pickle", False):
        pass
    assert old("encoding")._allow_pickle is PicklePolicy.SAFE
    assert old("encoding")._warn_on_pickle is True


@pytest.mark.usefixtures("refusing")
def test_settings_and_calls_are_the_same(old: Old) -> None:
    """`set_allow_pickle` and the two attributes set the same policy."""
    old("").set_allow_pickle(True, True)
    assert (old("encoding")._allow_pickle, old("encoding")._warn_on_pickle) == (True, True)
    old("encoding")._warn_on_pickle = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert telstate.decode_value(b"I7\n.") == 7


def test_refusal_keeps_the_phrase_that_scripts_look_for(old: Old) -> None:
    """The error for a pickle names the safe policy first and contains the sentence of katsdptelstate."""
    phrase = (
        "you can allow the pickles to be loaded by setting KATSDPTELSTATE_ALLOW_PICKLE=1 in the "
        "environment"
    )
    with pytest.raises(telstate.DecodeError) as caught:
        old("").decode_value(b"I7\n.", allow_pickle=False)
    assert 0 < str(caught.value).find("safe") < str(caught.value).find(phrase)
    assert phrase in old("encoding").PICKLE_ERROR


# --------------------------------------------------------------------------- reading and writing


def test_writers_without_with(old: Old, tmp_path: Path) -> None:
    """A writer works without a with block and writes its file at `close`."""
    ts = telstate.TelescopeState()
    ts["n_chans"] = 4096
    ts.add("gain", 1.5, ts=100.0)
    path = tmp_path / "a.rdb"
    writer = old("rdb_writer").RDBWriter(bytes(path))
    writer.save(ts, ["n_chans"])
    writer.save(ts.backend, {"gain", "missing"})
    writer.close()
    assert (writer.keys_written, writer.keys_failed) == (2, 1)
    again = telstate.TelescopeState()
    assert again.load_from_file(path) == 2
    assert again.get_range("gain") == [(1.5, 100.0)]
    with pytest.raises(RdbWriteError):
        writer.save(ts)


def test_writers_that_fail_or_write_nothing_leave_no_file(old: Old, tmp_path: Path) -> None:
    """An error in the with block, or no keys, leaves no file."""
    path = tmp_path / "a.rdb"
    with old("rdb_writer_base").RDBWriterBase(path) as writer:
        writer.write_key(b"missing", None)
    assert (writer.keys_written, writer.keys_failed, path.exists()) == (0, 1, False)
    with pytest.raises(ZeroDivisionError):
        with old("rdb_writer_base").RDBWriterBase(path) as writer:
            writer.write_key(b"a", old("rdb_utility").dump_string(b"\xff\x01"))
            1 / 0
    assert list(tmp_path.iterdir()) == []


async def test_asyncio_writer_in_a_plain_with(old: Old, tmp_path: Path) -> None:
    """The asyncio writer works with both kinds of with block, with `close`, and with a redis-py client."""
    from fakeredis import FakeAsyncRedis

    client = FakeAsyncRedis()
    ts = old("aio").TelescopeState(old("aio.redis").RedisBackend(client))
    await ts.set("n_chans", 4096)
    writer_class = old("aio.rdb_writer").RDBWriter
    with writer_class(tmp_path / "0.rdb") as writer:
        await writer.save(ts)
    async with writer_class(tmp_path / "1.rdb") as writer:
        await writer.save(ts.backend, ["n_chans"])
    writer = writer_class(tmp_path / "2.rdb")
    await writer.save(FakeAsyncRedis(connection_pool=client.connection_pool))
    writer.close()
    counts = [telstate.TelescopeState().load_from_file(tmp_path / f"{n}.rdb") for n in range(3)]
    assert counts == [1, 1, 1]
    ts.backend.close()
    await ts.backend.wait_closed()


def test_payloads_with_and_without_checksum(old: Old, tmp_path: Path) -> None:
    """`write_key` accepts payloads with zeros as the checksum and refuses damaged ones."""
    utility, path = old("rdb_utility"), tmp_path / "a.rdb"
    by_hand = b"\x00" + utility.encode_len(2) + b"\xff\x01" + utility.DUMP_POSTFIX
    with old("rdb_writer_base").RDBWriterBase(path) as writer:
        writer.write_key(b"a", by_hand)
        writer.write_key(b"b", utility.dump_string(b"\xff\x01"))
        with pytest.raises(telstate.RdbParseError):
            writer.write_key(b"c", by_hand[:-1] + b"x")
    assert [record.value for record in read_rdb(path)] == [b"\xff\x01", b"\xff\x01"]
    assert decode_dump(utility.dump_string(b"\xff\x01")) == b"\xff\x01"
    for length in (-1, 1 << 32):
        with pytest.raises(ValueError, match="2\\*\\*32 - 1"):
            utility.encode_len(length)


def test_files_are_given_to_callbacks(old: Old, tmp_path: Path) -> None:
    """`rdb_reader.load_from_file` fills a dictionary or a server through a callback."""
    ts = telstate.TelescopeState()
    ts["n_chans"] = 4096
    ts.add("gain", 1.5, ts=100.0)
    ts.set_indexed("peak", 17, 14.9)
    path = tmp_path / "a.rdb"
    ts.save(path)
    load, data = old("rdb_reader").load_from_file, dict[bytes, object]()
    assert load(old("memory").MemoryCallback(data), path) == 3
    assert data == {
        b"n_chans": telstate.encode_value(4096),
        b"gain": [encode_sample(100.0, telstate.encode_value(1.5))],
        b"peak": {telstate.encode_value(17): telstate.encode_value(14.9)},
    }
    client = FakeRedis()
    with path.open("rb") as file:
        assert load(old("redis").RedisCallback(client), file) == 3
    copy = telstate.TelescopeState(old("redis").RedisBackend(client))
    assert [copy[key] for key in copy.keys()] == [1.5, 4096, {17: 14.9}]
    assert load(old("rdb_reader").BackendCallback(), path) == 0
    path.write_bytes(b"nonsense")
    with pytest.raises(telstate.RdbParseError) as caught:
        load(old("memory").MemoryCallback({}), str(path))
    assert caught.value.filename == str(path)


def test_isinstance_of_backends(old: Old) -> None:
    """`isinstance` with the two classes of backends works."""
    sync, asynchronous = old("backend").Backend, old("aio.backend").Backend
    backend = old("aio.memory").MemoryBackend()
    kinds = [(isinstance(one, sync), isinstance(one, asynchronous)) for one in (backend, 1)]
    assert kinds == [(False, True), (False, False)]
    shared = old("aio.memory").MemoryBackend.from_sync(backend.to_sync())
    assert isinstance(shared.to_sync(), sync)
    assert not isinstance(shared.to_sync(), asynchronous)


def test_values_change_under_one_name_only_if_equal(old: Old) -> None:
    """`check_immutable_change` lets equal values pass and names the key where they differ."""
    check = old("telescope_state_base").check_immutable_change
    one, two = telstate.encode_value(1), telstate.encode_value(2)
    check("n_chans", one, one, 1)
    with pytest.raises(telstate.ImmutableKeyError, match="n_chans from 1 to 2"):
        check("n_chans", one, two, 2)


def test_errors_can_be_made_as_before(old: Old) -> None:
    """Each error can be made with a message or without arguments."""
    errors = old("errors")
    for name in errors.__all__:
        # The argument of a parse error is the name of the file, as before.
        text = str(getattr(errors, name)("gone"))
        assert text.startswith("gone: ") if name == "RdbParseError" else text == "gone"
        assert issubclass(getattr(errors, name), errors.TelstateError)
        getattr(errors, name)()
