"""What a view is: prefixes, in order, and the full keys that a name may stand for.

Pure data: no backend is touched here. Reads try each prefix in turn, writes use the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NoReturn

from telstate.errors import ReadOnlyError
from telstate_codec import Key, decode_key, encode_key, key_repr

SEPARATOR = "_"
# Programs ask for the same few keys again and again; one that asks for many gains nothing by more.
MOST_REMEMBERED = 1024


class View:
    """An immutable tuple of prefixes.

    Parameters
    ----------
    prefixes
        From the first to be tried to the last; ``''`` is the root.
    read_only
        Whether writing is refused, here and in all views made from this one.

    Attributes
    ----------
    prefixes : tuple of str
    read_only : bool
        The same.

    Examples
    --------
    >>> view = View(("",)).deeper("beam")
    >>> view.prefixes
    ('beam_', '')
    >>> view.candidates("n_chans")
    (b'beam_n_chans', b'n_chans')
    """

    __slots__ = ("_encoded", "_remembered", "prefixes", "read_only")

    def __init__(self, prefixes: Iterable[Key], read_only: bool = False) -> None:
        self.read_only = read_only
        self.prefixes = tuple(
            prefix if isinstance(prefix, str) else decode_key(encode_key(prefix))
            for prefix in prefixes
        )
        self._encoded = tuple(encode_key(prefix) for prefix in self.prefixes)
        self._remembered: dict[str, tuple[bytes, ...]] = {}

    def candidates(self, key: Key) -> tuple[bytes, ...]:
        """Give the full keys that a read tries, in order."""
        remembered = self._remembered
        # Text only: 'a' and b'a' have one hash, and comparing them is an error under python -bb.
        found = remembered.get(key) if type(key) is str else None
        if found is None:
            encoded = encode_key(key)
            found = tuple([prefix + encoded for prefix in self._encoded])
            if type(key) is str:
                if len(remembered) >= MOST_REMEMBERED:
                    remembered.clear()
                remembered[key] = found
        return found

    def target(self, key: Key) -> bytes:
        """Give the full key that a write uses.

        Raises
        ------
        ReadOnlyError
            If the view is read-only.
        ValueError
            If it has no prefix at all.
        """
        if self.read_only:
            self.refuse(f"key {key_repr(key)} cannot be written")
        if not self._encoded:
            raise ValueError("A view without prefixes cannot be written to; add '' for the root.")
        return self._encoded[0] + encode_key(key)

    def doomed(self, key: Key) -> tuple[bytes, ...]:
        """Give the full keys that a deletion takes away.

        Raises
        ------
        ReadOnlyError
            If the view is read-only.
        """
        if self.read_only:
            self.refuse(f"key {key_repr(key)} cannot be deleted")
        return self.candidates(key)

    def check_writable(self, action: str) -> None:
        """Refuse what concerns more than one key ("the store cannot be cleared") if read-only."""
        if self.read_only:
            self.refuse(action)

    def refuse(self, action: str) -> NoReturn:
        """Say that something cannot be done in a read-only view."""
        prefixes = ", ".join(map(repr, self.prefixes))
        raise ReadOnlyError(
            f"The view with prefixes {prefixes} is read-only, so {action}: use the telescope state "
            "that it was made from, if you mean to."
        )

    def deeper(
        self,
        name: Key,
        add_separator: bool = True,
        exclusive: bool = False,
        read_only: bool = False,
    ) -> View:
        """Put a prefix first, or alone.

        Parameters
        ----------
        name
            The prefix.
        add_separator
            Whether ``_`` is appended where `name` neither is empty nor ends with it.
        exclusive
            Whether the prefixes that are there are left out.
        read_only
            Whether writing is refused; it is anyway where this view is read-only.

        Raises
        ------
        TypeError
            If `add_separator` or `exclusive` is a string, which was meant to be one more prefix.
        """
        text = name if isinstance(name, str) else decode_key(encode_key(name))
        _refuse_names(name, add_separator=add_separator, exclusive=exclusive)
        if add_separator:
            text = _separated(text)
        prefixes = (text,) if exclusive else (text, *self.prefixes)
        return View(prefixes, read_only or self.read_only)

    def root(self, read_only: bool = False) -> View:
        """Give the view with the empty prefix only; read-only also where this one is."""
        return View(("",), read_only or self.read_only)

    def short_names(self, keys: Iterable[str]) -> list[str]:
        """Name keys as seen from this view: each without each prefix that it has, once, sorted."""
        return sorted(
            {
                key.removeprefix(prefix)
                for key in keys
                for prefix in self.prefixes
                if key.startswith(prefix)
            }
        )

    def names_seen(self, keys: Iterable[str]) -> Iterator[str]:
        """Name the keys that can be read through this view, each as it is seen first."""
        for key in keys:
            for prefix in self.prefixes:
                if key.startswith(prefix):
                    yield key.removeprefix(prefix)
                    break

    def in_order(self, keys: Iterable[str]) -> list[str]:
        """Sort the full keys that can be read through this view: by prefix, then by name."""
        found = []
        for key in keys:
            for place, prefix in enumerate(self.prefixes):
                if key.startswith(prefix):
                    found.append((place, key))
                    break
        return [key for _, key in sorted(found)]

    def __repr__(self) -> str:
        return f"View({self.prefixes!r}{', read_only=True' if self.read_only else ''})"


def _separated(text: str) -> str:
    return text if not text or text.endswith(SEPARATOR) else text + SEPARATOR


def _refuse_names(first: Key, **flags: object) -> None:
    """Refuse strings where flags belong: several names were given, and all but one would be lost."""
    more = {flag: value for flag, value in flags.items() if isinstance(value, (str, bytes))}
    if not more:
        return
    names = [first, *more.values()]
    chain = "".join(f".view({name!r})" for name in reversed(names))
    prefixes = tuple(
        _separated(name if isinstance(name, str) else name.decode(errors="replace"))
        for name in names
    )
    raise TypeError(
        f"A view is made of one name, and {' and '.join(more)} must be True or False: for the prefixes "
        f"{', '.join(map(repr, prefixes))} before those of ts, use ts{chain}, or for them alone "
        f"TelescopeState(base=ts, prefixes={prefixes!r})."
    )
