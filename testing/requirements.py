"""Read what the packages require from their ``pyproject.toml`` files, extras and markers included."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

# What states the lowest version that is allowed.
LOWER_BOUNDS = (">=", "==", "~=")


class Requirements:
    """The requirements of all packages of a repository.

    Parameters
    ----------
    packages : mapping of str to Path
        The folder of each package by its name, the lowest first; its ``pyproject.toml`` is read.
    """

    def __init__(self, packages: Mapping[str, Path]) -> None:
        self._tables: dict[str, dict[str, Any]] = {
            name: tomllib.loads((folder / "pyproject.toml").read_text())
            for name, folder in packages.items()
        }

    def own(self, package: str) -> list[str]:
        """Return a package and those of the repository that it needs without extras, lowest first."""
        found = {package}
        for requirement in self._declared(package, ()):
            if (name := canonicalize_name(requirement.name)) in self._tables and name not in found:
                found.update(self.own(name))
        return [name for name in self._tables if name in found]

    def extras(self, package: str) -> list[str]:
        """Return the names of a package's extras."""
        return list(self._tables[package]["project"].get("optional-dependencies", {}))

    def foreign(self, package: str, extras: Iterable[str] = ()) -> list[Requirement]:
        """Return what a package and some of its extras declare from outside the repository.

        An extra that names other extras of our packages brings what those bring.
        """
        found = []
        for requirement in self._declared(package, extras):
            name = canonicalize_name(requirement.name)
            if name not in self._tables:
                found.append(requirement)
            elif requirement.extras:
                plain = {str(one) for one in self.foreign(name)}
                with_extras = self.foreign(name, requirement.extras)
                found += [one for one in with_extras if str(one) not in plain]
        return found

    def group(self, package: str, name: str) -> list[Requirement]:
        """Return a dependency group of a package, empty if it has none of that name."""
        found = []
        for line in self._tables[package].get("dependency-groups", {}).get(name, []):
            if isinstance(line, str):
                found.append(Requirement(line))
            else:
                found += self.group(package, line["include-group"])
        return found

    def _declared(self, package: str, extras: Iterable[str]) -> Iterator[Requirement]:
        project = self._tables[package]["project"]
        yield from map(Requirement, project["dependencies"])
        for extra in extras:
            yield from map(Requirement, project["optional-dependencies"][extra])


def lowest_versions(requirements: Iterable[Requirement]) -> list[str]:
    """Return constraints that pin each requirement to the lowest version that it allows.

    Markers are kept for the installer to evaluate. Of several requirements for one distribution the
    highest lower bound counts, as all must hold at once.

    Raises
    ------
    ValueError
        If a requirement has no lower bound.
    """
    found: dict[tuple[str, str], Version] = {}
    for requirement in requirements:
        bounds = [
            Version(one.version) for one in requirement.specifier if one.operator in LOWER_BOUNDS
        ]
        if not bounds:
            raise ValueError(f"The requirement '{requirement}' has no lower bound; add one.")
        key = canonicalize_name(requirement.name), str(requirement.marker or "")
        found[key] = max(found.get(key, Version("0")), *bounds)
    return [
        f"{name}=={version}" + (f" ; {marker}" if marker else "")
        for (name, marker), version in sorted(found.items())
    ]
