"""Snapshots into any backend: `preparing` makes operations of records, `records` sends them."""
