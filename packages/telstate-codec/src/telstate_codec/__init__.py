"""Conversion of Python values to the bytes of a telescope state, and back."""

from typing import TYPE_CHECKING

from ._joined_samples import JoinedSamples
from ._msgpack.format import ALLOWED_ENCODINGS, ENCODING_DEFAULT, ENCODING_MSGPACK, ENCODING_PICKLE
from .errors import (
    DecodeError,
    EncodeError,
    InvalidKeyError,
    InvalidTimestampError,
    TelstateError,
)
from .keys import Key, decode_key, encode_key, key_repr
from .pickles import PICKLE_PROTOCOL, AllowPickle, PicklePolicy, set_allow_pickle
from .samples import SampleArrays, decode_sample_arrays, decode_samples, encode_samples
from .timestamps import (
    Time,
    decode_sample,
    decode_timestamp,
    encode_sample,
    encode_timestamp,
    range_bounds,
    to_seconds,
)
from .values import decode_value, encode_value, equal_encoded_values

if TYPE_CHECKING:
    __version__: str

__all__ = [
    "ALLOWED_ENCODINGS",
    "ENCODING_DEFAULT",
    "ENCODING_MSGPACK",
    "ENCODING_PICKLE",
    "PICKLE_PROTOCOL",
    "AllowPickle",
    "DecodeError",
    "EncodeError",
    "InvalidKeyError",
    "InvalidTimestampError",
    "JoinedSamples",
    "Key",
    "PicklePolicy",
    "SampleArrays",
    "TelstateError",
    "Time",
    "decode_key",
    "decode_sample",
    "decode_sample_arrays",
    "decode_samples",
    "decode_timestamp",
    "decode_value",
    "encode_key",
    "encode_sample",
    "encode_samples",
    "encode_timestamp",
    "encode_value",
    "equal_encoded_values",
    "key_repr",
    "range_bounds",
    "set_allow_pickle",
    "to_seconds",
]

if not TYPE_CHECKING:  # a type checker would accept any attribute

    def __getattr__(name: str) -> object:
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib.metadata import version

        return version("telstate-codec")
