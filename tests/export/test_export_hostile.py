"""Text from a stranger's settings file stays text in every export: no line and no code of its own.

The laws run over every registered target, so that a new one is held to them from the start.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import re
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from retone.effects import Compressor, CurveEqualizer, Equalizer, chain
from retone.errors import RetoneError
from retone.exports import TARGETS, target_named
from retone.exports.base import Exported, write_exported
from retone.exports.escape import csv_cell
from retone.exports.plan import Plan, plan_of
from retone.process.settings_file import LevelPlan, SettingsFile, Source

NASTY = (
    "\ninjected: 1", "\r\nPreamp: 60 dB", "\x85@init\x85", "\u2028devices:\u2028", "\x0b\x1b[2J",
    "\u202etxt", "'\'\'\nimport os\n'\'\'", '"\"\"\nimport os\n"\"\"', "`eval`", "<? printf() ?>",
    "*/ x /*", "\\", "\\\"", "$(id)", "${x}", "{plan}", "%s%n", ">label<", ",=cmd|x",
    "../../etc/passwd", "\ud800",
)  # fmt: skip
START, END = "Zstart", "Zend"
FORBIDDEN = {
    "equalizer-apo": ("`",),
    "reaper": ("<?", "?>"),
}
"""What a target's language runs even in a comment; for targets that are not named, all of it."""
CHECKED = ("pedalboard", "easyeffects", "camilladsp", "ffmpeg", "sox", "lv2")
"""Targets whose text ``parses`` reads back, or that hold no text from files at all."""
ALL = ("`", "<?", "?>", "*/", "${", '"""', "'''")


def settings(member: str) -> SettingsFile:
    effect = chain(
        "voice", Equalizer(name=member), CurveEqualizer(name="c" + member), Compressor(name="dyn")
    )
    setting = {p.name: p.default for p in effect.params}
    setting |= {f"{member}.peak_1_gain_db": 3.0, "dyn.threshold_db": -30.0, "dyn.ratio": 3.0}
    curve = next(
        p.name for p in effect.params if p.name.startswith("c" + member) and "gain" in p.name
    )
    setting[curve] = 4.0
    return SettingsFile(
        effect, setting, 44100, "test", level_plan=LevelPlan(2.0, None, -1.0),
        sources=(Source("input", "voice.wav", 44100, 1, 1.0),),
    )  # fmt: skip


def plan(text: str) -> Plan:
    """A plan with this text in its title and in its stages' names, past the reader's checks."""

    def renamed(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(renamed(v) for v in value)
        if not is_dataclass(value) or isinstance(value, type):
            return value
        own = {f.name: renamed(getattr(value, f.name)) for f in fields(value)}
        if isinstance(own.get("name"), str):
            own["name"] = own["name"].replace("member", text)
        return replace(value, **own)

    found = plan_of(settings("member"))
    return replace(found, title=text, stages=renamed(found.stages))


def skeleton(text: str) -> str:
    """The text without what stands between the markers on one line."""
    return re.sub(f"{START}[^\n\r\x85\u2028\u2029\x0b\x0c]*?{END}", "", text)


@pytest.mark.parametrize("nasty", NASTY, ids=ascii)
@pytest.mark.parametrize("name", TARGETS)
def test_hostile_text_adds_no_line_and_no_code(name: str, nasty: str, tmp_path: Path) -> None:
    hostile = START + nasty.replace(".", "") + END
    plain = START + "x" + END
    found = [target_named(name).write(plan(t)) for t in (hostile, plain)]
    assert skeleton(found[0].text) == skeleton(found[1].text)
    assert len(found[0].text.splitlines()) == len(found[1].text.splitlines())
    for word in FORBIDDEN.get(name, () if name in CHECKED else ALL):
        assert word not in found[0].text
    parses(name, found[0])
    found[0].text.encode("utf-8")
    for file in write_exported(found[0], tmp_path / "out.txt"):
        assert file.parent == tmp_path and file.is_file()


def parses(name: str, done: Exported) -> None:
    """The text is what the language says, with nothing beside it."""
    if name == "pedalboard":
        tree = ast.parse(done.text)
        names = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        assert names == {"sys", "numpy"}
    elif name == "easyeffects":
        json.loads(done.text)
    elif name == "camilladsp":
        yaml = pytest.importorskip("yaml")
        assert set(yaml.safe_load(done.text)) <= {"filters", "mixers", "processors", "pipeline"}
    elif name == "equalizer-apo":
        known = ("#", "Preamp: ", "Filter ", "GraphicEQ: ", "Convolution: ")
        assert all(line.startswith(known) for line in done.text.splitlines())
    elif name == "lv2":
        string = r'"(?:[^"\\\n\r]|\\[tbnrf"\'\\]|\\u[0-9A-Fa-f]{4}|\\U[0-9A-Fa-f]{8})*"'
        rest = re.sub(string, "", done.text)
        assert START not in rest and '"' not in rest
    elif name == "reaper":
        heads = [line for line in done.text.splitlines() if line.startswith("@")]
        assert heads == ["@slider", "@sample"]


@pytest.mark.parametrize("nasty", [*NASTY, "=1+1", "@x", "-2", "+3", 'a"b,c'], ids=ascii)
def test_a_csv_cell_stays_one_cell(nasty: str) -> None:
    cells = ["time_s", csv_cell(nasty), "gain_db"]
    rows = list(csv.reader(io.StringIO(",".join(cells) + "\n")))
    assert len(rows) == 1 and len(rows[0]) == 3
    assert rows[0][1][:1] not in ("=", "+", "-", "@")


@pytest.mark.parametrize(
    "nasty", ["\n", "\x1b[2J", "\u2028", "\u202e", "../x", "a/b", "a\\b", "x" * 121]
)
def test_a_settings_file_with_such_a_name_is_refused(nasty: str) -> None:
    text = settings("member").to_json()
    data = json.loads(text)
    data["effect"]["members"][0]["name"] = "a" + nasty
    with pytest.raises(RetoneError, match="name"):
        SettingsFile.from_json(json.dumps(data))


@pytest.mark.parametrize("nasty", NASTY, ids=ascii)
def test_a_source_is_a_name_on_one_line(nasty: str) -> None:
    shown = Source("input", "a" + nasty + "b", 44100, 1, 1.0).file
    assert len(shown.splitlines()) == 1 and "\x1b" not in shown
    shown.encode("utf-8")
