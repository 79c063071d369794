"""Requirements are read with their extras, markers and lower bounds."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.requirements import Requirement
from requirements import Requirements, lowest_versions


def lowest(*lines: str) -> list[str]:
    """Return the constraints for some requirements."""
    return lowest_versions(map(Requirement, lines))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("numpy>=1.23.2", "numpy==1.23.2"),
        ("redis<9,>=6.0", "redis==6.0"),
        ("redis>=6.0,<9,!=6.1", "redis==6.0"),
        ("fakeredis[lua]>=2.26", "fakeredis==2.26"),
        ("attrs ~= 22.2", "attrs==22.2"),
        ("msgpack==1.0.5", "msgpack==1.0.5"),
        ("Foo_Bar>=1", "foo-bar==1"),
        (
            "numpy>=1.26; python_version >= '3.12'",
            'numpy==1.26 ; python_version >= "3.12"',
        ),
    ],
)
def test_lowest_version_is_the_lower_bound(line: str, expected: str) -> None:
    """Extras and upper bounds are left out, markers kept."""
    assert lowest(line) == [expected]


def test_highest_lower_bound_counts() -> None:
    """Two requirements for one distribution give one pin that satisfies both."""
    assert lowest("click>=8.1", "click>=8.10,<9") == ["click==8.10"]


def test_requirement_without_lower_bound_is_an_error() -> None:
    """A dependency that promises every version cannot be tested with its lowest."""
    with pytest.raises(ValueError, match="'attrs<30' has no lower bound"):
        lowest("attrs<30")


UPPER = """
[project]
dependencies = ["attrs>=22.2", "house-lower[fast]>=1; python_version >= '3.11'"]
[project.optional-dependencies]
plot = ["matplotlib>=3.7"]
all = ["house-upper[plot]", "house-lower[files]"]
[dependency-groups]
servers = ["fakeredis[lua]>=2.26"]
test = ["pytest>=8", { include-group = "servers" }]
"""
LOWER = """
[project]
dependencies = ["numpy>=1.23"]
[project.optional-dependencies]
fast = ["hiredis>=2.1"]
files = ["fsspec>=2023"]
"""


@pytest.fixture
def house(tmp_path: Path) -> Requirements:
    """The requirements of a repository of three packages, two of which belong together."""
    packages = {"house-lower": LOWER, "house-upper": UPPER, "house-other": LOWER}
    for name, content in packages.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "pyproject.toml").write_text(content)
    return Requirements({name: tmp_path / name for name in packages})


@pytest.mark.parametrize(
    ("extras", "expected"),
    [
        ([], ["attrs>=22.2", "hiredis>=2.1"]),
        (["plot"], ["attrs>=22.2", "hiredis>=2.1", "matplotlib>=3.7"]),
        (["all"], ["attrs>=22.2", "hiredis>=2.1", "matplotlib>=3.7", "fsspec>=2023"]),
    ],
)
def test_foreign_requirements_follow_extras(
    house: Requirements, extras: list[str], expected: list[str]
) -> None:
    """Extras of our own packages bring what those extras need, and the packages are left out."""
    assert list(map(str, house.foreign("house-upper", extras))) == expected


def test_own_packages_are_those_that_are_needed(house: Requirements) -> None:
    """A package is installed with the packages of the repository below it and no others."""
    assert house.own("house-upper") == ["house-lower", "house-upper"]
    assert house.own("house-other") == ["house-other"]


def test_dependency_groups_are_read(house: Requirements) -> None:
    """A package without a group has an empty one."""
    assert list(map(str, house.group("house-upper", "test"))) == [
        "pytest>=8",
        "fakeredis[lua]>=2.26",
    ]
    assert house.group("house-lower", "test") == []
