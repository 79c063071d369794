"""The command ``telstate``, which needs the extra ``cli``."""

from __future__ import annotations

try:
    import click  # noqa: F401  # needed by all modules here
    import rich  # noqa: F401  # needed for tables and progress, and imported where they are made
except ModuleNotFoundError as error:
    raise ImportError(
        f"The command needs {(error.name or '').partition('.')[0]}. Install it with: "
        "pip install 'telstate[cli]'"
    ) from error
