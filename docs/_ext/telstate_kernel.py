"""Has the kernels of executed pages and notebooks prepared by ``pictures/kernel.py``, through a profile of IPython."""

from __future__ import annotations

import os
from pathlib import Path

from sphinx.application import Sphinx

STARTUP = """\
import sys
sys.path.insert(0, {folder!r})
import kernel
kernel.start(get_ipython())
del kernel
"""


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the profile and point IPython to it."""
    profile = Path(app.outdir).parent / "ipython"
    startup = profile / "profile_default" / "startup" / "kernel.ipy"
    startup.parent.mkdir(parents=True, exist_ok=True)
    startup.write_text(STARTUP.format(folder=str(Path(app.srcdir, "pictures"))))
    os.environ["IPYTHONDIR"] = str(profile)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
