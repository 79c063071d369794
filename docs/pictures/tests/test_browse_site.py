"""The tool that opens every page of the site finds what is wrong with a page."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from telstate_testing.environment import missing

pytest.importorskip("playwright")
if shutil.which("chromium") is None:
    pytest.skip(missing("Chromium"), allow_module_level=True)

TOOL = Path(__file__).parents[1] / "browse_site.py"
FAULTS = {
    "<script>console.error('wrong')</script>": "wrong",
    "<script>throw new Error('thrown')</script>": "thrown",
    "<img src='none.png' loading='lazy'>": "image none.png is missing",
    "<script src='http://telstate.invalid/x.js'></script>": "http://telstate.invalid/x.js is requested",
    "<pre style='width: 900px'>long</pre>": "at 400 pixels it is wider than the window: 908 pixels; PRE  long",
}


def test_faults_of_pages(tmp_path: Path) -> None:
    """Each fault is found, a page without faults has none, and a wide part that scrolls is not a fault."""
    (tmp_path / "good.html").write_text(
        "<!doctype html><div style='overflow-x: auto'><pre style='width: 900px'>wide</pre></div>"
    )
    for number, content in enumerate(FAULTS):
        (tmp_path / f"{number}.html").write_text(f"<!doctype html>{content}")
    pictures = tmp_path / "pictures"
    command = [sys.executable, str(TOOL), str(tmp_path), "--screenshots", str(pictures)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    for number, fault in enumerate(FAULTS.values()):
        assert f"{number}.html: {fault}\n" in done.stdout
    assert "good.html" not in done.stdout
    assert len(list(pictures.glob("good-*.png"))) == 4


def test_no_faults(tmp_path: Path) -> None:
    """A site without faults passes."""
    (tmp_path / "index.html").write_text("<!doctype html><p>Good.")
    done = subprocess.run(
        [sys.executable, str(TOOL), str(tmp_path)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "1 pages, 0 faults.\n")
