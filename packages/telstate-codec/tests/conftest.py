"""Settings for all tests of this package.

The helper modules beside this file (``codec_...``) are imported by their bare names.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

from telstate_testing import example_count

sys.path.insert(0, str(Path(__file__).parent))

# Without a deadline, so that no test depends on the load of the machine.
settings.register_profile("telstate-codec", deadline=None, max_examples=example_count(100))
settings.load_profile("telstate-codec")
