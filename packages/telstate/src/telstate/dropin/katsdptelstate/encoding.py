"""Encoding and decoding of values.

Tests of clients patch ``_allow_pickle`` and ``_warn_on_pickle`` in this module, so these attributes read and
write the settings of the process, which `telstate_codec` keeps. Therefore the module has its own class.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Final

from telstate_codec import (
    ALLOWED_ENCODINGS,
    ENCODING_DEFAULT,
    ENCODING_MSGPACK,
    ENCODING_PICKLE,
    PICKLE_PROTOCOL,
    DecodeError,
    EncodeError,
    PicklePolicy,
    decode_value,
    encode_value,
    equal_encoded_values,
    set_allow_pickle,
)
from telstate_codec.pickles import REFUSAL as PICKLE_ERROR
from telstate_codec.pickles import WARNING as PICKLE_WARNING
from telstate_codec.pickles import pickle_policy, warns_of_pickle

__all__ = [
    "ALLOWED_ENCODINGS",
    "DecodeError",
    "ENCODING_DEFAULT",
    "ENCODING_MSGPACK",
    "ENCODING_PICKLE",
    "EncodeError",
    "MSGPACK_EXT_COMPLEX128",
    "MSGPACK_EXT_NDARRAY",
    "MSGPACK_EXT_NUMPY_SCALAR",
    "MSGPACK_EXT_TUPLE",
    "PICKLE_ERROR",
    "PICKLE_PROTOCOL",
    "PICKLE_WARNING",
    "decode_value",
    "encode_value",
    "equal_encoded_values",
    "set_allow_pickle",
]

MSGPACK_EXT_TUPLE: Final = 1
MSGPACK_EXT_COMPLEX128: Final = 2
MSGPACK_EXT_NDARRAY: Final = 3
MSGPACK_EXT_NUMPY_SCALAR: Final = 4


class Setting:
    """An attribute that is a setting of the process.

    `unittest.mock.patch` sets it, afterwards deletes it and, because it is then missing, sets it to
    its original value. So a deleted attribute is missing until it is set; the setting is unchanged.
    """

    def __init__(self, get: Callable[[], object], put: Callable[[object], None]) -> None:
        self._get = get
        self._put = put
        self._deleted = False

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, module: ModuleType, owner: type | None = None) -> object:
        if self._deleted:
            raise AttributeError(f"module {module.__name__!r} has no attribute {self._name!r}")
        return self._get()

    def __set__(self, module: ModuleType, value: object) -> None:
        self._put(value)
        self._deleted = False

    def __delete__(self, module: ModuleType) -> None:
        self._deleted = True


# `telstate` has a third policy, which must survive a patch too; it is not represented by a bool.
_AS_ATTRIBUTE: Final = {PicklePolicy.REFUSE: False, PicklePolicy.TRUST: True}


def _get_allow() -> object:
    policy = pickle_policy(None)
    return _AS_ATTRIBUTE.get(policy, policy)


def _put_allow(allow: object) -> None:
    policy = allow if isinstance(allow, PicklePolicy) else bool(allow)
    set_allow_pickle(policy, warns_of_pickle())


def _put_warn(warn: object) -> None:
    set_allow_pickle(pickle_policy(None), bool(warn))


class EncodingModule(ModuleType):
    """The class of this module."""

    _allow_pickle = Setting(_get_allow, _put_allow)
    _warn_on_pickle = Setting(warns_of_pickle, _put_warn)


sys.modules[__name__].__class__ = EncodingModule
