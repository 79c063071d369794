"""The errors of telescope state, the base of them all first.

Every error of every telstate package descends from `TelstateError`, so that one ``except`` clause
catches them; the ones here are those that the codec raises. An error says in one sentence what was
wrong and, where something can be done about it, what to do.
"""


class TelstateError(RuntimeError):
    """Base of every error that the telstate packages raise on purpose."""


class InvalidKeyError(TelstateError):
    """A key cannot be used, for example text that has no bytes."""


class InvalidTimestampError(ValueError, TelstateError):
    """A timestamp cannot be stored: it is negative, infinite or not a number."""


class DecodeError(ValueError, TelstateError):
    """Bytes are not an encoded value, or one that the settings refuse (a pickle, say)."""


class EncodeError(ValueError, TelstateError):
    """A value has no encoding: its type is unknown, or it is out of range."""
