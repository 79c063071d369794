"""What the synchronous and the asyncio telescope state have in common: views, names, attributes.

No I/O happens here. Attribute access (``ts.key``) is in the classes themselves, since only the
synchronous one has it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import ClassVar, Generic, Self, TypeVar

from telstate.views import SEPARATOR, View
from telstate_codec import Key

BackendType = TypeVar("BackendType")


class TelescopeStateBase(Generic[BackendType]):
    """A view of a telescope state on some backend.

    Attributes
    ----------
    SEPARATOR : str
        What stands between the parts of a key (``'_'``).
    SEPARATOR_BYTES : bytes
        The same.
    """

    SEPARATOR: ClassVar[str] = SEPARATOR
    SEPARATOR_BYTES: ClassVar[bytes] = SEPARATOR.encode()

    _backend: BackendType
    _view: View
    _owner: bool

    def _setup(self, backend: BackendType, view: View, owner: bool = False) -> None:
        """Fill in a new instance; by way of `object` where attributes mean keys.

        An owner closes the backend when it is closed; see `close`.
        """
        object.__setattr__(self, "_backend", backend)
        object.__setattr__(self, "_view", view)
        object.__setattr__(self, "_owner", owner)

    def _sibling(self, view: View) -> Self:
        """Make another view of the same backend, of the same class."""
        sibling = type(self).__new__(type(self))
        # A class of the user's own has attributes of its own, which its methods need in views too.
        vars(sibling).update(vars(self))
        sibling._setup(self._backend, view)
        return sibling

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The view's prefixes: reads try each in turn, writes use the first."""
        return self._view.prefixes

    @property
    def read_only(self) -> bool:
        """Whether writing through this view is refused; see `view`."""
        return self._view.read_only

    @property
    def backend(self) -> BackendType:
        """Where the telescope state lives; shared by all views made from one another."""
        return self._backend

    @classmethod
    def join(cls, *names: str) -> str:
        """Join the parts of a key.

        Examples
        --------
        >>> from telstate import TelescopeState
        >>> TelescopeState.join("i0", "antenna_channelised_voltage", "n_chans")
        'i0_antenna_channelised_voltage_n_chans'
        """
        return cls.SEPARATOR.join(names)

    def view(
        self,
        name: Key,
        add_separator: bool = True,
        exclusive: bool = False,
        *,
        read_only: bool = False,
    ) -> Self:
        """Make a view in which `name` is the first prefix.

        Parameters
        ----------
        name
            The prefix.
        add_separator
            Whether ``_`` is appended, unless `name` is empty or ends with it.
        exclusive
            Whether `name` is the only prefix, instead of the first before the present ones.
        read_only
            Whether all writing through the view (setting, adding, deleting, clearing, loading) is to
            be a `ReadOnlyError`, before anything is sent. All views made from a read-only one, and
            instances made with ``base=`` of it, are read-only too. It keeps from mistakes, not from
            intent: `backend` is the same, and writes.

        Returns
        -------
        view
            A view of the same backend.

        Raises
        ------
        TypeError
            If `add_separator` or `exclusive` is a string: a view is made of one name at a time.

        Examples
        --------
        >>> from telstate import TelescopeState
        >>> ts = TelescopeState()
        >>> ts.view("c").view("b").prefixes
        ('b_', 'c_', '')
        >>> safe = ts.view("beam", read_only=True)
        >>> safe["n_pols"] = 2
        Traceback (most recent call last):
        telstate.errors.ReadOnlyError: The view with prefixes 'beam_', '' is read-only, ...
        """
        return self._sibling(self._view.deeper(name, add_separator, exclusive, read_only))

    def root(self, *, read_only: bool = False) -> Self:
        """Make a view of the same backend with the empty prefix only; `read_only` is as in `view`."""
        return self._sibling(self._view.root(read_only))

    def __copy__(self) -> Self:
        # Said here, because what it would otherwise go by refuses to be pickled.
        return self._sibling(self._view)

    def __repr__(self) -> str:
        # Here and below, because most programs are not looked at.
        from telstate.notebook import text

        return text(self)

    def _repr_html_(self) -> str:
        from telstate.notebook import html

        return html(self)

    def _ipython_key_completions_(self) -> list[str]:
        from telstate.notebook import completions

        return completions(self)


def warn_is_immutable(stacklevel: int) -> None:
    """Warn, on behalf of the caller `stacklevel` above, that `is_immutable` is deprecated."""
    warnings.warn(
        "is_immutable is deprecated; use key_type, which tells all three kinds apart",
        FutureWarning,
        stacklevel=stacklevel + 1,
    )


def check_cache_size(cache_size: int) -> None:
    """Refuse what is no size of a cache, before anything is opened."""
    if cache_size < 0:
        raise ValueError(f"cache_size is a number of keys, or 0 for no cache, not {cache_size}.")


def check_prefixes(prefixes: Iterable[Key], read_only: bool = False) -> View:
    """Make the view that a constructor's `prefixes` ask for.

    Raises
    ------
    TypeError
        If it is a single string, whose characters would each be taken for a prefix.
    """
    if isinstance(prefixes, (str, bytes)):
        raise TypeError(f"prefixes must be a tuple of strings, not the string {prefixes!r}.")
    return View(prefixes, read_only)
