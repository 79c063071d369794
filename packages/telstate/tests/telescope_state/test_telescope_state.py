"""Attributes, completion and signatures of the synchronous TelescopeState.

Reading, writing, waiting and watching are tested in folders of their own.
"""

import inspect

import pytest

import telstate
from telstate import (
    ENCODING_DEFAULT,
    ConnectionError,
    DecodeError,
    EncodeError,
    RdbParseError,
    TelescopeState,
    TelstateError,
)

EMPTY = inspect.Parameter.empty


def test_names_are_attributes_of_the_class() -> None:
    """Public names are attributes of the class, where clients look for them with `hasattr`."""
    names = (
        """SEPARATOR add backend clear delete get get_indexed get_range is_immutable join key_type
    keys load_from_file prefixes root set_indexed view wait_indexed wait_key""".split()
    )
    assert [name for name in names if not hasattr(TelescopeState, name)] == []


# Names, order and defaults on which clients rely; they pass most arguments by position.
PARAMETERS: dict[str, dict[str, object]] = {
    "get": {"key": EMPTY, "default": None, "return_encoded": False},
    "get_indexed": {"key": EMPTY, "sub_key": EMPTY, "default": None, "return_encoded": False},
    "get_range": {
        "key": EMPTY,
        "st": None,
        "et": None,
        "include_previous": None,
        "include_end": False,
        "return_encoded": False,
    },
    "view": {"name": EMPTY, "add_separator": True, "exclusive": False},
    "root": {},
    "key_type": {"key": EMPTY},
    "is_immutable": {"key": EMPTY},
    "keys": {"filter": "*"},
    "add": {
        "key": EMPTY,
        "value": EMPTY,
        "ts": None,
        "immutable": False,
        "encoding": ENCODING_DEFAULT,
    },
    "set_indexed": {"key": EMPTY, "sub_key": EMPTY, "value": EMPTY, "encoding": ENCODING_DEFAULT},
    "delete": {"key": EMPTY},
    "clear": {},
    "wait_key": {"key": EMPTY, "condition": None, "timeout": None, "cancel_future": None},
    "wait_indexed": {
        "key": EMPTY,
        "sub_key": EMPTY,
        "condition": None,
        "timeout": None,
        "cancel_future": None,
    },
    "load_from_file": {"file": EMPTY},
}


def test_parameters() -> None:
    """Methods have the documented parameters in order; all others are keyword-only."""
    for name, wanted in PARAMETERS.items():
        parameters = list(inspect.signature(getattr(TelescopeState, name)).parameters.values())[1:]
        assert {one.name: one.default for one in parameters[: len(wanted)]} == wanted, name
        assert all(one.kind is one.KEYWORD_ONLY for one in parameters[len(wanted) :]), name


def test_separator() -> None:
    """`join` joins parts of keys by `SEPARATOR`."""
    assert TelescopeState.SEPARATOR == "_"
    assert TelescopeState.join("a", "b", "c") == TelescopeState().join("a", "b", "c") == "a_b_c"
    assert TelescopeState.join() == ""


def test_attributes(ts: TelescopeState) -> None:
    """Attributes are keys, except private names and attributes of the class."""
    ts.n_chans = 4096
    assert ts.n_chans == ts["n_chans"] == 4096
    ts._private = 3
    assert ts._private == 3
    assert ts.keys() == ["n_chans"]
    with pytest.raises(AttributeError, match="'nope'"):
        ts.nope  # noqa: B018  # reading it is the test
    for name in ("view", "SEPARATOR", "prefixes"):
        with pytest.raises(AttributeError, match=name):
            setattr(ts, name, 1)
    ts["view"] = "a key all the same"
    assert ts["view"] == "a key all the same"


def test_completion(ts: TelescopeState) -> None:
    """Item completion lists the names of the view, attribute completion those that are identifiers."""
    ts["a_k"] = 1
    ts["1_x"] = 1
    assert ts.view("a")._ipython_key_completions_() == ["1_x", "a_k", "k"]
    offered = dir(ts.view("a"))
    assert "k" in offered and "get_range" in offered and "1_x" not in offered


def test_not_iterable(ts: TelescopeState) -> None:
    """A telescope state is not iterable."""
    with pytest.raises(TypeError, match="not iterable"):
        iter(ts)  # type: ignore[call-overload]  # that it is refused is the test


def test_errors_are_of_one_family() -> None:
    """The errors of the lower packages are exported and are TelstateErrors."""
    import telstate_backends
    import telstate_codec
    import telstate_rdb

    assert issubclass(RdbParseError, telstate_rdb.RdbParseError)
    assert DecodeError is telstate_codec.DecodeError
    assert ConnectionError is telstate_backends.ConnectionError
    assert issubclass(DecodeError, ValueError) and issubclass(EncodeError, ValueError)
    names = """ConnectionError RdbParseError InvalidKeyError InvalidTimestampError ImmutableKeyError TimeoutError
    CancelledError DecodeError EncodeError ReadOnlyError BatchError""".split()
    for error in (getattr(telstate, name) for name in names):
        assert issubclass(error, TelstateError) and issubclass(error, RuntimeError)
