"""The error for a text that is no endpoint; loaded only when there is one, as it needs `argparse`."""

from __future__ import annotations

from argparse import ArgumentTypeError


class EndpointError(ValueError, ArgumentTypeError):
    """A text is no endpoint: a `ValueError`, whose text `argparse` shows to who wrote the option."""
