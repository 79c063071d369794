"""Errors for missing keys suggest similar ones, which are searched only when the text is read."""

import gc
import logging
import pickle
import subprocess
import sys
import traceback
import weakref
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from telstate import MemoryBackend, RDBWriter, TelescopeState, aio
from telstate._suggest import find_similar  # private: error messages show its results only
from telstate.errors import MissingKeyError
from telstate_backends import Operation, SomeKeys
from telstate_backends.deadline import Deadline
from telstate_testing import RedisBinary, RedisServer


class Counting(MemoryBackend):
    """A backend that counts how often keys are listed."""

    def __init__(self) -> None:
        super().__init__()
        self.listed = 0

    def execute(self, operation: Operation[Any], /, *, deadline: Deadline | None = None) -> Any:
        return operation.apply(self.store)

    def execute_many(self, operations: Any, /, *, deadline: Deadline | None = None) -> list[Any]:
        self.listed += sum(isinstance(operation, SomeKeys) for operation in operations)
        return [operation.apply(self.store) for operation in operations]


def failure(ts: TelescopeState, key: str | bytes) -> KeyError:
    """Return the error for a missing key."""
    try:
        ts[key]
    except KeyError as error:
        return error.with_traceback(None)
    raise AssertionError("there is such a key")


def test_suggestion() -> None:
    """Items, attributes and ranges suggest a similar key by its name in the view."""
    ts = TelescopeState()
    ts["n_chans"] = 4096
    ts.view("beam")["n_pols"] = 2
    assert str(failure(ts, "n_chanz")) == "'n_chanz' not found; did you mean 'n_chans'?"
    view = ts.view("beam")
    with pytest.raises(KeyError, match=r"prefixes 'beam_', ''; did you mean 'n_pols'\?"):
        view.get_range("n_pol")
    with pytest.raises(AttributeError, match=r"did you mean 'n_pols'\?"):
        view.n_pol
    assert str(failure(ts, "n_pols")) == "'n_pols' not found; did you mean 'beam_n_pols'?"
    assert str(failure(ts, b"n-chans")).endswith("did you mean 'n_chans'?")
    assert str(failure(ts, "nothing_like_it")) == "'nothing_like_it' not found"
    only = ts.view("beam", exclusive=True)
    assert str(failure(only, "n_chanz")) == "'n_chanz' not found under any of the prefixes 'beam_'"


def test_plain_message() -> None:
    """The error is a KeyError; its first argument and repr are the message without a suggestion."""
    ts = TelescopeState()
    ts["n_chans"] = 4096
    error = failure(ts, "n_chanz")
    assert isinstance(error, MissingKeyError) and isinstance(error, KeyError)
    assert error.args == ("'n_chanz' not found",)
    assert repr(error) == "MissingKeyError(\"'n_chanz' not found\")"


def test_keys_are_listed_when_the_text_is_read() -> None:
    """Keys are listed once, when the text of the error is read, and never before."""
    backend = Counting()
    ts = TelescopeState(backend)
    ts["n_chans"] = 4096
    assert not hasattr(ts, "n_chanz")
    assert ts.get("n_chanz") is None and "n_chanz" not in ts
    error = failure(ts, "n_chanz")
    assert backend.listed == 0
    assert [str(error), str(error)] == ["'n_chanz' not found; did you mean 'n_chans'?"] * 2
    assert backend.listed == 1


def test_traceback_of_an_attribute() -> None:
    """A traceback has our suggestion only, and lists the keys once."""
    backend = Counting()
    ts = TelescopeState(backend)
    ts["n_chans"] = 4096
    with pytest.raises(AttributeError) as caught:
        ts.n_chanz
    lines = "".join(traceback.format_exception(caught.value)).lower()
    assert lines.count("did you mean") == 1
    assert backend.listed == 1


def test_uncaught() -> None:
    """An uncaught error is printed with our suggestion only."""
    code = "import telstate; ts = telstate.TelescopeState(); ts['n_chans'] = 1; ts.n_chanz"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.splitlines()[-1] == (
        "telstate.errors.MissingAttributeError: 'TelescopeState' object has no attribute or key 'n_chanz'; "
        "did you mean 'n_chans'?"
    )


@pytest.mark.parametrize(
    ("name", "similar"),
    [
        ("get_rnage", "get_range() or 'get_rang'"),
        ("get_ragne", "get_range() or get_many() or 'get_rang'"),
        ("to_panda", "to_pandas()"),
        ("prefixs", "prefixes"),
        ("key_typ", "key_type() or key_types()"),
        ("nothing_like_it", ""),
    ],
)
def test_misspelt_methods(name: str, similar: str) -> None:
    """The error for a misspelt method or attribute names the near ones, and a key of such a name after them."""
    ts = TelescopeState()
    ts["get_rang"] = 1
    hint = f"; did you mean {similar}?" if similar else ""
    with pytest.raises(AttributeError) as caught:
        getattr(ts, name)
    assert str(caught.value) == f"'TelescopeState' object has no attribute or key {name!r}{hint}"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert (caught.value.name, caught.value.obj) == (name, None)


def test_misspelt_methods_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    """On asyncio and in pipelines, attributes are never keys, so that Python itself suggests the near method."""
    owners: list[Any] = [
        aio.TelescopeState(),
        TelescopeState().pipeline(),
        aio.TelescopeState().pipeline(),
    ]
    for owner in owners:
        kind = type(owner).__name__
        with pytest.raises(AttributeError) as caught:
            owner.get_rnage("n_chans")
        sys.__excepthook__(caught.type, caught.value, None)
        assert capsys.readouterr().err.splitlines()[-1] == (
            f"AttributeError: '{kind}' object has no attribute 'get_rnage'. Did you mean: 'get_range'?"
        )
        assert not hasattr(owner, "n_chans") and not hasattr(owner, "__array__")


