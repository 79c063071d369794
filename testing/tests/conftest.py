"""Makes the scripts beside this folder importable; they belong to no package."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
