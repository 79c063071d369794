"""Suggestions of similar keys in the text of errors for missing ones.

An error that is caught and discarded costs no more than any `KeyError`: the store is asked only when
the text of the error is first used, once, briefly, and about a limited number of keys. Any failure
means that there is no suggestion. An error does not keep a backend alive, and can be pickled.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable

from telstate._view import SEPARATOR, View
from telstate.errors import MissingAttributeError, MissingKeyError
from telstate_backends import AsyncBackend, Backend
from telstate_codec import Key, decode_key, encode_key, key_repr

# The number of keys that are compared.
MAX_KEYS = 10_000
MAX_SUGGESTIONS = 3
MAX_LENGTH = 200
# How similar two names must be, from 0 to 1.
MIN_SIMILARITY = 0.65


class Suggestion:
    """The suffix that suggests keys similar to a missing one, or an empty string."""

    def __init__(self, view: View, key: Key) -> None:
        self._view = view
        self._key = key
        self._backend: weakref.ref[Backend | AsyncBackend] | None = None
        self._text = ""

    def look_in(self, backend: Backend | AsyncBackend) -> None:
        """Set the backend to ask when the text is used."""
        self._backend = weakref.ref(backend)

    def __str__(self) -> str:
        reference, self._backend = self._backend, None
        backend = None if reference is None else reference()
        if backend is not None:
            try:
                self._text = self._ask(backend)
            except Exception:  # an error message must not fail
                pass
        return self._text

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (self._text,)

    def _ask(self, backend: Backend | AsyncBackend) -> str:
        from telstate._display import ask  # most errors are never read
        from telstate_backends import SomeKeys

        (found,) = ask(backend, [SomeKeys(MAX_KEYS)])
        names = self._view.first_names(map(decode_key, found))
        similar = find_similar(decode_key(encode_key(self._key)), names)
        return f"; did you mean {' or '.join(map(repr, similar))}?" if similar else ""


def missing_key(view: View, key: Key) -> MissingKeyError:
    """Return the error for a key that no prefix of a view has."""
    prefixes = ", ".join(map(repr, view.prefixes))
    where = "" if view.prefixes == ("",) else f" under any of the prefixes {prefixes}"
    error = MissingKeyError(f"{key_repr(key)} not found{where}")
    error.suggestion = Suggestion(view, key)
    return error


def missing_attribute(error: KeyError, name: str) -> MissingAttributeError:
    """Return the error for an attribute, made from the one for a key of that name."""
    # With a name and an object without attributes, Python makes no suggestion of its own; it would
    # have to list all attributes, which are keys.
    made = MissingAttributeError(*error.args, name=name, obj=None)
    made.suggestion = getattr(error, "suggestion", "")
    return made


def look_in(error: MissingKeyError, backend: Backend | AsyncBackend) -> None:
    """Let an error suggest keys of a backend."""
    if isinstance(error.suggestion, Suggestion):
        error.suggestion.look_in(backend)


def find_similar(wanted: str, names: Iterable[str]) -> list[str]:
    """Return at most three names: the most similar ones, then those that only have a prefix in front."""
    from difflib import get_close_matches

    if not wanted or len(wanted) > MAX_LENGTH:
        return []
    candidates = [name for name in names if len(name) <= MAX_LENGTH]
    prefixed = sorted(name for name in candidates if name.endswith(SEPARATOR + wanted))
    close = get_close_matches(wanted, candidates, MAX_SUGGESTIONS, MIN_SIMILARITY)
    return list(dict.fromkeys([*close, *prefixed]))[:MAX_SUGGESTIONS]
