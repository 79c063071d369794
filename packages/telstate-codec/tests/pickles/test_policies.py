"""The policy for pickles, by argument, call and environment; and writing pickles."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from telstate_codec.errors import DecodeError, EncodeError
from telstate_codec.pickles import (
    PICKLE_PROTOCOL,
    AllowPickle,
    PicklePolicy,
    dump_pickle,
    load_pickle,
    pickle_policy,
    set_allow_pickle,
)

PLAIN = pickle.dumps({"a": [1, 2.5]}, 2)
OTHER = pickle.dumps(threading.Timer, 2)  # harmless, but not plain data


@pytest.fixture(autouse=True)
def restore_policy() -> Iterator[None]:
    """Restore the default policy."""
    yield
    set_allow_pickle(False)


def test_refusal_names_the_safe_policy_first() -> None:
    """The refusal names the safe policy, and then the trusting one in katsdptelstate's words."""
    with pytest.raises(DecodeError) as caught:
        load_pickle(PLAIN, PicklePolicy.REFUSE)
    message = str(caught.value)
    phrase = (
        "you can allow the pickles to be loaded by setting KATSDPTELSTATE_ALLOW_PICKLE=1 "
        "in the environment"
    )
    assert phrase in message
    assert len(message) < 450 and "'safe'" in message.partition(". ")[0]
    assert 0 < message.index("'safe'") < message.index("TELSTATE_ALLOW_PICKLE=safe")
    assert message.index("TELSTATE_ALLOW_PICKLE=safe") < message.index(phrase)


@pytest.mark.parametrize(
    "value", [b"hello", b"hello.", b"127.0.0.1", b"{}", b'{"a": 1}', b"1.5", b"\x00\x01", b"a list"]
)
def test_other_bytes_are_not_called_a_pickle(value: bytes) -> None:
    """Bytes that start like a pickle, as any text does, but are not one are not called a pickle."""
    with pytest.raises(DecodeError, match=r"^The bytes are not an encoded value") as caught:
        load_pickle(value, PicklePolicy.REFUSE)
    message = str(caught.value)
    assert repr(value[:8]) in message and "pickle" not in message.partition(". ")[0]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "value",
    [None, True, 7, -(10**30), 1.5, "text", b"x", [1] * 500, {"a": (1,)}, (), [], {}, range],
)
def test_pickles_are_recognised(value: object, protocol: int) -> None:
    """The refusal calls a pickle of any protocol a pickle, also with bytes after its end."""
    with pytest.raises(DecodeError, match="^The value is a pickle"):
        load_pickle(pickle.dumps(value, protocol) + b"more", PicklePolicy.REFUSE)


@pytest.mark.parametrize(
    ("allow", "policy"),
    [
        (False, PicklePolicy.REFUSE),
        ("0", PicklePolicy.REFUSE),
        (0, PicklePolicy.REFUSE),
        (True, PicklePolicy.TRUST),
        ("1", PicklePolicy.TRUST),
        (np.bool_(True), PicklePolicy.TRUST),
        ("safe", PicklePolicy.SAFE),
        *((policy, policy) for policy in PicklePolicy),
    ],
)
def test_policies_by_call(allow: AllowPickle, policy: PicklePolicy) -> None:
    """Every accepted argument sets the policy of the process."""
    set_allow_pickle(allow)
    assert pickle_policy(None) is policy
    assert pickle_policy(allow) is policy
    plain, other = {
        PicklePolicy.REFUSE: (False, False),
        PicklePolicy.SAFE: (True, False),
        PicklePolicy.TRUST: (True, True),
    }[policy]
    assert (loads(PLAIN), loads(OTHER)) == (plain, other)


def loads(value: bytes) -> bool:
    """Return whether the policy of the process allows a pickle to be loaded."""
    try:
        load_pickle(value, None)
    except DecodeError:
        return False
    return True


@pytest.mark.parametrize("allow", ["yes", "", "SAFE", 2, b"safe", 1.5, []])
def test_unknown_policy_is_an_error_and_changes_nothing(allow: Any) -> None:
    """An invalid policy raises ValueError, and the old policy stays."""
    set_allow_pickle("safe")
    with pytest.raises(ValueError, match="must be a bool, '0', '1', 'safe'"):
        set_allow_pickle(allow)
    assert pickle_policy(None) is PicklePolicy.SAFE


def test_policy_in_the_call_takes_precedence() -> None:
    """A policy passed with a value takes precedence over that of the process."""
    set_allow_pickle(True)
    with pytest.raises(DecodeError):
        load_pickle(PLAIN, PicklePolicy.REFUSE)
    set_allow_pickle(False)
    assert load_pickle(OTHER, PicklePolicy.TRUST) is threading.Timer


