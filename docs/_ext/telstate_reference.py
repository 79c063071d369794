"""What the reference pages need of Sphinx."""

from __future__ import annotations

import logging

from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    # Folders whose pages are still to come.
    logging.getLogger("sphinx.sphinx.directives.other").addFilter(
        lambda record: "didn't match any documents" not in record.getMessage()
    )
    return {"parallel_read_safe": True, "parallel_write_safe": True}
