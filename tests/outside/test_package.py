"""A package of somebody else's adds one of everything, and nothing of retone is changed for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from outside_package import install, publish

USE = """
import warnings
warnings.simplefilter("error")
import json
from pathlib import Path

import numpy as np
import soundfile
import torch

from retone.effects import EFFECT_TYPES, Equalizer, chain
from retone.effects.spec import effect_from_spec, effect_to_spec
from retone.exports import TARGETS
from retone.exports.curves import curves_csv
from retone.exports.plan import plan_of
from retone.process.settings_file import SettingsFile

# effect: named by a settings file, drawn, moved, exported
Saturator = EFFECT_TYPES["saturator"]
effect = chain("voice", Equalizer(), Saturator())
values = {p.name: p.default for p in effect.params}
values |= {"saturator.mix": 0.5, "equalizer.peak_1_gain_db": 6.0}
settings = SettingsFile(effect, values, 48000, "test")
again = SettingsFile.from_json(settings.to_json())
assert again.effect == effect and again.setting == settings.setting
audio = 0.5 * torch.randn(1, 2, 4800)
want = effect.render(audio, 48000, settings.effective_setting()).audio
assert torch.equal(again.effect_at(48000)(audio, 48000, again.effective_setting()), want)

from retone.audio.meters.spectrum import log_frequencies
from retone.report import collect
from retone.report.data import ReportData
from retone.report.html import render_report

f = log_frequencies(48000)
page = render_report(
    ReportData(settings, f, **collect.views(effect, settings.effective_setting(), 48000, f))
)
assert "Static curve of Saturator" in page and "Output peak for an input peak." in page
assert page.count("Drive") and page.count("Mix")

from retone.process.result import Decision
from retone.studio.state import State, describe, stages

rows = {p["name"]: p for s in stages(effect) for p in s["params"]}
assert rows["saturator.mix"]["role"] == "mix" and rows["saturator.drive_db"]["high"] == 36
state = State(Decision(effect, effect.params.defaults(1), "test"), values, (), 1.0, "off", None)
shown = describe(state, 48000)
assert [c["title"] for c in shown["curves"]] == ["Saturator"] and len(shown["responses"]) == 1

names = set(TARGETS)
assert {"ffmpeg", "reaper", "steps"} <= names
for name in names:
    done = TARGETS[name].write(plan_of(settings))
    notes = [n for n in done.notes if "saturator" in n]
    assert notes == [
        "saturator: a saturator cannot be expressed in other programs and is left out."
    ]
    assert done.text.strip()

# metric, loss, corpus, estimator
from retone.metrics import METRICS

assert METRICS["offset"](np.full(100, 0.25), None, 48000) == 0.25
assert "offset" in list(METRICS)

from retone.losses import loss_named
from retone.training.recipes.record import override
from retone.training.recipes.table import recipe_named

assert float(loss_named("energy")(audio, audio + 1, 48000)) > 0.9
recipe = override(recipe_named("compact_smoke"), ["loss=energy"])
assert type(recipe.loss).__name__ == "Energy"

from retone.training.data.corpora import open_corpus

for seed, name in enumerate(("ann", "bob")):
    folder = Path("corpus") / name
    folder.mkdir(parents=True)
    voice = 0.1 * np.random.default_rng(seed).standard_normal(96000)
    soundfile.write(folder / "one.wav", voice, 48000)
found = open_corpus("my-voices", Path("corpus"), sample_rate=24000, cache=Path("cache"))
assert {t.group for t in found.tracks} == {"ann", "bob"}

from retone.estimators.choose import ESTIMATORS, estimator_named

assert "gentle" in ESTIMATORS
import retone

Path("in").mkdir()
soundfile.write("in/a.wav", voice, 48000)
result = retone.match("in/a.wav", "in/a.wav", "in/b.wav", estimator="gentle")
assert float(result.decision.setting["compressor.ratio"]) == 1.5

from retone.cli.main import main
from retone.lab.main import build_parser

words = ["match", "in/a.wav", "--to", "in/b.wav", "-o", "in/c.wav", "-q", "--no-report"]
assert main([*words, "--estimator", "gentle"]) == 0
corpus = ["--corpus", "folder=in", "--sample-rate", "24000"]
for words in (
    ["evaluate", "synthetic", *corpus, "--methods", "input", "gentle"],
    ["evaluate", "realistic", *corpus, "--rows", "input", "gentle"],
    ["evaluate", "presets", *corpus, "--estimators", "gentle"],
    ["figure", "parameters", "in/a.wav", "--to", "in/b.wav", "-o", "f", "--estimator", "gentle"],
):
    build_parser().parse_args(words)

from retone.lab.main import main as lab

words = ["evaluate", "synthetic", "--corpus", "my-voices=corpus", "--split", "train", "--length"]
words += ["16384", "--sample-rate", "24000", "--pairs", "1", "--methods", "input", "gentle"]
assert lab([*words, "--metrics", "stft", "offset", "--cache", "cache", "-o", "r.json"]) == 0
measured = json.loads(Path("r.json").read_text())["rows"]
assert all(set(row[-1]) == {"stft", "offset"} for row in measured) and len(measured) == 6
print("all used")
"""

BROKEN = """
import warnings
from retone.metrics import METRICS

with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    names = {m.name for m in METRICS.values()}
assert "stft" in names and "lost" not in names and "wrong" not in names
texts = sorted(str(w.message) for w in seen)
assert len(texts) == 3, texts
assert texts[0].startswith("lost_package:METRIC: metric 'stft' is left out"), texts
assert "'lost' of broken cannot be loaded: lost_package:METRIC raised ModuleNot" in texts[1]
assert "'wrong' of broken cannot be used: json:dumps is not a Metric." in texts[2], texts
from retone.errors import SettingError
try:
    METRICS.named("lost")
except SettingError as error:
    assert "cannot be loaded" in str(error)
    print("all used")
"""


def run(folder: Path, code: str) -> None:
    source = Path(__file__).resolve().parents[2] / "src"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}:{source}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.endswith("all used\n"), done.stderr[-3000:]


def test_every_part_of_the_package_on_the_page_works(tmp_path: Path) -> None:
    install(tmp_path)
    run(tmp_path, USE)


def test_a_broken_package_costs_one_warning_each(tmp_path: Path) -> None:
    points = {"lost": "lost_package:METRIC", "wrong": "json:dumps", "stft": "lost_package:METRIC"}
    publish(tmp_path, "broken", {"retone.metrics": points})
    run(tmp_path, BROKEN)


def test_the_page_shows_every_group() -> None:
    from outside_package import PAGE
    from retone.effects import EFFECT_TYPES
    from retone.estimators.choose import ESTIMATORS
    from retone.exports import TARGETS
    from retone.losses import LOSSES
    from retone.metrics import METRICS
    from retone.training.data.corpora import CORPORA

    text = PAGE.read_text()
    for registry in (EFFECT_TYPES, METRICS, LOSSES, CORPORA, ESTIMATORS, TARGETS):
        assert f'[project.entry-points."{registry.group}"]' in text


@pytest.mark.parametrize("name", ["other", "gain"])
def test_a_name_is_taken_once(name: str) -> None:
    from retone.effects import EFFECT_TYPES, Gain
    from retone.errors import SettingError

    words = "exists" if name == "gain" else "has the kind 'gain', not 'other'"
    with pytest.raises(SettingError, match=words):
        EFFECT_TYPES.add(name, Gain)
