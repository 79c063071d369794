"""Errors for missing keys that suggest what may have been meant, when somebody reads them.

Rules: an error that is caught and thrown away costs nothing more than any `KeyError`: the store is
asked when the text is, once, briefly, about a bounded number of keys. Whatever goes wrong then, there is
no suggestion, and no other error. An error does not keep a backend alive, and can be pickled.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from telstate.refusals import HABITS
from telstate.views import SEPARATOR, View
from telstate_codec import Key, decode_key, encode_key

if TYPE_CHECKING:
    from difflib import SequenceMatcher

# How many keys are looked at, how many of them closely, and how many are suggested.
KEYS = 20_000
CLOSELY = 100
MOST = 3
# How alike two names must be (from 0 to 1), and up to what length they are compared.
ALIKE = 0.65
LONGEST = 200
# A name that is right but for a prefix in front of it, and one that is nearly so.
_RIGHT_BUT_PREFIX = 0.9
_NEARLY_BUT_PREFIX = 0.85


class Hint:
    """What a missing key may have been meant to be.

    Parameters
    ----------
    view
        The view in which it was looked for.
    key
        The key.
    """

    def __init__(self, view: View, key: Key) -> None:
        self._view = view
        self._key = key
        self._backend: weakref.ref[Any] | None = None
        self.known = ""

    def look_in(self, backend: object) -> None:
        """Say where the key was looked for."""
        try:
            self._backend = weakref.ref(backend)
        except TypeError:  # A backend of somebody's own that cannot be referred to so.
            self._backend = None

    def __str__(self) -> str:
        reference, self._backend = self._backend, None
        backend = None if reference is None else reference()
        if backend is not None:
            try:
                self.known = self._ask(backend)
            except Exception:  # The text of an error is no place for another one.
                pass
        return self.known

    def _ask(self, backend: object) -> str:
        # Here, because most errors are never read.
        from telstate.asking import ask
        from telstate_backends import SomeKeys

        (found,) = ask(backend, [SomeKeys(KEYS)])
        if isinstance(found, BaseException):
            return ""
        name = decode_key(encode_key(self._key))
        close = nearest(name, self._view.names_seen(map(decode_key, found)))
        return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


class MissingKeyError(KeyError):
    """None of the view's prefixes has the key; a `KeyError` whose text is meant to be read.

    ``args[0]`` is the plain message, ``str(error)`` adds the nearest keys that there are.
    """

    hint: Hint | str = ""

    def __str__(self) -> str:
        return f"{self.args[0] if self.args else ''}{self.hint}"

    def look_in(self, backend: object) -> None:
        """Say where the key was looked for, so that near ones can be looked for there."""
        if isinstance(self.hint, Hint):
            self.hint.look_in(backend)

    def __reduce__(self) -> tuple[Any, ...]:
        known = self.hint.known if isinstance(self.hint, Hint) else self.hint
        return type(self), self.args, {"hint": known}


class MissingAttributeError(AttributeError):
    """An attribute was asked for that is neither one nor a key; as `MissingKeyError`."""

    hint: Hint | str = ""

    def __str__(self) -> str:
        return f"{self.args[0] if self.args else ''}{self.hint}"

    def __reduce__(self) -> tuple[Any, ...]:
        known = self.hint.known if isinstance(self.hint, Hint) else self.hint
        return type(self), self.args, {"hint": known}

    @classmethod
    def of(cls, error: KeyError, name: str) -> MissingAttributeError:
        """Make the error for an attribute of that for the key of its name."""
        # With a name, and an object that has no such attributes, Python does not go on to list all
        # attributes (which are keys) in order to suggest something itself.
        if name in HABITS:
            text = f"{name!r} is neither a method nor a key: use {HABITS[name][0]}"
            return cls(text, name=name, obj=None)
        made = cls(*error.args, name=name, obj=None)
        made.hint = getattr(error, "hint", "")
        return made


def nearest(wanted: str, names: Iterable[str]) -> list[str]:
    """Find the names that may have been meant, the nearest first.

    Parameters
    ----------
    wanted
        What was asked for.
    names
        What there is.

    Returns
    -------
    close
        At most three names: those that are alike, and those that are it but for a prefix.

    Examples
    --------
    >>> nearest("n_chanz", ["n_chans", "n_pols", "sdp_l0_n_chans", "sdp_l0_n_bls"])
    ['n_chans']
    >>> nearest("n_chans", ["n_pols", "sdp_l0_n_chans"])
    ['sdp_l0_n_chans']
    """
    # Here, for the same reason.
    from difflib import SequenceMatcher
    from heapq import nlargest

    if not wanted or len(wanted) > LONGEST:
        return []
    pairs = _pairs(wanted)
    # Looking closely at each of many names takes long; names that are alike share pairs of letters.
    candidates = nlargest(
        CLOSELY,
        ((_common(pairs, _pairs(name)), name) for name in names if 0 < len(name) <= LONGEST),
    )
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(_plain(wanted))
    scored = []
    for _, name in candidates:
        score = _likeness(matcher, name)
        if name.endswith(SEPARATOR + wanted):
            score = max(score, _RIGHT_BUT_PREFIX)
        tail = name
        while len(tail) > len(wanted):
            _, _, tail = tail.partition(SEPARATOR)
            score = max(score, _NEARLY_BUT_PREFIX * _likeness(matcher, tail))
        if score >= ALIKE:
            scored.append((-score, name))
    scored.sort()
    # What is much farther off than the nearest was hardly meant.
    return [name for score, name in scored[:MOST] if score <= scored[0][0] + 0.1]


def _likeness(matcher: SequenceMatcher[str], name: str) -> float:
    matcher.set_seq1(_plain(name))
    return matcher.ratio()


def _plain(name: str) -> str:
    return name.casefold().replace("-", SEPARATOR)


def _pairs(name: str) -> frozenset[str]:
    plain = f" {_plain(name)} "
    return frozenset(map(str.__add__, plain, plain[1:]))


def _common(pairs: frozenset[str], others: frozenset[str]) -> float:
    return len(pairs & others) / (len(pairs) + len(others))
