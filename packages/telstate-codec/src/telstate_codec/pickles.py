"""Pickled values: who may load them, loading, and writing.

Archives from before March 2019 hold pickles. A pickle is a program, so there are three policies:

========== ============================= ===================================================
policy     chosen by                     what happens to a pickle
========== ============================= ===================================================
``REFUSE`` ``False``, ``"0"``, (default) `DecodeError` that says how to allow it
``SAFE``   ``"safe"``                    plain data is read by our own machine
                                         (`telstate_codec._pickle.reader`), which can call
                                         nothing; anything else is a `DecodeError`
``TRUST``  ``True``, ``"1"``             Python's unpickler does whatever the pickle says
========== ============================= ===================================================

The policy of the process is the one given to `set_allow_pickle`, or else that of the environment
(`TELSTATE_ALLOW_PICKLE`, or else `KATSDPTELSTATE_ALLOW_PICKLE`: ``0``, ``1`` or ``safe``), looked at
when the first pickle arrives. A policy given with a value beats both.
"""

from __future__ import annotations

import enum
import os
import pickle
import warnings
from typing import Final

from .errors import DecodeError, EncodeError

PICKLE_PROTOCOL: Final = 2
"""The protocol that `dump_pickle` writes: the newest that Python 2 reads."""

ENVIRONMENT: Final = ("TELSTATE_ALLOW_PICKLE", "KATSDPTELSTATE_ALLOW_PICKLE")
"""Environment variables that set the policy; the first one that is set counts."""

REFUSAL: Final = (
    "The value is a pickle, as MeerKAT wrote before March 2019, and is refused because a pickle can run "
    "any program: set_allow_pickle('safe'), or TELSTATE_ALLOW_PICKLE=safe in the environment, reads it "
    "if it is plain data. If that is not enough and you trust the source of the data, you can allow the "
    "pickles to be loaded by setting KATSDPTELSTATE_ALLOW_PICKLE=1 in the environment, or with "
    "set_allow_pickle(True)."
)
FOREIGN: Final = (
    "The value is none of a telescope state (it begins with {start!r}): another program wrote it, or it "
    "is damaged. Should it be a damaged pickle, set_allow_pickle('safe') says what is wrong with it."
)
WARNING: Final = (
    "The telescope state contains pickled values; loading them was allowed with set_allow_pickle. "
    "Pickles were last written in March 2019, and a later release may refuse them."
)


class PicklePolicy(enum.Enum):
    """What may be done with a pickled value; see the table at the top of this module."""

    REFUSE = "0"
    SAFE = "safe"
    TRUST = "1"


_TRUST: Final = PicklePolicy.TRUST  # quicker to look up

# What `set_allow_pickle` takes; 0, 1 and NumPy's booleans are found here, too.
_POLICIES: Final[dict[object, PicklePolicy]] = {
    False: PicklePolicy.REFUSE,
    True: PicklePolicy.TRUST,
    **{policy.value: policy for policy in PicklePolicy},
    **{policy: policy for policy in PicklePolicy},
}


class _Settings:
    """The policy of this process, and whether the next pickle is worth a warning."""

    policy: PicklePolicy | None = None  # None: the environment has not been looked at yet
    warn = False


def set_allow_pickle(allow: bool | str | PicklePolicy, warn: bool = False) -> None:
    """Say what is to be done with pickled values from now on, in the whole process.

    Parameters
    ----------
    allow
        ``False`` or ``"0"`` to refuse them, ``"safe"`` to read plain data only, ``True`` or ``"1"``
        to load everything (trust whoever wrote them), or a `PicklePolicy`.
    warn
        Whether to issue one `FutureWarning` when the next pickle is loaded.

    Raises
    ------
    ValueError
        If `allow` is something else; the policy stays as it was.

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
    """Tell whether the next pickle that is loaded will be warned of; see `set_allow_pickle`."""
    return _Settings.warn


def pickle_policy(allow: bool | str | PicklePolicy | None) -> PicklePolicy:
    """Give the policy that `allow` stands for; ``None`` stands for the policy of the process.

    Raises
    ------
    ValueError
        If `allow` is none of those that `set_allow_pickle` takes.
    """
    if allow is None:
        return _process_policy()
    try:
        return _POLICIES[allow]
    except (KeyError, TypeError):
        raise ValueError(
            f"allow is {allow!r}; it must be a bool, '0', '1', 'safe' or a PicklePolicy"
        ) from None


def load_pickle(value: bytes, policy: PicklePolicy | None = None) -> object:
    """Load a pickled value as far as the policy allows.

    Parameters
    ----------
    value
        A pickle, of any protocol. What Python 2 wrote as ``str`` becomes `str`, byte for byte
        (Latin-1). Bytes after its end are ignored.
    policy
        What to do with it; by default the policy of the process (`set_allow_pickle`, environment).

    Raises
    ------
    DecodeError
        If the policy refuses the pickle, or it cannot be loaded (the reason is chained).
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
        raise DecodeError(REFUSAL if _is_pickle(value) else FOREIGN.format(start=value[:_SHOWN]))
    # Only here, so that nobody pays for the machine who does not use it.
    from ._pickle.reader import load_plain

    return load_plain(value)


def dump_pickle(value: object) -> bytes:
    """Pickle a value with protocol 2, in the bytes that katsdptelstate writes.

    Raises
    ------
    EncodeError
        If the value cannot be pickled (the reason is chained).
    """
    try:
        return pickle.dumps(value, PICKLE_PROTOCOL)
    except Exception as error:
        kind = type(value).__name__
        raise EncodeError(f"A {kind} cannot be pickled: {_summary(error)}") from error


def _process_policy() -> PicklePolicy:
    """Give the policy of the process, from the environment if nobody has set one."""
    if _Settings.policy is None:
        name = next((name for name in ENVIRONMENT if name in os.environ), ENVIRONMENT[0])
        text = os.environ.get(name, PicklePolicy.REFUSE.value)
        try:
            _Settings.policy = PicklePolicy(text)
        except ValueError:
            _Settings.policy = PicklePolicy.REFUSE  # first: the warning may be made an error
            message = f"{name} is {text!r}, not 0, 1 or safe: pickles will be refused"
            warnings.warn(message, UserWarning, stacklevel=3)
    return _Settings.policy


# How many bytes of what is no value are shown.
_SHOWN: Final = 8
# How many opcodes are looked at to tell whether something is a pickle.
_LOOKED_AT: Final = 100
_NEWER: Final = tuple(bytes([0x80, protocol]) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1))


def _is_pickle(value: bytes) -> bool:
    """Tell whether bytes are a pickle, as far as their beginning tells; nothing of it is run."""
    if value.startswith(_NEWER):
        return True
    # Protocols 0 and 1 begin with any opcode, and text looks like some of them. Loaded here, because
    # only errors need it.
    from itertools import islice
    from pickletools import genops

    try:
        opcodes = [opcode for opcode, _, _ in islice(genops(value), _LOOKED_AT)]
    except Exception:  # Whatever it is, no pickle gives it.
        return False
    first = opcodes[0]
    return not first.stack_before and "GET" not in first.name and bool(first.stack_after)


def _summary(error: Exception) -> str:
    """Name an error in few words, however many it has itself."""
    text = str(error)
    return type(error).__name__ + (f": {text[:200]}" if text else "")
