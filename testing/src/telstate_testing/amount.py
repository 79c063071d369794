"""How much the property tests try: all their examples, or few where time is short."""

import os


def examples(most: int) -> int:
    """Give the number of examples: `most`, or a third if ``TELSTATE_EXAMPLES`` is ``few``."""
    return most // 3 if os.environ.get("TELSTATE_EXAMPLES") == "few" else most
