"""The Redis form of an operation: a command or a script, its keys and its arguments.

Rules: a command is data; how it is sent, repeated or spread over nodes is the backend's business. A
script is a small file ``scripts/<name>.lua`` of this package, read when it is first needed.
"""

from __future__ import annotations

import functools
from typing import TypeAlias

import attrs

Argument: TypeAlias = bytes | str | int

#: For each script that does not stand alone the file that it begins with.
_BEGINNINGS = {"load": "heard", "restore": "heard"}


@attrs.frozen
class Script:
    """One ``.lua`` file.

    Attributes
    ----------
    name : str
        Its name, without the suffix.
    source : bytes
        Its text.
    sha : str
        What ``EVALSHA`` calls it.
    """

    name: str
    source: bytes
    sha: str


@functools.cache
def script(name: str) -> Script:
    """Read a script of this package, once."""
    # Here, so that a memory backend need not pay for these imports.
    import hashlib
    from importlib.resources import files

    folder = files("telstate_backends").joinpath("scripts")
    names = [_BEGINNINGS[name], name] if name in _BEGINNINGS else [name]
    source = b"".join(folder.joinpath(f"{each}.lua").read_bytes() for each in names)
    # The name of a script is not a secret: hence also on machines where SHA-1 is barred for those.
    return Script(name, source, hashlib.sha1(source, usedforsecurity=False).hexdigest())


@attrs.frozen
class Command:
    """What to send for an operation.

    Attributes
    ----------
    name : str
        Of the command, or of the script if `scripted`.
    keys : tuple of bytes
        All keys that it touches.
    arguments : tuple
        What follows the keys.
    scripted : bool
        Whether it is a script.
    paged : bool
        Whether the first argument is a cursor, to be replaced by the one in the reply until that is
        0; the replies' second elements then make up the reply, a list of pages.
    steps : tuple of Command
        What does the same in a batch on one server, as a transaction, and is quicker there; the
        reply to the last counts.
    together : tuple of Command
        What tells the same as a transaction, on a connection of our own, and is quicker there,
        because a script copies a long reply twice; the reply is then a tuple of theirs.
    """

    name: str
    keys: tuple[bytes, ...] = ()
    arguments: tuple[Argument, ...] = ()
    scripted: bool = False
    paged: bool = False
    steps: tuple[Command, ...] = ()
    together: tuple[Command, ...] = ()
