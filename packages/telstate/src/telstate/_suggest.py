"""Suggestions of similar keys and methods in the text of errors for missing ones.

Only a store in memory or in a file is searched, never a server, which a line in a log must not wait for. An error
that is caught and discarded costs no more than any `KeyError`: the search is made when the text of the error is
first used, once, among a limited number of keys. Any failure means that there is no suggestion. An error does not
keep a backend alive, and can be pickled.
"""

from __future__ import annotations

import heapq
import time
import weakref
from collections.abc import Iterable, Sequence
from itertools import chain

from telstate._view import SEPARATOR, View
from telstate.errors import MissingAttributeError, MissingKeyError
from telstate_backends import AsyncBackend, Backend
from telstate_codec import Key, decode_key, encode_key, key_repr

# The number of keys that are compared.
MAX_KEYS = 2_000
MAX_SUGGESTIONS = 3
MAX_LENGTH = 200
# How similar two names must be, from 0 to 1.
MIN_SIMILARITY = 0.65
# How many names are compared in any case, and how long others are. Likely ones come first.
MIN_COMPARED = 20
MAX_SECONDS = 0.001


class Suggestion:
    """The suffix that suggests keys of a view, or attributes of a class, of a similar name; or an empty string."""

    def __init__(self, name: Key, view: View, owner: type | None = None) -> None:
        self._name = name if isinstance(name, str) else decode_key(encode_key(name))
        self._view = view
        self._owner = owner
        self._backend: weakref.ref[Backend | AsyncBackend] | None = None
        self._text = ""

    def look_in(self, backend: Backend | AsyncBackend) -> None:
        """Set the backend to ask when the text is used."""
        self._backend = weakref.ref(backend)

    def __str__(self) -> str:
        similar, self._owner = self._similar_attributes(self._owner), None
        reference, self._backend = self._backend, None
        backend = None if reference is None else reference()
        if backend is not None:
            try:
                similar += map(repr, self._similar_keys(self._view, backend))
            except Exception:  # an error message must not fail
                pass
        if similar:
            self._text = format_suggestion(similar[:MAX_SUGGESTIONS])
        return self._text

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (self._text,)

    def _similar_attributes(self, owner: type | None) -> list[str]:
        names = [] if owner is None else [name for name in dir(owner) if name[0] != "_"]
        found = find_similar(self._name, names)
        return [f"{name}()" if callable(getattr(owner, name)) else name for name in found]

    def _similar_keys(self, view: View, backend: Backend | AsyncBackend) -> list[str]:
        from telstate._display import ask  # most errors are never read
        from telstate_backends import SomeKeys

        if backend.uncached.store is None:
            return []
        (found,) = ask(backend, [SomeKeys(MAX_KEYS)])
        names: Iterable[str] = map(decode_key, found)
        if view.prefixes != ("",):
            names = view.first_names(names)
        return find_similar(self._name, names)


def missing_key(view: View, key: Key) -> MissingKeyError:
    """Return the error for a key that no prefix of a view has."""
    error = MissingKeyError(f"{key_repr(key)} not found{_under_prefixes(view)}")
    error.suggestion = Suggestion(key, view)
    return error


def missing_attribute(owner: type, name: str, view: View) -> MissingAttributeError:
    """Return the error for a name that is neither an attribute of a class nor a key of a view."""
    # With a name and an object without attributes, Python makes no suggestion of its own; it would
    # have to list all attributes, which are keys.
    error = MissingAttributeError(
        f"{owner.__name__!r} object has no attribute or key {name!r}{_under_prefixes(view)}",
        name=name,
        obj=None,
    )
    error.suggestion = Suggestion(name, view, owner)
    return error


def _under_prefixes(view: View) -> str:
    prefixes = ", ".join(map(repr, view.prefixes))
    return "" if view.prefixes == ("",) else f" under any of the prefixes {prefixes}"


def look_in(
    error: MissingKeyError | MissingAttributeError, backend: Backend | AsyncBackend
) -> None:
    """Let an error suggest keys of a backend."""
    if isinstance(error.suggestion, Suggestion):
        error.suggestion.look_in(backend)


def format_suggestion(similar: Sequence[str]) -> str:
    """Return the end of a message that suggests names, or an empty string if there are none."""
    return f"; did you mean {' or '.join(similar)}?" if similar else ""


def find_similar(wanted: str, names: Iterable[str]) -> list[str]:
    """Return at most three names: the most similar ones, then those that only have a prefix in front."""
    if not wanted or len(wanted) > MAX_LENGTH:
        return []
    # One slip of the finger leaves one half as it is.
    start, end = wanted[: len(wanted) // 2], wanted[len(wanted) // 2 :]
    names = [name for name in names if len(name) <= MAX_LENGTH]
    likely = [name for name in names if name.startswith(start) or name.endswith(end)]
    prefixed = sorted(name for name in likely if name.endswith(SEPARATOR + wanted))
    known = set(likely)
    others = (name for name in names if name not in known)
    close = _find_closest(wanted, chain(likely, others))
    return list(dict.fromkeys([*close, *prefixed]))[:MAX_SUGGESTIONS]


def _find_closest(wanted: str, names: Iterable[str]) -> list[str]:
    """Return the most similar of the names that can be compared in time, like `difflib.get_close_matches`."""
    from difflib import SequenceMatcher

    matcher = SequenceMatcher(b=wanted)
    deadline = time.monotonic() + MAX_SECONDS
    found = []
    for count, name in enumerate(names):
        if count >= MIN_COMPARED and time.monotonic() > deadline:
            break
        matcher.set_seq1(name)
        ratios = matcher.real_quick_ratio, matcher.quick_ratio, matcher.ratio
        if all(ratio() >= MIN_SIMILARITY for ratio in ratios):
            found.append((matcher.ratio(), name))
    return [name for _, name in heapq.nlargest(MAX_SUGGESTIONS, found)]
