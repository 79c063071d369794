"""What the synchronous and the asyncio telescope state have in common. No I/O happens here."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable
from typing import ClassVar, Generic, Self, TypeVar

from telstate._view import SEPARATOR, View
from telstate_backends import AsyncBackend, Backend
from telstate_codec import Key

Class = TypeVar("Class")
BackendType = TypeVar("BackendType", bound=Backend | AsyncBackend)


def name_methods_after(public_class: str) -> Callable[[type[Class]], type[Class]]:
    """Return a decorator by which errors name methods of a base class as those of the class that people use."""

    def rename(base: type[Class]) -> type[Class]:
        for member in vars(base).values():
            function = getattr(member, "fget", getattr(member, "__func__", member))
            if inspect.isfunction(function):
                function.__qualname__ = f"{public_class}.{function.__name__}"
        return base

    return rename


@name_methods_after("TelescopeState")
class TelescopeStateBase(Generic[BackendType]):
    """A view of a telescope state on some backend.

    Attributes
    ----------
    SEPARATOR : str
        The separator between the parts of a key (``'_'``).
    SEPARATOR_BYTES : bytes
        The same as bytes.
    """

    SEPARATOR: ClassVar[str] = SEPARATOR
    SEPARATOR_BYTES: ClassVar[bytes] = SEPARATOR.encode()

    # Without this, iteration would ask for the keys 0, 1, 2...
    __iter__ = None

    _backend: BackendType
    _view: View
    _owner: bool

    def _setup(self, backend: BackendType, view: View, owner: bool = False) -> None:
        """Initialise a new instance. An owner closes the backend when it is closed."""
        self._backend = backend
        self._view = view
        self._owner = owner

    def _sibling(self, view: View) -> Self:
        """Return another view of the same backend, of the same class."""
        sibling = type(self).__new__(type(self))
        # A subclass may have private attributes that its methods need.
        sibling.__dict__.update(self.__dict__, _view=view, _owner=False)
        return sibling

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The prefixes of the view: reads try them in order, writes use the first."""
        return self._view.prefixes

    @property
    def read_only(self) -> bool:
        """Whether this view refuses to write; see `view`."""
        return self._view.read_only

    @property
    def backend(self) -> BackendType:
        """The backend, which all views made from one another share."""
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
        """Return a view in which `name` is the first prefix.

        Parameters
        ----------
        name
            The prefix.
        add_separator
            Whether ``_`` is appended, unless `name` is empty or ends with it. Default: True.
        exclusive
            Whether `name` is the only prefix; otherwise the present ones follow it. Default: False.
        read_only
            Whether all writing through the view (setting, adding, deleting, clearing, loading) is
            refused with a `ReadOnlyError`, before anything is sent. Views made from a read-only one,
            and instances made with ``base=``, are read-only too. This protects against mistakes only:
            `backend` is the same, and can write. Default: False.

        Returns
        -------
        view
            A view of the same backend.

        Raises
        ------
        TypeError
            If `add_separator` or `exclusive` is a string: a view takes one prefix at a time.

        Examples
        --------
        >>> from telstate import TelescopeState
        >>> ts = TelescopeState()
        >>> ts.view("c").view("b").prefixes
        ('b_', 'c_', '')
        >>> safe = ts.view("beam", read_only=True)
        >>> safe["n_pols"] = 2
        Traceback (most recent call last):
        telstate.errors.ReadOnlyError: Cannot write key 'n_pols': the view with prefixes 'beam_', '' is read-only. ...
        """
        return self._sibling(self._view.with_prefix(name, add_separator, exclusive, read_only))

    def root(self, *, read_only: bool = False) -> Self:
        """Return a view with the empty prefix only; `read_only` is as in `view`."""
        return self._sibling(self._view.root(read_only))

    def __copy__(self) -> Self:
        return self._sibling(self._view)

    # What is displayed is imported when it is first needed: most programs never display anything.

    def __repr__(self) -> str:
        from telstate._display import plain_repr

        _complete_calls()
        return plain_repr(self)

    def _repr_html_(self) -> str:
        from telstate._display import html_repr

        _complete_calls()
        return html_repr(self)

    def _ipython_key_completions_(self) -> list[str]:
        from telstate._display import completions

        _complete_calls()
        return completions(self)


def _complete_calls() -> None:
    """Complete keys in calls too, if this is IPython."""
    if "IPython" in sys.modules:
        from telstate._ipython import register

        register()


def warn_is_immutable() -> None:
    """Warn the caller of `is_immutable` that it is deprecated."""
    warnings.warn(
        "is_immutable is deprecated. Use key_type, which distinguishes all three kinds.",
        FutureWarning,
        stacklevel=3,
    )


_complete_calls()
