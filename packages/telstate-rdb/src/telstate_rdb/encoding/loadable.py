"""What keeps a server from loading a value that is well-formed: found without encoding the value.

Rules: for values as they are decoded, so what decoding finds (a member of a set twice, a stream that
contradicts itself) need not be looked for here. Those that are encoded need none of this: encoding
them finds the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import gt, lt
from typing import Any

from telstate_rdb.encoding.hashes import check_expiries
from telstate_rdb.encoding.limits import refuse_empty
from telstate_rdb.encoding.sorted_sets import refuse_nan, refuse_repeats
from telstate_rdb.values import Hash, List, Set, SortedSet, Value


def check_loadable(value: Value) -> None:
    """Refuse a decoded value that no server loads.

    Raises
    ------
    RdbWriteError
        If it is empty, has a member twice, a score of NaN or an impossible expiry.
    """
    check = _CHECKS.get(type(value))
    if check is not None:
        check(value)


def _check_list(value: List) -> None:
    refuse_empty(len(value.elements), "list")


def _check_set(value: Set) -> None:
    refuse_empty(len(value.members), "set")


def _check_sorted_set(value: SortedSet) -> None:
    members = value.members
    refuse_empty(len(members), "sorted set")
    bits = value.scores.tobytes()
    same = bits == bits[:8] * len(members)  # as the scores of samples are
    if any(map(math.isnan, value.scores[:1] if same else value.scores)):
        refuse_nan()
    # Most are in order, which is sooner seen than a set of them made.
    compare = gt if members[0] > members[-1] else lt
    if not all(map(compare, members, members[1:])):
        refuse_repeats(members, "sorted set")


def _check_hash(value: Hash) -> None:
    refuse_empty(len(value.fields), "hash")
    check_expiries(value)


# The functions take the class that they stand beside; a table cannot say so, hence Any.
_CHECKS: dict[type, Callable[[Any], None]] = {
    List: _check_list,
    Set: _check_set,
    SortedSet: _check_sorted_set,
    Hash: _check_hash,
}