@pytest.mark.parametrize("name", ["view", "root", "join"])
def test_names_of_classes(name: str) -> None:
    """Wrong calls name the class that people use, and not a base class of it."""
    made: list[tuple[Any, str]] = [
        (TelescopeState(), "TelescopeState"),
        (aio.TelescopeState(), "TelescopeState"),
        (TelescopeState().pipeline(), "Pipeline"),
        (aio.TelescopeState().pipeline(), "Pipeline"),
    ]
    for owner, kind in made:
        if hasattr(owner, name):
            with pytest.raises(TypeError, match=rf"^{kind}\.{name}\(\)"):
                getattr(owner, name)(nope=1)
    with pytest.raises(TypeError, match=r"^RDBWriter\.__init__\(\)"):
        RDBWriter("a", "b")  # type: ignore[misc, arg-type]  # that it is refused is the test


def test_pickled_errors() -> None:
    """Errors can be pickled, before and after their text was read."""
    ts = TelescopeState()
    ts["n_chans"] = 4096
    error = failure(ts, "n_chanz")
    before = pickle.loads(pickle.dumps(error))
    assert str(error) != str(before) == "'n_chanz' not found"
    after = pickle.loads(pickle.dumps(error))
    assert (type(after), str(after), after.args) == (type(error), str(error), error.args)
    with pytest.raises(AttributeError) as caught:
        ts.n_chanz
    assert "n_chans" in str(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (type(caught.value), str(caught.value))


def test_backends_are_not_kept() -> None:
    """An error does not keep its backend alive, and without it makes no suggestion."""
    ts = TelescopeState()
    ts["n_chans"] = 4096
    error = failure(ts, "n_chanz")
    gone = weakref.ref(ts.backend)
    gc.disable()
    try:
        del ts
        assert gone() is None
    finally:
        gc.enable()
    assert str(error) == "'n_chanz' not found"


def test_a_server_is_not_asked(newest: RedisBinary) -> None:
    """The text of an error sends nothing to a server, and suggests methods only."""
    with (
        RedisServer(newest) as server,
        TelescopeState(server.url) as ts,
        redis.Redis.from_url(server.url) as client,
    ):
        ts["n_chans"] = 4096
        error = failure(ts, "n_chanz")
        with pytest.raises(AttributeError) as caught:
            ts.n_chanz
        before = client.info("stats")["total_commands_processed"]
        assert str(error) == "'n_chanz' not found"
        assert str(caught.value).endswith("no attribute or key 'n_chanz'")
        assert client.info("stats")["total_commands_processed"] == before + 1  # this INFO
        with pytest.raises(AttributeError, match=r"did you mean get_range\(\)\?"):
            ts.get_rnage


def test_broken_backend(caplog: pytest.LogCaptureFixture) -> None:
    """The error has its text even if the backend fails."""

    class Broken(Counting):
        __slots__ = ()

        def execute_many(
            self, operations: Any, /, *, deadline: Deadline | None = None
        ) -> list[Any]:
            raise ZeroDivisionError

    ts = TelescopeState(Broken())
    with caplog.at_level(logging.INFO):
        try:
            ts["n_chanz"]
        except KeyError:
            logging.getLogger("test").exception("no such key")
    assert "'n_chanz' not found" in caplog.text


async def test_asyncio(ats: aio.TelescopeState) -> None:
    """On asyncio, errors of a store in memory have suggestions, those of a server have not."""
    await ats.set("n_chans", 4096)
    with pytest.raises(KeyError, match="'n_chanz' not found") as caught:
        await ats["n_chanz"]
    in_memory = "store" in vars(ats.backend)
    assert ("did you mean 'n_chans'?" in str(caught.value)) == in_memory
    with pytest.raises(KeyError, match="'n_chanz' not found"):
        await ats.get_range("n_chanz")


@pytest.mark.parametrize(
    ("wanted", "names", "similar"),
    [
        ("n_chanz", ["n_chans", "n_pols", "bandwidth"], ["n_chans"]),
        ("nchans", ["n_chans"], ["n_chans"]),
        ("n-chans", ["n_chans"], ["n_chans"]),
        ("sync_tiem", ["sync_time", "bandwidth"], ["sync_time"]),
        (
            "n_chans",
            ["i0_antenna_channelised_voltage_n_chans", "chans"],
            ["chans", "i0_antenna_channelised_voltage_n_chans"],
        ),
        ("a", ["b", "c"], []),
        ("", ["a", ""], []),
        ("x" * 1000, ["x" * 999], []),
        ("k", [], []),
    ],
)
def test_find_similar(wanted: str, names: list[str], similar: list[str]) -> None:
    """Similar names are found, and names with another prefix; others are not."""
    assert find_similar(wanted, names) == similar


@settings(deadline=None, max_examples=30)
@given(st.text(max_size=10), st.lists(st.text(max_size=10), max_size=8))
def test_find_similar_of_anything(wanted: str, names: list[str]) -> None:
    """For any names, at most three of them are found."""
    found = find_similar(wanted, names)
    assert len(found) <= 3 and set(found) <= set(names)


# No deadlines: what is found must hold, not how soon on a busy machine.
@settings(deadline=None)
@given(st.text("abcdefgh_", min_size=6, max_size=20), st.data())
def test_typing_errors_are_found(name: str, data: st.DataObject) -> None:
    """A name with one letter too few or too many is found among hundreds."""
    at = data.draw(st.integers(0, len(name) - 1))
    wrong = data.draw(st.sampled_from([name[:at] + name[at + 1 :], name[:at] + "z" + name[at:]]))
    others = [f"q{number}_rstuvw" for number in range(300)]
    assert name in find_similar(wrong, [*others, name])
