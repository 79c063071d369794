"""Pickled values: the policy for loading them, loading, and writing.

MeerKAT archives from before March 2019 hold pickles. A pickle is a program, so there are three
policies:

========== ============================= ==========================================================
policy     chosen by                     effect on a pickle
========== ============================= ==========================================================
``REFUSE`` ``False``, ``"0"`` (default)  `DecodeError`, which says how to allow pickles
``SAFE``   ``"safe"``                    plain data is read by our own machine
                                         (`telstate_codec._pickle`), which cannot call anything;
                                         other pickles raise `DecodeError`
``TRUST``  ``True``, ``"1"``             Python's unpickler does whatever the pickle says
========== ============================= ==========================================================

The policy of the process is the one passed to `set_allow_pickle`, or else the one in the environment
(`TELSTATE_ALLOW_PICKLE`, or else `KATSDPTELSTATE_ALLOW_PICKLE`: ``0``, ``1`` or ``safe``), which is
read when the first pickle arrives. A policy passed along with a value takes precedence over both.
"""

from __future__ import annotations

import enum
import os
import pickle
import warnings
from itertools import islice
from typing import Final, Literal, TypeAlias

from .errors import DecodeError, EncodeError

PICKLE_PROTOCOL: Final = 2
"""The protocol that `dump_pickle` writes: the newest that Python 2 reads."""

ENVIRONMENT: Final = ("TELSTATE_ALLOW_PICKLE", "KATSDPTELSTATE_ALLOW_PICKLE")
"""Environment variables that set the policy; the first one that is set counts."""

REFUSAL: Final = (
    "The value is a pickle, as MeerKAT wrote before March 2019, and is refused because a pickle can run "
    "any program; set_allow_pickle('safe'), or TELSTATE_ALLOW_PICKLE=safe in the environment, reads it "
    "if it is plain data. If you trust the source of the data, you can allow the pickles to be loaded "
    "by setting KATSDPTELSTATE_ALLOW_PICKLE=1 in the environment, or with set_allow_pickle(True)."
)
NOT_A_VALUE: Final = (
    "The bytes are not an encoded value (they start with {start!r}): another program wrote them, or "
    "they are corrupt. If they are a corrupt pickle, set_allow_pickle('safe') shows what is wrong."
)
WARNING: Final = (
    "The telescope state contains pickled values, which set_allow_pickle allows to be loaded. "
    "Pickles were last written in March 2019, and a later release may refuse them."
)


class PicklePolicy(enum.Enum):
    """Treatment of pickled values: refuse them, read plain data safely, or trust them."""

    REFUSE = "0"
    SAFE = "safe"
    TRUST = "1"


AllowPickle: TypeAlias = bool | Literal["0", "1", "safe"] | PicklePolicy
"""A policy for pickles, as functions accept it.

``False`` or ``"0"`` refuses pickles, ``"safe"`` reads plain data only, ``True`` or ``"1"`` loads
everything.
"""

_TRUST: Final = PicklePolicy.TRUST  # a global is faster to look up than an attribute

# Also finds 0, 1 and NumPy's booleans, which are equal to Python's.
_POLICIES: Final[dict[object, PicklePolicy]] = {
    False: PicklePolicy.REFUSE,
    True: PicklePolicy.TRUST,
    **{policy.value: policy for policy in PicklePolicy},
    **{policy: policy for policy in PicklePolicy},
}


class _Settings:
    """The policy of this process, and whether the next pickle issues a warning."""

    policy: PicklePolicy | None = None  # None until the environment has been read
    warn = False


def set_allow_pickle(allow: AllowPickle, warn: bool = False) -> None:
    """Set the policy for pickled values in the whole process.

    Parameters
    ----------
    allow
        ``False`` or ``"0"`` to refuse pickles, ``"safe"`` to read plain data only, ``True`` or
        ``"1"`` to load everything (which trusts everyone who can write to the store), or a
        `PicklePolicy`.
    warn
        Whether to issue a `FutureWarning`, once, when the next pickle is loaded.

    Raises
    ------
    ValueError
        If `allow` is anything else; the policy stays as it was.

    Examples
    --------
    >>> set_allow_pickle("safe")
    >>> load_pickle(dump_pickle({"bandwidth": 856e6}))
    {'bandwidth': 856000000.0}
    >>> set_allow_pickle(False)
    """
    _Settings.policy = pickle_policy(allow)
    _Settings.warn = warn


