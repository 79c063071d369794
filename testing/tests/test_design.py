"""The diagrams of the design page show the modules that exist, and the direction of their imports."""

from __future__ import annotations

import re
from pathlib import Path

import imports
import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "design.md").read_text()
#: The text of each section that is about a package, or a folder of one.
SECTIONS = dict(re.findall(r"^## (telstate[\w.]*):.*?\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))
DIAGRAM = re.compile(r"^```\n(.*?)^```", re.M | re.S)
FILE_OR_FOLDER = re.compile(r"(?<!\S)(\w+(?:\.py|/))(?=[\s,]|$)")
PACKAGES = {init.parent.name: init.parent for init in ROOT.glob("packages/*/src/*/__init__.py")}


def folder_of(section: str) -> Path:
    """Return the source folder that a section is about."""
    package, *parts = section.split(".")
    return PACKAGES[package].joinpath(*parts)


def lines_of(section: str) -> dict[str, int]:
    """Return the files and folders in the diagram of a section, each with the number of its line."""
    (diagram,) = DIAGRAM.findall(SECTIONS[section])
    return {
        name: number
        for number, line in enumerate(diagram.splitlines())
        for name in FILE_OR_FOLDER.findall(line)
    }


def test_every_package_has_a_section() -> None:
    """The name of a package begins the title of its section."""
    assert set(PACKAGES) <= set(SECTIONS)


@pytest.mark.parametrize("section", SECTIONS)
def test_modules_are_shown(section: str) -> None:
    """The diagram has all modules and folders, and no others."""
    inside = folder_of(section).iterdir()
    names = {f"{path.name}/" if path.is_dir() else path.name for path in inside}
    modules = {name for name in names if name.endswith((".py", "/")) and name[:2] != "__"}
    assert set(lines_of(section)) == modules


@pytest.mark.parametrize("section", SECTIONS)
def test_imports_point_downwards(section: str) -> None:
    """No module imports from a line above its own."""
    lines = lines_of(section)
    package = section.partition(".")[0]
    modules = imports.read_modules(PACKAGES[package].parent)

    def shown_as(module: str) -> str:
        name, *rest = module.removeprefix(f"{section}.").split(".")
        return f"{name}/" if rest or (folder_of(section) / name).is_dir() else f"{name}.py"

    for name, module in modules.items():
        for one in module.counted:
            for other in imports.defining_modules(one, modules):
                if name.startswith(f"{section}.") and other.startswith(f"{section}."):
                    line = lines.get(shown_as(name), 0)  # __main__.py is not shown.
                    assert lines[shown_as(other)] >= line, str(one)
