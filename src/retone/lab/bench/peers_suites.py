"""Neighbouring packages' own tests, run on retone.

The tests come from the packages' source distributions, which pip fetches; nothing of them is in
this repository. ``peers_shims`` puts retone behind the names that the tests import.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from retone.errors import DataError

SHIMS = "retone.lab.bench.peers_shims"
SUITES = {
    "torchcomp": "torchcomp==0.2.1",
    "torchlpc": "torchlpc==0.7.2",
    "auraloss": "auraloss==0.4.0",
    "pyloudnorm": "pyloudnorm==0.2.0",
    "pedalboard": "pedalboard==0.9.26",
}
"""Peer -> the release whose tests are run."""
BUILT_BY = {"auraloss": "setuptools<62"}
"""Peer -> what pip needs to read its release's metadata, where the newest does not do."""
NOT_ISOLATED = ("torchlpc",)
"""Peers whose build asks for torch, which is installed: pip need not fetch another one."""
ONLY = {"pedalboard": ("test_filters.py", "utils.py")}
"""Peer -> the files of tests that retone has something to run on: its other effects are not
retone's, and their tests would run on the peer itself."""
DIFFERENT = {
    "test_loudness_range_silent_signal": "the loudness range of silence is 0 LU here, a number in "
    "every report, and NaN there",
    "test_integrated_loudness": "of a sine of 1 kHz at full scale pyloudnorm's own filter reads "
    "-3.05 LUFS, retone and the standard -3.01",
}
"""Tests that state another convention -> what is different."""
ELSEWHERE = (
    "recordings that the tests read are not in it (synthetic signals for the same standards: \
tests/unit/test_audio_level.py)"
)
NO_FILE = re.compile(r"Error opening '?(?P<file>tests/data/[^':]+)|No such file.*?(tests/data/\S+)")
PASSED, SKIPPED, NOT_OFFERED, NO_DATA, OTHER, FAILED = (
    "passed", "skipped", "not offered", "file not in the release", "other convention", "failed",
)  # fmt: skip
STATUSES = (PASSED, SKIPPED, NOT_OFFERED, NO_DATA, OTHER, FAILED)
Say = Callable[[str], None]


@dataclass(frozen=True)
class Case:
    """One test: its name, its status (one of ``STATUSES``), and the reason."""

    name: str
    status: str
    reason: str = ""


