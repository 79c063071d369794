"""What modules say is written as it is; but what would run into the bytes behind it is refused."""

from __future__ import annotations

from telstate_rdb.errors import RdbParseError, RdbWriteError
from telstate_rdb.modules import check_module_body
from telstate_rdb.values import module_name


def refuse_broken_module(module_id: int, body: bytes) -> None:
    """Refuse bytes that are not values of a module with the mark of their end."""
    try:
        check_module_body(body)
    except RdbParseError as error:
        raise RdbWriteError(
            f"The body for the module {module_name(module_id)!r} is not what modules write "
            f"({error}): it must be as it was read."
        ) from error
