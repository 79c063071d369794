"""Contents of telescope states, and telescope states that have them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from telstate import KeyType, TelescopeState

KEYS = st.sampled_from(["a", "b", "c_d", "é"])
VALUES = st.integers(0, 2) | st.sampled_from([1.5, "x", (1, 2)])
#: Immutables, samples and sub-keys, each by what makes it unique.
CONTENTS = st.dictionaries(
    KEYS,
    VALUES
    | st.dictionaries(st.tuples(st.floats(0, 3), VALUES), st.just(KeyType.MUTABLE), min_size=1)
    | st.dictionaries(st.integers(0, 3), VALUES, min_size=1),
)


def filled(contents: dict[str, Any], ts: TelescopeState | None = None) -> TelescopeState:
    """Return a telescope state with contents as above."""
    ts = TelescopeState() if ts is None else ts
    for key, content in contents.items():
        if not isinstance(content, dict):
            ts[key] = content
        elif KeyType.MUTABLE in content.values():
            for timestamp, value in content:
                ts.add(key, value, timestamp)
        else:
            for sub_key, value in content.items():
                ts.set_indexed(key, sub_key, value)
    return ts
