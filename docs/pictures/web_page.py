"""Take the pictures of the web page: python docs/pictures/web_page.py [FOLDER].

They show an observation with 64 antennas that is made from a seed, in Debian's Chromium.
"""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import Literal

import uvicorn
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from telstate import TelescopeState
from telstate.web import create_app
from telstate_testing.observations import CAPTURE_BLOCK, START, fill_observation

AZIMUTH = "m000_pos_actual_scan_azim"
GAINS = f"{CAPTURE_BLOCK}_cal_product_G"
STACKED = [AZIMUTH, "m000_activity", "cbf_target", GAINS]
#: Name, fragment of the address, width, height, scale and colours.
PICTURES: list[tuple[str, str, int, int, float, Literal["light", "dark"]]] = [
    ("web-overview", "", 1280, 800, 1, "light"),
    ("web-sensor", f"keys={AZIMUTH}", 1280, 800, 1, "light"),
    (
        "web-stacked",
        f"keys={','.join(STACKED)}&start={START + 120:.0f}&end={START + 420:.0f}",
        1280,
        1010,
        1,
        "dark",
    ),
    ("web-phone", "keys=m000_pos_actual_scan_elev,m000_activity", 400, 820, 1.5, "dark"),
]
COLOURS = 256  # of a picture, which makes it small


def take(browser: Browser, url: str, folder: Path) -> None:
    """Take all pictures."""
    for name, fragment, width, height, scale, scheme in PICTURES:
        page = browser.new_page(
            viewport={"width": width, "height": height},
            device_scale_factor=scale,
            color_scheme=scheme,
            reduced_motion="reduce",
        )
        page.goto(f"{url}#{fragment}")
        page.locator(".figure[data-points], .facts").first.wait_for()
        page.wait_for_load_state("networkidle")
        path = folder / f"{name}.png"
        page.screenshot(path=path)
        page.close()
        with Image.open(path) as picture:
            few = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        few.save(path, optimize=True)
        print(path, f"{path.stat().st_size:,} bytes")


def main() -> None:
    """Serve the observation and take the pictures."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    ts = TelescopeState()
    fill_observation(ts, antennas=64, channels=256, seconds=900)
    temporary = tempfile.TemporaryDirectory(prefix="telstate-pictures-")
    file = Path(temporary.name, "observation.rdb")
    ts.save(file)
    listener = socket.create_server(("127.0.0.1", 0))
    app = create_app(file)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        with sync_playwright() as playwright:
            chromium = shutil.which("chromium")
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
            )
            take(browser, f"http://127.0.0.1:{listener.getsockname()[1]}/", folder)
            browser.close()
    finally:
        server.should_exit = True
        thread.join()
        temporary.cleanup()


if __name__ == "__main__":
    main()
