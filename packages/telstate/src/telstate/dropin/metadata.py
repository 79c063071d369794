"""What `importlib.metadata` says of katsdptelstate while telstate stands in for it."""

from __future__ import annotations

import os
from importlib.metadata import Distribution
from pathlib import Path

from telstate.dropin import FOLDER, NAME, VERSION

_FILES = {
    "METADATA": (
        f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n"
        "Summary: telstate, by the names that katsdptelstate has for it\nProvides-Extra: rdb\n"
    ),
    "top_level.txt": f"{NAME}\n",
}


class DropInDistribution(Distribution):
    """A distribution that is nowhere on disk, but for its modules."""

    def read_text(self, filename: str | os.PathLike[str]) -> str | None:
        """Give the text of a metadata file, None if there is no such file."""
        return _FILES.get(os.fspath(filename))

    def locate_file(self, path: str | os.PathLike[str]) -> Path:
        """Give where a file of the distribution is."""
        return Path(FOLDER, path)
