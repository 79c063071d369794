"""A view: an ordered tuple of prefixes, and the full keys that a name may refer to.

Reads try the prefixes in order, writes use the first. No backend is used here.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from telstate.errors import ReadOnlyError
from telstate_codec import Key, decode_key, encode_key, key_repr

SEPARATOR = "_"
_ENCODED_SEPARATOR = SEPARATOR.encode()
# Programs use the same few keys again and again, so a small cache is enough.
MAX_CACHED_KEYS = 1024


class View:
    """An immutable tuple of prefixes.

    Examples
    --------
    >>> view = View(("",)).with_prefix("beam")
    >>> view.prefixes
    ('beam_', '')
    >>> view.candidates("n_chans")
    (b'beam_n_chans', b'n_chans')
    """

    __slots__ = ("_cache", "_encoded", "prefixes", "read_only")

    def __init__(self, prefixes: Iterable[Key], read_only: bool = False) -> None:
        if isinstance(prefixes, (str, bytes)):  # each of its characters would become a prefix
            raise TypeError(f"prefixes must be a tuple of strings, not the string {prefixes!r}.")
        self.read_only = read_only
        self._encoded = tuple(map(encode_key, prefixes))
        self.prefixes = tuple(map(decode_key, self._encoded))
        self._cache: dict[str, tuple[bytes, ...]] = {}

    def candidates(self, key: Key) -> tuple[bytes, ...]:
        """Return the full keys that a read tries, in order."""
        # Only text is cached: 'a' and b'a' have the same hash, and Python -bb forbids comparing them.
        cached = self._cache.get(key) if type(key) is str else None
        if cached is not None:
            return cached
        encoded = encode_key(key)
        found = tuple([prefix + encoded for prefix in self._encoded])
        if type(key) is str:
            if len(self._cache) >= MAX_CACHED_KEYS:
                self._cache.clear()
            self._cache[key] = found
        return found

    def target(self, key: Key) -> bytes:
        """Return the full key that a write uses; a read-only view raises `ReadOnlyError`."""
        if self.read_only:
            self.check_writable(f"write key {key_repr(key)}")
        if not self._encoded:
            raise ValueError("A view without prefixes cannot be written to. Add '' for the root.")
        return self._encoded[0] + encode_key(key)

    def check_writable(self, action: str) -> None:
        """Raise `ReadOnlyError`, which names the action, if the view is read-only."""
        if self.read_only:
            prefixes = ", ".join(map(repr, self.prefixes))
            raise ReadOnlyError(
                f"Cannot {action}: the view with prefixes {prefixes} is read-only. "
                "Use the telescope state that it was made from."
            )

    def with_prefix(
        self,
        name: Key,
        add_separator: bool = True,
        exclusive: bool = False,
        read_only: bool = False,
    ) -> View:
        """Return a view in which `name` is the first prefix, or the only one."""
        flags: tuple[object, object] = (add_separator, exclusive)
        if isinstance(flags[0], (str, bytes)) or isinstance(flags[1], (str, bytes)):
            # It is meant as another prefix.
            raise TypeError(
                "add_separator and exclusive must be True or False. A view takes one prefix at a "
                "time: ts.view('a').view('b')."
            )
        encoded = encode_key(name)
        if add_separator and encoded and not encoded.endswith(_ENCODED_SEPARATOR):
            encoded += _ENCODED_SEPARATOR
        view = View.__new__(View)  # the other prefixes are encoded already
        view.read_only = read_only or self.read_only
        view._encoded = (encoded,) if exclusive else (encoded, *self._encoded)
        prefix = decode_key(encoded)
        view.prefixes = (prefix,) if exclusive else (prefix, *self.prefixes)
        view._cache = {}
        return view

    def root(self, read_only: bool = False) -> View:
        """Return the view with the empty prefix only; it is read-only if this one is."""
        return _ROOTS[bool(read_only or self.read_only)]

    def short_names(self, keys: Iterable[str]) -> list[str]:
        """Return all names under which this view can read the keys, sorted."""
        return sorted(
            {
                key.removeprefix(prefix)
                for key in keys
                for prefix in self.prefixes
                if key.startswith(prefix)
            }
        )

    def names(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the full key that this view reads for each name, sorted; a key has the first of its names."""
        known, found = set(keys), {}
        for key in known:
            for prefix in self.prefixes:
                name = key.removeprefix(prefix)
                if key.startswith(prefix) and key == self._first(name, known):
                    found[name] = key
                    break
        return dict(sorted(found.items()))

    def _first(self, name: str, known: Container[str]) -> str | None:
        return next((one + name for one in self.prefixes if one + name in known), None)

    def first_names(self, keys: Iterable[str]) -> Iterator[str]:
        """Yield each key that this view can read, without the first prefix that it has."""
        for key in keys:
            for prefix in self.prefixes:
                if key.startswith(prefix):
                    yield key.removeprefix(prefix)
                    break

    def sort(self, keys: Iterable[str]) -> list[str]:
        """Return the full keys that this view can read, by prefix and then by name."""
        found = []
        for key in keys:
            for place, prefix in enumerate(self.prefixes):
                if key.startswith(prefix):
                    found.append((place, key))
                    break
        return [key for _, key in sorted(found)]

    def __repr__(self) -> str:
        return f"View({self.prefixes!r}{', read_only=True' if self.read_only else ''})"


# By whether it is read-only.
_ROOTS = (View(("",)), View(("",), read_only=True))
