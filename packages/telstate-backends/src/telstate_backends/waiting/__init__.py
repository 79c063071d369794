"""Waiting: until a key or sub-key is as wanted (`single`), until several keys exist (`several`).

What users give to decide is in `conditions`. How long whoever waits is willing to is in `patience`,
which the Redis backend heeds too. Nothing is imported here, so that who never waits need not pay for it.
"""
