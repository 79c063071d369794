"""Finding keys: the tree, the search, the kinds, by mouse and by keyboard, whatever they are called."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from browsing import Visit
from playwright.sync_api import Page, expect

from telstate import TelescopeState

HOSTILE = {
    "<script>document.title = 'broken'</script>": "script",
    "<img src=x onerror=\"document.title = 'broken'\">": "<img src=x onerror=\"document.title = 'broken'\">",
    "two\nlines": "a\nb",
    "long_" + "x" * 3000: "long",
    "\u05e9\u05dc\u05d5\u05dd": "\u202eright to left",
    "turned\u202ename": 1,
    "a,b&c=d#e%41 f+g": 2,
    "&lt;b&gt;": 3,
    "__proto__": {"__proto__": 1, "constructor": 2},
}


def row(page: Page, name: str) -> object:
    """Return the line of the tree with a name."""
    return page.locator("#tree .row", has=page.locator(f".name:text-is('{name}')"))


def test_first_is_an_overview_with_links(visit: Visit, array: str) -> None:
    """The page begins with what the store holds, and its names lead to keys."""
    page = visit(array)
    expect(page.locator("h1")).to_have_text("array")
    facts = page.locator(".facts")
    expect(facts).to_contain_text("1,516")
    for title in (
        "Targets",
        "Antennas",
        "Streams",
        "Capture blocks",
        "Biggest keys",
        "Busiest sensors",
    ):
        expect(page.get_by_role("heading", name=re.compile(f"^{title}"))).to_be_visible()
    page.get_by_role("link", name="m007", exact=True).click()
    expect(page.locator("#search")).to_have_value("m007_*")
    expect(page.locator("#found")).to_have_text("17 of 1,516 keys")
    page.get_by_role("link", name="cbf_target").first.click()
    expect(page.locator("h1")).to_have_text("cbf_target")


def test_real_snapshot(visit: Visit, real: str) -> None:
    """A real snapshot is shown: what it is, and each kind of key."""
    page = visit(real)
    expect(page.locator(".facts")).to_contain_text("sound")
    page.locator("#search").fill("*")
    expect(page.locator("#found")).to_contain_text("keys")
    for kind in ("Attributes", "Sensors"):
        chip = page.get_by_role("button", name=re.compile(kind))
        chip.click()
        page.locator("#tree .row").first.click()
        expect(page.locator(".detail .card").first).to_be_visible()
        expect(page.locator("main [role=alert]")).to_have_count(0)
        chip.click()


def test_tree_folds_and_opens(visit: Visit, array: str) -> None:
    """Antennas that are alike are one line, which opens to all of them."""
    page = visit(array)
    fold = page.locator("#tree .row", has_text="m000 ... m063")
    expect(fold).to_have_attribute("aria-expanded", "false")
    fold.click()
    expect(fold).to_have_attribute("aria-expanded", "true")
    page.locator("#tree .row", has=page.locator(".name:text-is('m001')")).click()
    page.locator("#tree .row", has=page.locator(".name:text-is('activity')")).click()
    expect(page.locator("h1")).to_have_text("m001_activity")
    assert page.url.endswith("#keys=m001_activity")


def test_search_and_kinds(visit: Visit, array: str) -> None:
    """Keys are found by a part of their name or a glob, and by their kind."""
    page = visit(array)
    search, found = page.locator("#search"), page.locator("#found")
    for text, words in [
        ("TARGET", "65 of 1,516 keys"),
        ("m00?_target", "10 of 1,516 keys"),
        ("m00[0-2]_t*", "3 of 1,516 keys"),
        ("*a*a*a*a*a*b", "No key matches"),
    ]:
        search.fill(text)
        expect(found).to_contain_text(words)
    search.fill("spectral")
    page.get_by_role("button", name="Indexed").click()
    expect(found).to_have_text("8 of 1,516 keys")
    search.fill("")
    expect(page.locator("#tree [role=treeitem]")).to_have_count(8)
    page.locator("#tree .row").first.click()
    table = page.get_by_role("table")
    expect(table.get_by_role("row").nth(1)).to_contain_text("J1939-6342")


def test_many_keys_are_few_elements(visit: Visit, sites: Callable[..., str]) -> None:
    """Of ten thousand keys, only those in sight are elements, and the search finds any of them."""
    ts = TelescopeState()
    with ts.pipeline() as p:
        for number in range(10_000):
            p[f"key{number}x{number * 7919 % 10_007}"] = number
    page = visit(sites(ts, live=False))
    rows = page.locator("#tree [role=treeitem]")
    page.locator("#search").fill("key")
    expect(page.locator("#found")).to_have_text("10,000 of 10,000 keys")
    assert rows.count() < 80
    page.locator("#tree").focus()
    page.keyboard.press("End")
    expect(page.locator("#tree [data-active]")).to_have_attribute("aria-posinset", "10000")
    expect(page.locator("#tree [data-active]")).to_be_in_viewport()
    assert rows.count() < 80
    page.locator("#search").fill("key1234x")
    expect(rows).to_have_count(1)


def test_keyboard_only(visit: Visit, array: str) -> None:
    """Everything in the tree can be done with the keyboard, and the focus can be seen."""
    page = visit(array)
    expect(page.locator("#tree .row").first).to_be_visible()
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.type("anc_")
    expect(page.locator("#found")).to_have_text("5 of 1,516 keys")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#tree")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("anc_air_pressure")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    expect(page.locator("h1")).to_have_text("2 keys")
    assert page.url.split("#")[1].startswith("keys=anc_air_pressure,anc_air_relative_humidity")
    page.keyboard.press("Space")
    expect(page.locator("h1")).to_have_text("anc_air_pressure")
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    expect(page.locator("#search")).to_have_value("")
    expect(page.locator("#found")).to_have_text("1,516 keys")
    page.locator("#tree").focus()
    page.keyboard.press("Home")
    active = page.locator("#tree [data-active]")
    page.keyboard.press("ArrowRight")
    expect(active).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("ArrowRight")
    expect(active).to_have_attribute("aria-level", "2")
    page.keyboard.press("ArrowLeft")
    expect(active).to_have_attribute("aria-level", "1")
    page.keyboard.press("ArrowLeft")
    expect(active).to_have_attribute("aria-expanded", "false")
    identity = active.get_attribute("id")
    expect(page.locator("#tree")).to_have_attribute("aria-activedescendant", str(identity))


def test_address_back_and_forward(visit: Visit, array: str) -> None:
    """The address says what is shown: a link shows the same, and back and forward work."""
    page = visit(array + "#keys=anc_air_temperature&tab=samples&search=anc")
    expect(page.locator("h1")).to_have_text("anc_air_temperature")
    expect(page.get_by_role("tab", name="Samples")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#search")).to_have_value("anc")
    page.get_by_role("tab", name="Plot").click()
    page.locator("#tree .row", has_text="anc_wind_direction").click()
    expect(page.locator("h1")).to_have_text("anc_wind_direction")
    page.go_back()
    expect(page.locator("h1")).to_have_text("anc_air_temperature")
    expect(page.get_by_role("tab", name="Plot")).to_have_attribute("aria-selected", "true")
    page.go_back()
    expect(page.get_by_role("tab", name="Samples")).to_have_attribute("aria-selected", "true")
    page.go_forward()
    page.go_forward()
    expect(page.locator("h1")).to_have_text("anc_wind_direction")
    page.locator("#home").click()
    expect(page.locator(".facts")).to_be_visible()


@pytest.mark.parametrize("kind", ["attribute", "sensor"])
def test_hostile_names_and_values_are_text(
    visit: Visit, sites: Callable[..., str], kind: str
) -> None:
    """Whatever a key is called or holds, it is shown as text."""
    ts = TelescopeState()
    for name, value in HOSTILE.items():
        if kind == "attribute":
            ts[name] = value
        else:
            ts.add(name, value, ts=1.6e9)
            ts.add(name, value, ts=1.6e9 + 10)
    ts[b"bytes\xff"] = b"\xff"
    page = visit(sites(ts, name="<b>hostile</b>", live=False))
    expect(page.locator("#store")).to_have_text("<b>hostile</b>")
    rows = page.locator("#tree .row")
    page.locator("#search").fill("*")
    expect(rows).to_have_count(len(HOSTILE) + 1)
    for index in range(len(HOSTILE) + 1):
        rows.nth(index).locator(".name").click()
        expect(page.locator("main h1")).to_be_visible()
        expect(page.locator("main .card").nth(1)).not_to_have_attribute("aria-busy", "true")
        expect(page.locator("main [role=alert]")).to_have_count(0)
    shown = page.locator("#tree").inner_text()
    for text in (
        "<script>",
        "<img src=x",
        "two\\nlines",
        "turned\\u202ename",
        "bytes\\xff",
        "&lt;b&gt;",
    ):
        assert text in shown
    assert page.locator("#tree script, #tree img, main script, main img").count() == 0
    assert "broken" not in page.title()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.goto(page.url.split("#")[0] + "#keys=a%2Cb%26c%3Dd%23e%2541%20f%2Bg,two%0Alines")
    expect(page.locator("h1")).to_have_text("2 keys")
    expect(page.locator("main [role=alert], main .message")).to_have_count(0)
