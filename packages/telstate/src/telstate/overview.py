"""What is in a telescope state, for people: summaries of keys, and a tree of them.

`summarise` asks the store, in few round trips, and returns plain records; `key_tree` draws them with
rich, `key_tree_text` as plain text.
"""

from __future__ import annotations

from telstate._summaries import KeySummary, describe, summarise, time_of
from telstate._tree import key_tree, key_tree_text

__all__ = ["KeySummary", "describe", "key_tree", "key_tree_text", "summarise", "time_of"]
