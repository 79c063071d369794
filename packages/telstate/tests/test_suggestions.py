"""Errors of missing keys that suggest the nearest, when they are read and not before."""

import gc
import logging
import pickle
import subprocess
import sys
import traceback
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telstate import MemoryBackend, TelescopeState, aio
from telstate.suggestions import ALIKE, Hint, MissingKeyError, nearest
from telstate.views import View
from telstate_backends import Operation, SomeKeys
from telstate_testing import RedisServer, redis_binaries


class Counting(MemoryBackend):
    """A backend, not known to be in memory, that counts how often some keys are listed."""

    def __init__(self) -> None:
        super().__init__()
        self.kept, self.store = self.store, None  # type: ignore[assignment]  # not to be found
        self.listed = 0

    def execute(self, operation: Operation[Any], /) -> Any:
        return operation.apply(self.kept)

    def execute_many(self, operations: Any, /) -> list[Any]:
        self.listed += sum(isinstance(operation, SomeKeys) for operation in operations)
        return [operation.apply(self.kept) for operation in operations]


def failure(ts: TelescopeState, key: str | bytes) -> KeyError:
    """Give the error for a missing key, as somebody keeps it."""
    try:
        ts[key]
    except KeyError as error:
        return error.with_traceback(None)
    raise AssertionError("there is such a key")


def test_suggestion(ts: TelescopeState) -> None:
    """Items, attributes and ranges suggest the nearest key by the name that it has in the view."""
    ts["n_chans"] = 4096
    ts.view("beam")["n_pols"] = 2
    assert str(failure(ts, "n_chanz")) == "'n_chanz' not found; did you mean 'n_chans'?"
    view = ts.view("beam")
    with pytest.raises(KeyError, match=r"prefixes 'beam_', ''; did you mean 'n_pols'\?"):
        view.get_range("n_pol")
    with pytest.raises(AttributeError, match=r"did you mean 'n_pols'\?"):
        view.n_pol
    assert str(failure(ts, "n_pols")) == "'n_pols' not found; did you mean 'beam_n_pols'?"
    assert str(failure(ts, b"N-Chans")).endswith("did you mean 'n_chans'?")
    assert str(failure(ts, "nothing_like_it")) == "'nothing_like_it' not found"
    only = ts.view("beam", exclusive=True)
    assert str(failure(only, "n_chanz")) == "'n_chanz' not found under any of the prefixes 'beam_'"


HABITS: dict[str, tuple[Callable[[Any], object], str]] = {
    "items": (lambda ts: ts.items(), r"ts\.get_many\(.*ts\.keys\(\)\)"),
    "values": (lambda ts: ts.values(), r"ts\.get_many\(.*ts\.keys\(\)\)"),
    "update": (lambda ts: ts.update({}), r"ts\.pipeline\(\)"),
    "setdefault": (lambda ts: ts.setdefault("a", 1), r"ts\.get\(key, default\)"),
    "pop": (lambda ts: ts.pop("a"), r"ts\.delete\(key\)"),
    "set": (lambda ts: ts.set("a", 1), r"ts\[key\] = value"),
    "exists": (lambda ts: ts.exists("a"), "key in ts"),
}


@pytest.mark.parametrize("name", HABITS)
def test_habits(name: str) -> None:
    """What dictionaries and Redis clients have is an error that says what to write; a key of that name is one."""
    attempt, advice = HABITS[name]
    ts = TelescopeState()
    with pytest.raises(
        AttributeError, match=f"^'{name}' is neither a method nor a key: use .*{advice}"
    ):
        attempt(ts)
    assert not hasattr(ts, name)
    ats: Any = aio.TelescopeState()
    if not hasattr(ats, name):
        with pytest.raises(AttributeError, match=f"no attribute '{name}'; use .*(await|async) "):
            attempt(ats)
    ts[name] = 17
    assert getattr(ts, name) == 17


def test_del() -> None:
    """To delete a key as an attribute is an error that says how to do it; private ones can be deleted."""
    ts: Any
    for ts, way in ((TelescopeState(), "use ts"), (aio.TelescopeState(), "use await ts")):
        for name in ("gain", "keys"):
            with pytest.raises(
                AttributeError, match=rf"not deleted with del: {way}\.delete\('{name}'\)"
            ):
                delattr(ts, name)
        ts._note = 1
        del ts._note
        with pytest.raises(AttributeError, match="_note"):
            del ts._note


def test_plain_message() -> None:
    """The error is a KeyError whose first argument and repr are the plain message."""
    ts = TelescopeState()
    ts["n_chans"] = 4096
    error = failure(ts, "n_chanz")
    assert isinstance(error, MissingKeyError) and isinstance(error, KeyError)
    assert error.args == ("'n_chanz' not found",)
    assert repr(error) == "MissingKeyError(\"'n_chanz' not found\")"


