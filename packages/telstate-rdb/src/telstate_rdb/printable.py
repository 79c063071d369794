r"""Names from anywhere, such as keys and file names, as text that is safe to print.

Everything that this package prints of a name, or puts into a message, goes through :func:`escape`: control
characters could steer a terminal, and bidirectional ones could show a name as another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

#: Where a URL begins, and all up to its last @. A pathlib.Path has one slash for two.
_CREDENTIALS = re.compile(
    r"(?is)\b([a-z][a-z0-9+.-]+://|(?:redis|valkey|unix)[a-z+]*:/+).*@",
)
#: An option of a URL that holds a password, or a token or a signature, which have no blanks.
_SECRET_OPTION = re.compile(
    r"(?is)([?&][^=&]*passw[^=&]*=)[^&]*|([?&][^=&]*(?:token|secret|sig|credential)[^=&]*=)[^&\s]*"
)


def escape(name: str | bytes) -> str:
    r"""Return a name with all characters that cannot be printed spelled out.

    Parameters
    ----------
    name
        Text, such as a file name, or the bytes of a key. In bytes, backslashes are doubled, so that
        different bytes look different.

    Examples
    --------
    >>> escape("a\x1b[2J\u202e.rdb") == r"a\x1b[2J\u202e.rdb"
    True
    >>> escape("größe".encode()), escape(b"\xff\\") == r"\xff\\"
    ('größe', True)
    """
    if isinstance(name, bytes):
        name = name.replace(b"\\", b"\\\\").decode("utf-8", "surrogateescape")
    if name.isprintable():
        return name
    return "".join(one if one.isprintable() else _spell_out(one) for one in name)


def _spell_out(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # what Python makes of a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return repr(character)[1:-1]
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def hide_credentials(path: str) -> str:
    """Return a path; of a URL, which does not belong there, without user and password."""
    if ":/" not in path:
        return path
    return _SECRET_OPTION.sub(r"\1\2***", _CREDENTIALS.sub(r"\1***@", path))


def escape_path(path: str) -> str:
    """Return a path as :func:`escape` does; of a URL, hide user and password.

    Examples
    --------
    >>> escape_path("redis://anna:secret@localhost/0"), escape_path("dump.rdb")
    ('redis://***@localhost/0', 'dump.rdb')
    """
    return escape(hide_credentials(path))


@contextmanager
def without_credentials() -> Iterator[None]:
    """Hide user and password in the path that an `OSError` names, if that is a URL."""
    try:
        yield
    except OSError as error:
        if isinstance(error.filename, str):
            error.filename = hide_credentials(error.filename)
        raise
