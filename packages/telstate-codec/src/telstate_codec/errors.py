"""The errors of the telstate packages that come from the codec, and the base of all of them.

Every error that a telstate package raises on purpose derives from `TelstateError`, so one ``except``
clause catches them all.
"""

TRUST_ADVICE = (
    " If you trust the source of the data, set_allow_pickle(True) loads every valid pickle."
)
"""How the text of a `DecodeError` of the safe policy ends."""


class TelstateError(RuntimeError):
    """Base class of all errors that the telstate packages raise on purpose."""


class InvalidKeyError(TelstateError):
    """A key is not valid, for example because its text cannot be represented in bytes."""


class InvalidTimestampError(ValueError, TelstateError):
    """A timestamp is not valid: it is negative, infinite, NaN or not a number."""


class DecodeError(ValueError, TelstateError):
    """Bytes are not an encoded value, or the settings do not allow it to be read (a pickle, say)."""


class EncodeError(ValueError, TelstateError):
    """A value has no encoding: its type is not supported, or it is out of range."""
