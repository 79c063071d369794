"""The metadata of katsdptelstate while telstate stands in for it."""

from __future__ import annotations

import os
from importlib.metadata import Distribution
from pathlib import Path


class DropInDistribution(Distribution):
    """A distribution of which only the modules exist on disk."""

    def __init__(self, name: str, version: str, folder: str) -> None:
        self._folder = folder
        self._files = {
            "METADATA": (
                f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
                "Summary: telstate under the names of katsdptelstate\nProvides-Extra: rdb\n"
            ),
            "top_level.txt": f"{name}\n",
        }

    def read_text(self, filename: str | os.PathLike[str]) -> str | None:
        """Return the text of a metadata file, None if there is no such file."""
        return self._files.get(os.fspath(filename))

    def locate_file(self, path: str | os.PathLike[str]) -> Path:
        """Return the path of a file of the distribution."""
        return Path(self._folder, path)