@dataclass
class Suite:
    """A peer's tests; ``missing`` says why there are none, ``source`` where they come from."""

    peer: str
    release: str
    missing: str = ""
    source: str = ""
    cases: list[Case] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Number of tests by status."""
        found = Counter(c.status for c in self.cases)
        return {s: found[s] for s in STATUSES}


def fetch(release: str, folder: Path) -> Path:
    """The source distribution of a release, in ``folder``; pip fetches it if it is not there.

    Raises:
        DataError: pip cannot, in its own words.
    """
    name = release.partition("==")[0]
    known = sorted(folder.glob(f"{name}-*.tar.gz"))
    if known:
        return known[0]
    folder.mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ)
    if name in BUILT_BY:
        rule = folder / "constraint.txt"
        rule.write_text(BUILT_BY[name] + "\n", encoding="utf-8")
        environment["PIP_CONSTRAINT"] = str(rule)
    words = "download --quiet --no-deps --no-binary :all:".split()
    words += ["--no-build-isolation"] * (name in NOT_ISOLATED) + ["--dest"]
    ran = subprocess.run(
        [sys.executable, "-m", "pip", *words, str(folder), release], capture_output=True, text=True,
        check=False, env=environment,
    )  # fmt: skip
    known = sorted(folder.glob(f"{name}-*.tar.gz"))
    if not known:
        said = [line for line in ran.stderr.splitlines() if "ERROR" in line or "error:" in line]
        raise DataError(f"pip has no source distribution of {release}: "
                        f"{(said or ['no reason given'])[-1].strip()}")  # fmt: skip
    return known[0]


def run_suite(peer: str, folder: Path, *, timeout_s: float = 7200.0) -> Suite:
    """Run a peer's tests on retone; one that has none says why.

    Args:
        peer: a key of ``SUITES``.
        folder: holds source distributions, or gets them.
        timeout_s: seconds after which the run of a suite is stopped.
    """
    suite = Suite(peer, SUITES[peer])
    try:
        archive = fetch(suite.release, folder)
    except DataError as error:
        suite.missing = str(error)
        return suite
    suite.source = archive.name.removesuffix(".tar.gz")
    with tempfile.TemporaryDirectory(prefix="retone-peers-") as place:
        with tarfile.open(archive) as tar:
            tar.extractall(place, filter="data")
        root = next(p for p in Path(place).iterdir() if p.is_dir())
        if not list(root.glob("tests/test_*.py")):
            suite.missing = f"{archive.name} holds no tests"
            return suite
        for own in root.iterdir():  # else it would be imported in retone's place
            if own.name not in ("tests", "pyproject.toml"):
                own.rename(Path(place) / f"unused-{own.name}")
        if peer in ONLY:
            for own in [p for p in (root / "tests").iterdir() if p.name not in ONLY[peer]]:
                own.rename(Path(place) / f"unused-{own.name}")
        report = Path(place) / "report.xml"
        (root / "tests" / "__init__.py").touch()
        words = ["-q", "-p", SHIMS, "-p", "no:cacheprovider", "-c", os.devnull]
        words += [f"--rootdir={root}", f"--junitxml={report}", "tests"]
        paths = [str(Path(p).resolve()) for p in sys.path if p]  # the tests run in another folder
        env = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        try:
            subprocess.run(
                [sys.executable, "-m", "pytest", *words], cwd=root, capture_output=True,
                check=False, timeout=timeout_s, env=env,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            suite.missing = f"not finished after {timeout_s:.0f} s"
            return suite
        if not report.is_file():
            suite.missing = "pytest could not run them"
            return suite
        suite.cases = cases(report.read_text(encoding="utf-8"))
    return suite


def cases(report: str) -> list[Case]:
    """The tests of a JUnit report."""
    found = []
    for node in ET.fromstring(report).iter("testcase"):
        name = node.get("name", "")
        bad = node.find("failure")
        bad = node.find("error") if bad is None else bad
        left = node.find("skipped")
        if left is not None:
            found.append(Case(name, SKIPPED, left.get("message", "")))
        elif bad is None:
            found.append(Case(name, PASSED))
        else:
            found.append(_judged(name, bad.get("message", ""), bad.text or ""))
    return found


def _judged(name: str, message: str, text: str) -> Case:
    if "NotOffered" in message:
        return Case(name, NOT_OFFERED, message.split("NotOffered: ", 1)[-1].strip())
    lost = NO_FILE.search(message + text)
    if lost:
        return Case(name, NO_DATA, lost["file"] or lost[2])
    known = name.split("[")[0]
    if known in DIFFERENT:
        return Case(name, OTHER, DIFFERENT[known])
    return Case(name, FAILED, message.splitlines()[0] if message else "no message")


def section(path: Path) -> str:
    """A saved result as a section of docs/benchmarks.md.

    Raises:
        DataError: the file holds something else.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        suites = [
            Suite(
                s["peer"], s["release"], s["missing"], s["source"], [Case(**c) for c in s["cases"]]
            )
            for s in data["suites"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} holds no tests of peers ({error}).") from error
    return (
        "## Other libraries' own tests, run on retone\n\n"
        "`python -m retone.lab evaluate peers-suites` has pip fetch their source distributions and "
        "runs the tests in them with retone behind the libraries' names. Of pedalboard's tests it "
        "runs those of filters; where the package index has no source distribution, an archive of "
        "its repository can stand in (`--sdists`). What is skipped needs CUDA.\n\n"
        f"{text(suites)}\n\nSource: `{path.as_posix()}`.\n"
    )


def text(suites: list[Suite]) -> str:
    """A Markdown table of counts, and the reasons of what did not pass."""
    lines = ["| tests of | tests | " + " | ".join(STATUSES) + " |",
             "|---|---|" + "---|" * len(STATUSES)]  # fmt: skip
    for s in suites:
        if s.missing:
            lines.append(f"| {s.release} | {s.missing} |" + " |" * len(STATUSES))
            continue
        counts = " | ".join(str(n) for n in s.counts().values())
        lines.append(f"| {s.source or s.release} | {len(s.cases)} | {counts} |")
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for s in suites:
        for c in s.cases:
            if c.status == NO_DATA:
                key = (s.peer, c.status, ELSEWHERE)
                reasons.setdefault(key, []).append(Path(c.reason).name)
            elif c.status not in (PASSED, SKIPPED):
                reasons.setdefault((s.peer, c.status, c.reason), []).append(c.name)
    lines.append("")
    for (peer, status, reason), names in reasons.items():
        lines.append(f"- {peer}, {status}: {reason} ({', '.join(dict.fromkeys(names))})")
    return "\n".join(lines)
