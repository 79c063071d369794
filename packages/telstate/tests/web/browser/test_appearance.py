"""How the page looks: dark and light, wide and narrow, contrast, labels, focus, motion."""

from __future__ import annotations

from typing import Literal

import pytest
from browsing import Visit
from playwright.sync_api import Page, expect

# Returns the texts whose contrast with what is behind them is below that of WCAG AA.
CONTRAST = """() => {
  const parse = (text) => {
    const numbers = text.match(/[\\d.]+/g).map(Number);
    if (text.startsWith("color(")) return [...numbers.slice(0, 3).map((one) => one * 255), numbers[3] ?? 1];
    return numbers.length < 4 ? [...numbers, 1] : numbers;
  };
  const over = ([r, g, b, a], under) => [r, g, b].map((one, i) => one * a + under[i] * (1 - a));
  const behind = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) layers.push(parse(getComputedStyle(one).backgroundColor));
    return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255]);
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((one) => {
      const part = one / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const poor = [];
  let seen = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim();
    const element = walker.currentNode.parentElement;
    const box = element.getBoundingClientRect();
    const style = getComputedStyle(element);
    if (!text || box.width < 2 || box.height < 2 || style.visibility !== "visible") continue;
    if (element.closest("script, style, noscript, option, .hoverlayer")) continue;
    const inSvg = element.closest("svg");
    const under = behind(inSvg ? inSvg.parentElement : element);
    const colour = over(parse(inSvg ? style.fill : style.color), under);
    const [high, low] = [light(colour), light(under)].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    const needed = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
    seen += 1;
    if ((high + 0.05) / (low + 0.05) < needed) poor.push(`${text}: ${((high + 0.05) / (low + 0.05)).toFixed(2)}`);
  }
  return [seen, poor];
}"""

# Returns the controls without a name for a screen reader.
NAMELESS = """() => Array.from(document.querySelectorAll("button, a[href], input, select, [role=tree], [role=treeitem], [role=tab], [role=table], [tabindex='0']"))
  .filter((one) => one.getClientRects().length)
  .filter((one) => !(one.getAttribute("aria-label") || one.labels?.[0]?.textContent || one.textContent.trim() || one.title))
  .map((one) => one.outerHTML)"""

SCHEMES: list[Literal["light", "dark"]] = ["light", "dark"]
STATES = {
    "overview": "#",
    "plots": "#keys=m000_pos_actual_scan_azim,m000_activity,1600000000_cal_product_G",
    "samples": "#keys=anc_air_temperature&tab=samples",
    "value": "#keys=sdp_config",
    "indexed": "#keys=1600000000_spectral_image_peak",
    "array": "#keys=1600000000_cal_product_G&tab=value",
    "nothing": "#keys=nosuch&search=zzz",
}


def wait_until_shown(page: Page) -> None:
    """Wait until what was asked for is on the screen."""
    expect(page.locator("main h1")).to_be_visible()
    expect(page.locator("main [aria-busy=true]")).to_have_count(0)
    expect(page.locator("main")).not_to_contain_text("Reading")


def wait_until_drawn(page: Page) -> None:
    """Wait until all figures are drawn in the colours of the page."""
    page.wait_for_function(
        """() => Array.from(document.querySelectorAll(".figure")).every((figure) => {
          const card = getComputedStyle(figure.closest(".card")).backgroundColor;
          return figure.layout?.paper_bgcolor === card;
        })"""
    )


@pytest.mark.parametrize("width", [1280, 400])
def test_contrast_labels_and_width(visit: Visit, array: str, width: int) -> None:
    """In each state all text can be read, all controls have names, and nothing is wider than the window."""
    page = visit(array, width=width)
    wait_until_shown(page)
    for name, fragment in STATES.items():
        page.evaluate("(fragment) => { location.hash = fragment; }", fragment)
        wait_until_shown(page)
        if width == 400:
            page.locator("#drawer").click()
            expect(page.locator("#side")).to_be_in_viewport()
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            wait_until_drawn(page)
            seen, poor = page.evaluate(CONTRAST)
            assert seen > 10 and poor == [], (name, scheme)
        assert page.evaluate(NAMELESS) == [], name
        if width == 400:
            page.locator("#drawer").click()
            expect(page.locator("#side")).not_to_be_in_viewport()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        main = page.locator("#main")
        assert main.evaluate("(main) => main.scrollWidth <= main.clientWidth"), name


def test_colours_follow_the_choice(visit: Visit, array: str) -> None:
    """The colours, also those of plots, follow the system until another choice is made, which is kept."""
    page = visit(array + "#keys=anc_air_temperature", scheme="dark")
    expect(page.locator(".figure[data-points]")).to_be_visible()
    colour = "() => document.querySelector('.figure').layout.paper_bgcolor"
    dark = page.evaluate(colour)
    page.get_by_label("Colours").select_option("light")
    page.wait_for_function(f"(before) => ({colour})() !== before", arg=dark)
    light = page.evaluate(colour)
    page.reload()
    expect(page.locator(".figure[data-points]")).to_be_visible()
    assert page.evaluate(colour) == light
    page.get_by_label("Colours").select_option("auto")
    page.wait_for_function(f"(before) => ({colour})() === before", arg=dark)
    page.emulate_media(color_scheme="light")
    page.wait_for_function(f"(before) => ({colour})() === before", arg=light)
    assert page.evaluate("localStorage.getItem('telstate-theme')") == "auto"


def test_drawer_on_a_phone(visit: Visit, array: str) -> None:
    """On a narrow screen the tree is a drawer, which closes when a key is chosen, and on Escape."""
    page = visit(array, width=400, height=800)
    wait_until_shown(page)
    expect(page.locator("#side")).not_to_be_in_viewport()
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    expect(page.locator("#side")).to_be_in_viewport()
    page.locator("#search").fill("cbf_target")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("cbf_target")
    expect(page.locator("#side")).not_to_be_in_viewport()
    page.locator("#drawer").click()
    page.locator("#tree").focus()
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_be_focused()
    expect(page.locator("#side")).not_to_be_in_viewport()


def test_motion_is_reduced(visit: Visit, array: str) -> None:
    """With reduced motion, changes are shown without an animation."""
    page = visit(array)
    timing = """() => {
      const changed = document.createElement("span");
      changed.className = "flash";
      document.body.append(changed);
      return getComputedStyle(changed).animationTimingFunction;
    }"""
    assert page.evaluate(timing) == "steps(1)"


def test_focus_can_be_seen(visit: Visit, array: str) -> None:
    """What has the focus has an outline."""
    page = visit(array + "#keys=anc_air_temperature")
    wait_until_shown(page)
    expect(page.locator(".figure[data-points]")).to_be_visible()
    seen = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        found = page.evaluate("""() => {
              const focused = document.activeElement;
              if (focused === document.body) return null;
              const shown = focused.id === "tree" ? focused.querySelector("[data-active]") : focused;
              const style = getComputedStyle(shown);
              return [focused.id || focused.textContent.slice(0, 20), style.outlineStyle, parseFloat(style.outlineWidth)];
            }""")
        if found is None:
            break
        name, style, size = found
        seen.add(name)
        assert style != "none" and size >= 1, name
    assert {"search", "tree", "theme", "tab-plot"} <= seen
    assert len(seen) > 12
