"""What the tests of this package share.

Modules beside this one that hold no tests (``codec_...``) are imported by their bare names.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

from telstate_testing import example_count

sys.path.insert(0, str(Path(__file__).parent))

# No deadline: a test that stands or falls with the machine's load says nothing.
settings.register_profile("telstate-codec", deadline=None, max_examples=example_count(100))
settings.load_profile("telstate-codec")