def test_nothing_is_asked_before_the_text_is() -> None:
    """Catching, probing and reading with a default list no keys; the text lists them once."""
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
    """A printed traceback suggests it in our words only, and for that lists keys once."""
    backend = Counting()
    ts = TelescopeState(backend)
    ts["n_chans"] = 4096
    with pytest.raises(AttributeError) as caught:
        ts.n_chanz
    lines = "".join(traceback.format_exception(caught.value)).lower()
    assert lines.count("did you mean") == 1
    assert backend.listed == 1


def test_uncaught() -> None:
    """The interpreter's own words for an error that nobody catches are no others."""
    code = "import telstate; ts = telstate.TelescopeState(); ts['n_chans'] = 1; ts.n_chanz"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    last = done.stderr.splitlines()[-1]
    assert last.endswith("MissingAttributeError: 'n_chanz' not found; did you mean 'n_chans'?")


def test_errors_travel() -> None:
    """Errors can be pickled, before they are read and after, with what is known then."""
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
    """An error that is kept keeps no store, and says only that the key is missing."""
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


@pytest.mark.skipif(not redis_binaries(), reason="there is no Redis server")
def test_dead_server() -> None:
    """Where the server is gone there is no suggestion, and no other error."""
    with RedisServer(redis_binaries()[-1]) as server, TelescopeState(server.url) as ts:
        ts["n_chans"] = 4096
        error, other = failure(ts, "n_chanz"), failure(ts, "n_chanz")
        server.kill()
        assert str(error) == "'n_chanz' not found"
        server.start()
        assert str(error) == str(other) == "'n_chanz' not found"  # empty now, and asked once


def test_broken_backend(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a backend does, the text of an error is there."""

    class Broken(Counting):
        __slots__ = ()

        def execute_many(self, operations: Any, /) -> list[Any]:
            raise ZeroDivisionError

    ts = TelescopeState(Broken())
    with caplog.at_level(logging.INFO):
        try:
            ts["n_chanz"]
        except KeyError:
            logging.getLogger("test").exception("no such key")
    assert "'n_chanz' not found" in caplog.text
    hint = Hint(View(("",)), "k")
    hint.look_in(7)
    assert str(hint) == ""


async def test_asyncio(ats: aio.TelescopeState) -> None:
    """Under asyncio a store in memory is asked, a server is not: that cannot be awaited."""
    await ats.set("n_chans", 4096)
    with pytest.raises(KeyError, match="'n_chanz' not found") as caught:
        await ats["n_chanz"]
    in_memory = "store" in vars(ats.backend)
    assert ("did you mean 'n_chans'?" in str(caught.value)) == in_memory
    with pytest.raises(KeyError, match="'n_chanz' not found"):
        await ats.get_range("n_chanz")


@pytest.mark.parametrize(
    ("wanted", "names", "close"),
    [
        ("n_chanz", ["n_chans", "n_pols", "bandwidth"], ["n_chans"]),
        ("nchans", ["n_chans"], ["n_chans"]),
        ("N_CHANS", ["n_chans"], ["n_chans"]),
        ("n-chans", ["n_chans"], ["n_chans"]),
        ("sync_tiem", ["sync_time", "sync_state"], ["sync_time"]),
        ("m001_target", ["m000_target", "m063_target", "x"], ["m000_target", "m063_target"]),
        (
            "n_chans",
            ["i0_antenna_channelised_voltage_n_chans"],
            ["i0_antenna_channelised_voltage_n_chans"],
        ),
        ("cal_antlis", ["1600000000_cal_antlist", "cal_n_chans"], ["1600000000_cal_antlist"]),
        ("a", ["b", "c"], []),
        ("", ["a", ""], []),
        ("x" * 1000, ["x" * 999], []),
        ("k", [], []),
    ],
)
def test_nearest(wanted: str, names: list[str], close: list[str]) -> None:
    """Slips of the finger, of case and of prefix find what was meant, and what is far does not."""
    assert nearest(wanted, names) == close


@settings(deadline=None)
@given(st.text(max_size=20), st.lists(st.text(max_size=20)))
def test_nearest_of_anything(wanted: str, names: list[str]) -> None:
    """Whatever the names are, at most three of them are found."""
    found = nearest(wanted, names)
    assert len(found) <= 3 and set(found) <= set(names)
    assert 0 < ALIKE < 1


# No deadlines: what is found must hold, not how soon on a busy machine.
@settings(deadline=None)
@given(st.text("abcdefgh_", min_size=6, max_size=20), st.data())
def test_a_slip_is_found(name: str, data: st.DataObject) -> None:
    """A name with one letter wrong, missing or too many is the nearest of thousands."""
    at = data.draw(st.integers(0, len(name) - 1))
    wrong = data.draw(st.sampled_from([name[:at] + name[at + 1 :], name[:at] + "z" + name[at:]]))
    others = [f"q{number}_rstuvw" for number in range(300)]
    assert name in nearest(wrong, [*others, name])