@pytest.mark.parametrize("allow", [True, "safe"])
def test_one_warning_at_the_next_pickle(allow: AllowPickle) -> None:
    """With warn, the next pickle issues a FutureWarning for the caller, and later ones do not."""
    set_allow_pickle(allow, warn=True)
    with pytest.warns(FutureWarning, match="pickled values") as record:
        load_pickle(PLAIN)
    assert record[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_pickle(PLAIN)


def test_no_warning_before_a_pickle_is_allowed() -> None:
    """A pickle that is refused raises an error and issues no warning."""
    set_allow_pickle(False, warn=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DecodeError):
            load_pickle(PLAIN)


def test_warning_as_error_comes_once() -> None:
    """Where warnings are errors, the pickle after the error is loaded."""
    set_allow_pickle(True, warn=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(FutureWarning):
            load_pickle(PLAIN)
        assert load_pickle(PLAIN) == {"a": [1, 2.5]}


SCRIPT = """
import pickle, sys, warnings
from telstate_codec.pickles import load_pickle, pickle_policy
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(pickle_policy(None).name, pickle_policy(None).name)
for warning in caught:
    print(warning.category.__name__, warning.message)
"""


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (None, None, ["REFUSE REFUSE"]),
        (None, "0", ["REFUSE REFUSE"]),
        (None, "1", ["TRUST TRUST"]),
        (None, "safe", ["SAFE SAFE"]),
        ("1", None, ["TRUST TRUST"]),
        ("safe", "1", ["SAFE SAFE"]),
        ("0", "1", ["REFUSE REFUSE"]),
        (
            "yes",
            "1",
            [
                "REFUSE REFUSE",
                "UserWarning TELSTATE_ALLOW_PICKLE is 'yes', not 0, 1 or safe; "
                "pickles will be refused.",
            ],
        ),
        (
            None,
            "",
            [
                "REFUSE REFUSE",
                "UserWarning KATSDPTELSTATE_ALLOW_PICKLE is '', not 0, 1 or safe; "
                "pickles will be refused.",
            ],
        ),
    ],
)
def test_policy_from_the_environment(
    ours: str | None, theirs: str | None, expected: list[str]
) -> None:
    """0, 1 and safe set the policy, TELSTATE_ wins, and other values warn once and refuse."""
    names = {"TELSTATE_ALLOW_PICKLE": ours, "KATSDPTELSTATE_ALLOW_PICKLE": theirs}
    environment = {name: text for name, text in os.environ.items() if name not in names}
    environment.update({name: text for name, text in names.items() if text is not None})
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines() == expected


def test_plain_pickles_do_not_load_numpy() -> None:
    """NumPy is loaded with the first pickle that needs it."""
    script = (
        "import sys\n"
        "from telstate_codec.pickles import *\n"
        "assert 'telstate_codec._pickle.reader' not in sys.modules\n"
        f"load_pickle({PLAIN!r}, PicklePolicy.SAFE)\n"
        "assert 'numpy' not in sys.modules\n"
        f"print(load_pickle({pickle.dumps(np.int16(5), 2)!r}, PicklePolicy.SAFE))\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "5\n"


class TooDeep:
    """Cannot be pickled."""

    def __reduce__(self) -> str:
        raise RuntimeError("too deep")


def test_values_that_cannot_be_pickled_raise_encode_error() -> None:
    """Any failure raises EncodeError, which names the type and chains the cause."""
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (TooDeep(), lambda: None, threading.Lock(), deep):
        with pytest.raises(EncodeError, match=f"A {type(value).__name__} cannot") as caught:
            dump_pickle(value)
        assert isinstance(caught.value.__cause__, Exception)


def test_pickles_are_written_with_protocol_2() -> None:
    """The bytes are those of Python's pickle with protocol 2, which katsdptelstate writes."""
    for value in (None, "x", b"\xff", (1, 2.5), {"a": np.arange(3)}, np.float32(1), {1, 2}):
        assert PICKLE_PROTOCOL == 2
        assert dump_pickle(value) == pickle.dumps(value, 2)
        assert dump_pickle(value)[:2] == b"\x80\x02"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x80\x02",
        b"garbage",
        b"cno_such_module\nname\n.",
        b"cbuiltins\nint\n(S'x'\ntR.",
        b"cbuiltins\nint\n}S'real'\nI1\nsb.",
        pickle.dumps(list(range(100)), 2)[:-1],
    ],
)
@pytest.mark.parametrize("policy", [PicklePolicy.SAFE, PicklePolicy.TRUST])
def test_malformed_pickles_raise_decode_error(value: bytes, policy: PicklePolicy) -> None:
    """A malformed pickle raises DecodeError with the cause chained, under either policy."""
    with pytest.raises(DecodeError) as caught:
        load_pickle(value, policy)
    assert isinstance(caught.value.__cause__, Exception)


def test_messages_of_long_causes_are_short() -> None:
    """The message is short even if that of the cause is long."""
    with pytest.raises(DecodeError) as caught:
        load_pickle(b"cbuiltins\nint\n(S'" + b"x" * 100_000 + b"'\ntR.", PicklePolicy.TRUST)
    assert len(str(caught.value)) < 400


def test_python_2_strings_are_read_as_latin_1_under_trust() -> None:
    """In trusted pickles, a str of Python 2 becomes text, byte for byte."""
    assert load_pickle(b"\x80\x02U\x02a\xff.", PicklePolicy.TRUST) == "a\xff"
