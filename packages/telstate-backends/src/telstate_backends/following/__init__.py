"""Following keys: each change exactly once, over lost connections and slow readers.

`ledger` decides, on what `known` remembers; `followers` has the loops that do its bidding.
"""