def warns_of_pickle() -> bool:
    """Return whether the next pickle that is loaded issues a warning; see `set_allow_pickle`."""
    return _Settings.warn


def pickle_policy(allow: AllowPickle | None) -> PicklePolicy:
    """Return the policy that `allow` stands for; ``None`` stands for the policy of the process.

    Raises
    ------
    ValueError
        If `allow` is not a value that `set_allow_pickle` accepts.
    """
    if allow is None:
        return _process_policy()
    try:
        return _POLICIES[allow]
    except (KeyError, TypeError):
        raise ValueError(
            f"The policy for pickles must be a bool, '0', '1', 'safe' or a PicklePolicy, not {allow!r}."
        ) from None


def load_pickle(value: bytes, policy: PicklePolicy | None = None) -> object:
    """Load a pickled value as far as the policy allows.

    Parameters
    ----------
    value
        A pickle of any protocol. A ``str`` of Python 2 becomes a `str`, byte for byte (Latin-1).
        Bytes after the end of the pickle are ignored.
    policy
        The policy; by default that of the process (see `set_allow_pickle`).

    Raises
    ------
    DecodeError
        If the policy refuses the pickle, or it cannot be loaded (the cause is chained).
    """
    if policy is None:
        policy = _Settings.policy or _process_policy()
        if _Settings.warn and policy is not PicklePolicy.REFUSE:
            _Settings.warn = False
            warnings.warn(WARNING, FutureWarning, stacklevel=2)
    if policy is _TRUST:
        try:
            return pickle.loads(value, encoding="latin1")
        except Exception as error:
            raise DecodeError(f"The pickle cannot be loaded: {_summary(error)}") from error
    if policy is PicklePolicy.REFUSE:
        raise DecodeError(
            REFUSAL if _is_pickle(value) else NOT_A_VALUE.format(start=value[:_SHOWN])
        )
    # Imported here, because few programs need it.
    from ._pickle.reader import load_plain

    return load_plain(value)


def dump_pickle(value: object) -> bytes:
    """Pickle a value with protocol 2, as the same bytes that katsdptelstate writes.

    Raises
    ------
    EncodeError
        If the value cannot be pickled (the cause is chained).
    """
    try:
        return pickle.dumps(value, PICKLE_PROTOCOL)
    except Exception as error:
        kind = type(value).__name__
        raise EncodeError(f"A {kind} cannot be pickled: {_summary(error)}") from error


def _process_policy() -> PicklePolicy:
    """Return the policy of the process, read from the environment unless it has been set."""
    if _Settings.policy is None:
        name = next((name for name in ENVIRONMENT if name in os.environ), ENVIRONMENT[0])
        text = os.environ.get(name, PicklePolicy.REFUSE.value)
        try:
            _Settings.policy = PicklePolicy(text)
        except ValueError:
            _Settings.policy = PicklePolicy.REFUSE  # before warning, which may raise
            message = f"{name} is {text!r}, not 0, 1 or safe; pickles will be refused."
            warnings.warn(message, UserWarning, stacklevel=3)
    return _Settings.policy


_SHOWN: Final = 8  # bytes of an invalid value that are shown
_MAX_OPCODES: Final = 100  # opcodes that are read to recognise a pickle
_NEW_STARTS: Final = tuple(
    bytes([0x80, protocol]) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
)


def _is_pickle(value: bytes) -> bool:
    """Return whether bytes look like a pickle from their beginning, without running any of it."""
    if value.startswith(_NEW_STARTS):
        return True
    # Protocols 0 and 1 may begin with any opcode, and text looks like some of them. Imported here,
    # because only errors need this module.
    from pickletools import genops

    try:
        opcodes = [opcode for opcode, _, _ in islice(genops(value), _MAX_OPCODES)]
    except Exception:  # genops raises various exceptions on bytes that are not a pickle
        return False
    first = opcodes[0]
    return not first.stack_before and "GET" not in first.name and bool(first.stack_after)


def _summary(error: Exception) -> str:
    text = str(error)
    return type(error).__name__ + (f": {text[:200]}" if text else "")
