"""The script that draws the picture of the front page runs, and the picture is small and complete."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("matplotlib")

PICTURES = Path(__file__).parents[1]


def check(picture: Path) -> None:
    """Check that a picture is an SVG file that fetches nothing."""
    content = picture.read_text()
    assert len(content) < 150_000
    assert "scale(0.0)" not in content  # by which the labels of the plot were not visible
    assert "telstate&#160;info&#160;observation.rdb" in content and "@font-face" not in content
    assert ElementTree.fromstring(content).tag == "{http://www.w3.org/2000/svg}svg"


def test_draw(tmp_path: Path) -> None:
    """The script draws the picture again."""
    path = tmp_path / "front-page.svg"
    script = str(PICTURES / "front_page.py")
    done = subprocess.run([sys.executable, script, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    check(path)


def test_stored() -> None:
    """The picture in the repository is what the script draws."""
    check(PICTURES / "front-page.svg")
