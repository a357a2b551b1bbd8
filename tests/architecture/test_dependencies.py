"""What pyproject.toml asks for is pinned, and the pins agree with each other."""

from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ASKED = [
    Requirement(text)
    for texts in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for text in texts
]
PINS = {
    canonicalize_name(name): version
    for name, version in (
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if line
    )
}
OLDER = {"python-dateutil": "<3"}
"""What packages ask that are not installed everywhere: botocore, behind s3fs."""


def exact(asked: Requirement) -> bool:
    return any(s.operator == "==" for s in asked.specifier)


def test_every_package_of_every_extra_is_pinned() -> None:
    loose = {a.name for a in ASKED if not exact(a) and canonicalize_name(a.name) not in PINS}
    assert loose <= {"retone"}


def test_pins_are_what_the_project_and_the_installed_packages_accept() -> None:
    asked = [("retone", a) for a in ASKED] + [
        ("others", Requirement(f"{name}{versions}")) for name, versions in OLDER.items()
    ]
    for package in importlib.metadata.distributions():
        if canonicalize_name(package.name) not in PINS:
            continue
        for text in package.requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                asked.append((package.name, requirement))
    bad = [
        f"{who} asks for {a}, pinned is {PINS[canonicalize_name(a.name)]}"
        for who, a in asked
        if canonicalize_name(a.name) in PINS
        and not a.specifier.contains(PINS[canonicalize_name(a.name)], prereleases=True)
    ]
    assert not bad, bad
