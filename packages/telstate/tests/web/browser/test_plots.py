"""Plots, tables and values of the keys that are chosen, and their downloads."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from browsing import Visit
from playwright.sync_api import Locator, Page, expect

from telstate import TelescopeState
from telstate_backends import SetImmutable
from telstate_testing.observations import START

ZOOMED = re.compile(r"[?&]width=\d+")


def drawn(page: Page) -> Locator:
    """Return the figure, once it is drawn and nothing is fetched for it."""
    expect(page.locator(".plots")).not_to_have_attribute("aria-busy", "true")
    figure = page.locator(".plots .figure[data-points]")
    expect(figure).to_be_visible()
    return figure


def window(figure: Locator) -> tuple[float, float]:
    """Return the start and the end of what a figure shows."""
    start, end = figure.get_attribute("data-start"), figure.get_attribute("data-end")
    assert start is not None and end is not None
    return float(start), float(end)


def test_plotly_is_loaded_for_the_first_plot(visit: Visit, array: str) -> None:
    """The page loads Plotly when it draws, and not before."""
    page = visit(array)
    expect(page.locator(".facts")).to_be_visible()
    assert page.evaluate("typeof Plotly") == "undefined"
    page.locator("#search").fill("anc_air_temperature")
    page.locator("#tree .row").click()
    drawn(page)
    assert page.evaluate("typeof Plotly") == "object"
    expect(page.locator(".latest .now")).to_have_text(re.compile(r"^-?[\d.]+$"))
    expect(page.locator(".latest .when")).to_contain_text("Last sample 2020-09-13")


def test_zoom_fetches_more_detail(visit: Visit, array: str) -> None:
    """Of many samples an envelope is drawn; zooming in fetches the samples themselves."""
    page = visit(array + "#keys=long_sensor")
    figure = drawn(page)
    assert int(figure.get_attribute("data-points") or 0) < 2000
    expect(page.locator(".notes")).to_contain_text(
        "100,000 samples in sight; minimum and maximum per pixel"
    )
    whole = window(figure)
    box = page.locator(".plots .figure .nsewdrag").first.bounding_box()
    assert box is not None
    with page.expect_request(ZOOMED):
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.55, box["y"] + box["height"] / 2, steps=4)
        page.mouse.up()
    expect(page.locator(".notes")).to_contain_text(re.compile(r"[45],\d{3} samples"))
    inner = window(drawn(page))
    assert whole[0] < inner[0] < inner[1] < whole[1]
    assert "start=" in page.url and "end=" in page.url
    # With the wheel and the keyboard
    figure.focus()
    page.keyboard.press("+")
    page.keyboard.press("+")
    expect(page.locator(".notes")).to_contain_text(re.compile(r"1,\d{3} samples in sight$"))
    before = figure.get_attribute("data-start")
    page.keyboard.press("ArrowRight")
    expect(figure).not_to_have_attribute("data-start", str(before))
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] / 2)
    with page.expect_request(ZOOMED):
        page.mouse.wheel(0, -300)
    link = page.url
    page.goto("about:blank")
    page.goto(link)
    assert window(drawn(page))[1] < whole[1]
    page.get_by_role("button", name="All", exact=True).click()
    expect(page.locator(".notes")).to_contain_text("100,000 samples")
    assert "start=" not in page.url
    page.get_by_role("button", name="1 min", exact=True).click()
    expect(page.locator(".notes")).to_contain_text("6,001 samples")


def test_sensors_are_stacked(visit: Visit, array: str) -> None:
    """Numbers, text, booleans and arrays are stacked on one time axis."""
    keys = [
        "m000_pos_actual_scan_azim",
        "m000_activity",
        "m000_data_suspect",
        "1600000000_cal_product_G",
    ]
    page = visit(array + "#keys=" + ",".join(keys))
    figure = drawn(page)
    expect(page.locator("li.latest")).to_have_count(4)
    traces = page.evaluate(
        "document.querySelector('.figure').data.map((one) => [one.type, one.xaxis ?? 'x'])"
    )
    assert traces == [["scatter", "x"], ["bar", "x"], ["bar", "x"], ["heatmap", "x"]]
    expect(figure.get_by_text("slew")).to_be_visible()
    page.get_by_role("button", name="Phase").click()
    expect(page.get_by_role("button", name="Phase")).to_have_attribute("aria-pressed", "true")
    assert "part=phase" in page.url
    page.get_by_role("list", name="Latest values").get_by_role("button").nth(1).click()
    expect(page.locator("li.latest")).to_have_count(3)
    page.get_by_role("tab", name="Latest value").click()
    expect(page.locator(".value")).to_have_count(3)
    page.get_by_role("tab", name="Samples").click()
    page.get_by_role("tabpanel").get_by_role("combobox").select_option("1")
    expect(page.get_by_role("table")).to_contain_text("False")


def test_samples_scroll(visit: Visit, array: str) -> None:
    """The table of samples fetches the pages that come into sight, and has few elements."""
    page = visit(array + "#keys=long_sensor&tab=samples")
    table = page.get_by_role("table")
    expect(table).to_have_attribute("aria-rowcount", "100001")
    expect(table.get_by_role("row").nth(1)).to_contain_text("2020-09-13 12:26:40.000")
    page.get_by_role("button", name="Last").click()
    expect(table.locator("[aria-rowindex='100001']")).to_contain_text("2020-09-13 12:43:19.990")
    page.locator(".cells").evaluate("(box) => (box.scrollTop = box.scrollHeight / 2)")
    expect(table.locator("[aria-rowindex='50002']")).to_contain_text("12:35:00.000")
    assert table.locator(".row").count() < 100


def test_values(visit: Visit, array: str) -> None:
    """Values fold, arrays have statistics and a picture."""
    page = visit(array + "#keys=sdp_config")
    value = page.locator(".value")
    expect(value.locator("details")).to_have_count(2)
    value.get_by_text("60 items").click()
    expect(value).to_contain_text("'in59'")
    page.goto(page.url.split("#")[0] + "#keys=1600000000_cal_product_G&tab=value")
    expect(page.locator(".stats")).to_contain_text("complex64")
    expect(page.locator(".value .figure .heatmaplayer")).to_be_visible()
    page.get_by_role("button", name="Phase").click()
    expect(page.get_by_role("button", name="Phase")).to_have_attribute("aria-pressed", "true")
    page.goto(
        page.url.split("#")[0] + "#keys=i0_antenna_channelised_voltage_channel_mask&tab=value"
    )
    expect(page.locator(".stats")).to_contain_text("(64,)")
    expect(page.locator(".value .figure .scatterlayer")).to_be_visible()
    page.goto(page.url.split("#")[0] + "#keys=nosuch")
    expect(page.locator("main")).to_contain_text("No such key")


def test_downloads(visit: Visit, array: str, tmp_path: Path) -> None:
    """What is shown can be downloaded: samples as CSV, a figure as PNG, a value as JSON."""
    page = visit(
        f"{array}#keys=anc_air_temperature,anc_air_pressure&start={START}&end={START + 30}"
    )
    drawn(page)
    with page.expect_download() as csv:
        page.get_by_role("link", name="CSV").click()
    csv.value.save_as(tmp_path / "samples.csv")
    lines = (tmp_path / "samples.csv").read_text().splitlines()
    assert lines[0] == "time,anc_air_temperature,anc_air_pressure"
    assert len(lines) == 5
    with page.expect_download() as png:
        page.get_by_role("button", name="PNG").click()
    png.value.save_as(tmp_path / "plot.png")
    content = (tmp_path / "plot.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", content[16:24])
    assert width > 1000 and height > 300
    page.goto(page.url.split("#")[0] + "#keys=sdp_config")
    expect(page.locator(".value")).to_contain_text("'version'")
    with page.expect_download() as json:
        page.get_by_role("button", name="JSON").click()
    assert json.value.suggested_filename == "sdp_config.json"


def test_offers_only_what_there_is(visit: Visit, sites: Callable[..., str]) -> None:
    """A value without a picture has no PNG, a pickle no JSON, and the table of an indexed key a CSV."""
    ts = TelescopeState()
    ts["text"] = "a"
    ts["array"] = np.arange(9.0)
    ts.set_indexed("peaks", "a", 1)
    ts.backend.execute(SetImmutable(b"corrupt", b"\xff\xc1"))
    address = sites(ts)
    page = visit(address + "#keys=text")
    actions = page.locator(".actions")
    expect(actions).to_have_text("JSON")
    page.goto(address + "#keys=array")
    expect(actions).to_have_text("PNGJSON")
    page.goto(address + "#keys=corrupt")
    expect(page.get_by_text("The value could not be read.")).to_be_visible()
    expect(actions).to_have_text("")
    page.goto(address + "#keys=peaks")
    with page.expect_download() as table:
        page.get_by_role("link", name="CSV").click()
    assert table.value.path().read_bytes() == b"sub_key,value\r\na,1\r\n"


def test_numbers_that_differ_by_rounding(visit: Visit, sites: Callable[..., str]) -> None:
    """Numbers that differ by rounding only are a flat line on an axis with ticks."""
    ts = TelescopeState()
    values = [1.0, 1.0 + 2**-52, 1.0 - 2**-53] * 5
    ts["array"] = np.array(values)
    ts.add_many("sensor", values, [START + number for number in range(15)])
    ts.add_many("arrays", [np.array(values)] * 2, [START, START + 1])
    address = sites(ts)
    page = visit(address + "#keys=sensor")
    ticks = page.locator(".figure .ytick")
    expect(ticks.first).to_be_visible()
    page.goto(address + "#keys=array")
    expect(page.locator(".value .figure .ytick").first).to_be_visible()
    page.goto(address + "#keys=arrays")
    expect(page.locator(".plots .figure .colorbar text").first).to_be_visible()
