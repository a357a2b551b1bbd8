"""Listening tests without a browser: preparing, order, screening, estimates, webMUSHRA."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from listeners import QUALITY, RATE, answers, results_folder, sent

from retone.audio.meters.loudness import loudness_lufs
from retone.audio.meters.true_peak import true_peak_dbtp
from retone.cli.main import main
from retone.errors import DataError, MissingExtraError, SettingError
from retone.studio.listening.analysis import analyse, analyse_folder, figure, files_of
from retone.studio.listening.order import Random, order_of
from retone.studio.listening.plan import DESIGNS, Plan, plan_of_folder
from retone.studio.listening.prepare import low_passed, prepare, read_study
from retone.studio.listening.results import Row, store
from retone.studio.listening.screening import pressed
from retone.studio.listening.simulate import KINDS, rates
from retone.studio.listening.simulate import answers as simulated
from retone.studio.listening.statistics import binomial_p, bootstrap, proportion
from retone.studio.listening.webmushra import config_of_study, plan_of_config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return results_folder(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def studies(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A prepared test of each design."""
    found = {}
    for design in DESIGNS:
        place = tmp_path_factory.mktemp(design)
        found[design] = prepare(plan_of_folder(folder, design), place)
        assert read_study(place) == found[design]
        found[design + " folder"] = place
    return found


@pytest.mark.parametrize("design", DESIGNS)
def test_all_sounds_are_equally_loud_and_none_clips(studies: dict[str, Any], design: str) -> None:
    study, place = studies[design], studies[design + " folder"]
    files = {s["file"] for t in study["trials"] for s in t["stimuli"]}
    for name in files:
        audio, rate = sf.read(place / name, always_2d=True)
        assert rate == study["sample_rate"] == RATE
        assert loudness_lufs(audio.T, rate) == pytest.approx(study["loudness_lufs"], abs=0.05)
        assert true_peak_dbtp(audio.T, rate) <= -1 + 0.01
    assert len({sf.info(place / n).frames for n in files}) == 1


def test_anchors_end_where_the_recommendation_says() -> None:
    noise = np.random.default_rng(0).standard_normal((1, 4 * 48000))
    for cut in (3500.0, 7000.0):
        low = np.fft.rfft(low_passed(noise, 48000, cut)[0]) / np.fft.rfft(noise[0])
        f = np.fft.rfftfreq(noise.shape[1], 1 / 48000)
        level = 20 * np.log10(np.abs(low) + 1e-9)
        assert np.abs(np.median(level[(f > 100) & (f < 0.9 * cut)])) < 0.1
        assert np.median(level[f > 1.2 * cut]) < -50


@pytest.mark.parametrize("design", DESIGNS)
def test_each_listener_has_an_order_of_their_own(studies: dict[str, Any], design: str) -> None:
    study = studies[design]
    names = [f"listener {i}" for i in range(40)]
    orders = [json.dumps(order_of(study, n)) for n in names]
    assert orders == [json.dumps(order_of(study, n)) for n in names]  # the same again
    assert len(set(orders)) > 0.8 * len(names)
    first = Counter(order_of(study, n)[0]["trial"] for n in names)
    assert max(first.values()) < 0.75 * len(names)
    for n in names[:5]:
        trials = [o["trial"] for o in order_of(study, n)]
        assert sorted(trials) == list(range(len(study["trials"])))
        for o in order_of(study, n):
            count = len(study["trials"][o["trial"]]["stimuli"])
            assert sorted(o["sounds"]) == list(range(count)) and o["x"] in (0, 1)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_shuffling_is_fair_enough(seed: int) -> None:
    random = Random(seed)
    first = Counter(random.shuffled([0, 1, 2, 3])[0] for _ in range(800))
    assert all(120 < first[i] < 290 for i in range(4))


def truth(rows: list[Row], system: str, other: str) -> float:
    """What many listeners answer on average."""
    own = [r for r in rows if (r.system, r.other) == (system, other) and r.kind == "rate"]
    if own[0].score is not None:
        return float(np.mean([r.score for r in own]))
    if own[0].correct is not None:
        return float(np.mean([bool(r.correct) for r in own]))
    return float(np.mean([{system: 1.0, other: 0.0}.get(r.choice, 0.5) for r in own]))


@pytest.mark.parametrize("design", DESIGNS)
def test_the_analysis_finds_known_preferences_and_leaves_bad_listeners_out(
    studies: dict[str, Any], design: str
) -> None:
    study = studies[design]
    good = [r for i in range(24) for r in answers(study, f"good {i}")]
    bad = [r for i in range(6) for r in answers(study, f"bad {i}", bad=True)]
    found = analyse(study, good + bad)
    caught = {n for n in found.left_out if n.startswith("bad")}
    assert not [n for n in found.left_out if n.startswith("good")]
    assert len(caught) >= 5
    many = [r for i in range(150) for r in answers(study, f"many {i}")]
    inside = []
    for line in found.lines:
        e = line.estimate
        assert e.low <= e.value <= e.high
        wanted = truth(many, line.system, line.other)
        slack = 0.3 * (e.high - e.low)  # 95 % intervals miss one in twenty
        inside.append(e.low - slack <= wanted <= e.high + slack)
    assert all(inside)
    if design in ("mushra", "acr"):
        values = [line.estimate.value for line in found.lines]
        ranked = [line.system for line in found.lines]
        assert values == sorted(values, reverse=True)
        assert ranked == sorted(QUALITY, key=lambda n: -QUALITY[n])
        ours = next(c for c in found.contrasts if (c.system, c.other) == ("ours", "other"))
        assert ours.estimate.low > 0
    else:
        ours = found.line("input", "ours")
        if design == "ab":
            assert ours.estimate.high < 0.5
        else:
            assert ours.estimate.low > 0.5 and ours.p is not None and ours.p < 1e-6
    svg = figure(found).render(standalone=True)
    assert svg.count("<circle") == len(found.lines)


FOUND = {
    "attentive": (0.0, 0.05), "random": (0.95, 1.0), "hurried": (0.95, 1.0), "first": (1.0, 1.0),
    "same": (1.0, 1.0), "careless": (0.3, 1.0),
}  # fmt: skip
"""Kind of listener -> least and most share that is left out."""


@pytest.mark.parametrize("other_content", [False, True])
@pytest.mark.parametrize("design", DESIGNS)
def test_screening_finds_bad_listeners_and_spares_good_ones(
    folder: Path, tmp_path: Path, design: str, other_content: bool
) -> None:
    study = prepare(plan_of_folder(folder, design, aligned=not other_content), tmp_path / "test")
    found = {r.kind: r for r in rates(study, 200)}
    assert set(found) == set(KINDS) == set(FOUND)
    for kind, (least, most) in FOUND.items():
        share = found[kind].left_out / 200
        assert least <= share <= most, (kind, share)
        assert found[kind].low <= share <= found[kind].high


def test_intervals_of_shares_are_exact() -> None:
    low, high = proportion(8, 10)
    assert (low, high) == pytest.approx((0.4439, 0.9748), abs=1e-4)
    assert proportion(0, 20)[0] == 0 and proportion(0, 20)[1] == pytest.approx(0.1684, abs=1e-4)
    assert proportion(20, 20)[1] == 1


def test_buttons_are_known_from_the_order_and_not_after_renaming(studies: dict[str, Any]) -> None:
    for design in ("ab", "abx"):
        study = studies[design]
        rows = simulated(study, "ann", "first")
        assert pressed(study, rows) == [0] * len(rows)
        assert pressed(study, [replace(r, listener="bob") for r in rows]) == []
        assert pressed(study, rows[:0] or [replace(rows[0], position=10**6)]) == []
    assert pressed(studies["acr"], simulated(studies["acr"], "ann", "first")) == []


def test_with_everybody_s_answers_the_bad_would_count(studies: dict[str, Any]) -> None:
    """Screening matters: guessing listeners pull every score to the middle."""
    study = studies["mushra"]
    rows = [r for i in range(10) for r in answers(study, f"good {i}")]
    rows += [r for i in range(10) for r in answers(study, f"bad {i}", bad=True)]
    found = analyse(study, rows)
    kept = found.line("anchor35").estimate.value
    everyone = np.mean([r.score for r in rows if r.system == "anchor35"])
    assert kept < everyone - 5


def test_intervals_cover_what_they_claim() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for number in range(200):
        listeners = 50 + 10 * rng.standard_normal(20)
        groups = [m + 8 * rng.standard_normal(6) for m in listeners]
        e = bootstrap(groups, seed=number, draws=400)
        hits += e.low <= 50 <= e.high
    assert 0.88 <= hits / 200 <= 0.99
    assert np.isnan(bootstrap([]).value)
    assert binomial_p(10, 10) == 2**-10 and binomial_p(0, 10) == 1.0


def test_results_are_read_from_both_forms_and_strangers_are_refused(
    studies: dict[str, Any], tmp_path: Path
) -> None:
    study = studies["ab"]
    place = tmp_path / "test"
    place.mkdir()
    (place / "study.json").write_text(json.dumps(study))
    with pytest.raises(DataError, match="holds no results"):
        analyse_folder(place)
    for name in ("ann", "bo b/../x"):
        path = store(place, sent(study, name, answers(study, name)), study)
        assert path.parent == place / "results"
    assert analyse_folder(place).listeners == 2
    with pytest.raises(DataError, match="no results of this test"):
        store(place, b'{"study": "x", "listener": "a", "rows": [{}]}', study)
    good = json.loads(path.read_text())
    for change, says in (
        ({"study": "other"}, "belongs to test"),
        ({"trial": "x"}, "damaged"),
    ):
        good["rows"][0] |= change
        path.write_text(json.dumps(good))
        with pytest.raises(DataError, match=says):
            analyse_folder(place)
        good["rows"][0] |= {"study": study["id"]}


def test_a_whole_test_by_commands(folder: Path, tmp_path: Path, capsys: Any) -> None:
    test = tmp_path / "test"
    assert main(["listen", "make", str(folder), "-o", str(test), "--title", "A & <b>"]) == 0
    assert main(["listen", "make", str(folder), "-o", str(test)]) == 2
    assert main(["listen", "analyse", str(test)]) == 2
    study = read_study(test)
    for i in range(8):
        store(test, sent(study, f"l{i}", answers(study, f"l{i}")), study)
    assert main(["listen", "analyse", str(test)]) == 0
    out = capsys.readouterr().out
    rates_file = tmp_path / "rates.json"
    words = ["listen", "simulate", str(test), "--listeners", "20", "--json", str(rates_file)]
    assert main(words) == 0
    told = capsys.readouterr().out
    record = json.loads(rates_file.read_text())
    assert record["provenance"]["date"] and record["question"]["seed"] == [study["id"]]
    assert record["tests"][0]["questions"] == 2
    assert "mushra: 2 questions" in told and "random         20 of 20 100.0 %" in told
    assert "8 of 8 listeners count" in out and "differences are outside chance" in out
    names = {p.name for p in (test / "analysis").iterdir()}
    assert names == {"analysis.json", "analysis.csv", "answers.csv", "analysis.svg"}
    assert "<b>" not in (test / "analysis" / "analysis.svg").read_text()
    one = tmp_path / "one"
    assert main(["listen", "make", str(folder), "-o", str(one), "--one-file", "--design", "abx",
                 "--pair", "input,ours", "--title", "</script><b>"]) == 0  # fmt: skip
    html = (one / "index.html").read_text()
    assert "src=" not in html and "</script><b>" not in html
    assert {t["stimuli"][1]["system"] for t in read_study(one)["trials"]} == {"ours", "anchor35"}


@pytest.mark.parametrize("design", ["mushra", "ab", "acr"])
def test_webmushra_configurations_go_out_and_come_back(
    studies: dict[str, Any], design: str, tmp_path: Path
) -> None:
    yaml = pytest.importorskip("yaml")
    study, place = studies[design], studies[design + " folder"]
    path = place / "config.yaml"
    path.write_text(config_of_study(study))
    kinds = [p["type"] for p in yaml.safe_load(path.read_text())["pages"][1][1:]]
    assert len(kinds) == sum(t["kind"] == "rate" for t in study["trials"])
    plan = plan_of_config(path)
    assert plan.design == design and len(plan.items) == len(kinds)
    again = prepare(plan, tmp_path / "again")
    rates = [t for t in again["trials"] if t["kind"] == "rate"]
    assert len(rates) >= len(kinds)
    if design == "mushra":
        assert {s["system"] for s in rates[0]["stimuli"]} == set(QUALITY)


WEBMUSHRA = """
testname: Codecs
testId: codecs
pages:
    - type: generic
      id: first
      content: <h1>Welcome</h1>
    -
        - random
        - type: mushra
          id: trial1
          content: Rate it
          reference: wavs/ref.wav
          createAnchor35: true
          createAnchor70: true
          stimuli:
              C1: wavs/one.wav
              C2: wavs/two.wav
    - type: finish
      name: Thanks
"""


def test_a_configuration_as_webmushra_documents_it(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    (tmp_path / "configs").mkdir()
    (tmp_path / "wavs").mkdir()
    rng = np.random.default_rng(0)
    for name in ("ref", "one", "two"):
        sf.write(tmp_path / "wavs" / f"{name}.wav", 0.1 * rng.standard_normal(RATE), RATE)
    path = tmp_path / "configs" / "codecs.yaml"
    path.write_text(WEBMUSHRA)
    plan = plan_of_config(path)
    assert (plan.title, plan.design, plan.anchors) == ("Codecs", "mushra", (7000.0, 3500.0))
    assert plan.question == "Rate it" and set(plan.items[0].systems) == {"C1", "C2"}
    for old, new, says in (
        ("type: mushra", "type: bs1116", "bs1116"),
        ("wavs/two.wav", "wavs/lost.wav", "lost.wav"),
        ("pages:", "sites:", "no list 'pages'"),
        ("testname: Codecs", "testname: [", "no YAML"),
    ):
        path.write_text(WEBMUSHRA.replace(old, new))
        with pytest.raises(DataError, match=says):
            plan_of_config(path)


def test_without_pyyaml_one_sentence_says_so(
    studies: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'retone\[listening\]'"):
        config_of_study(studies["mushra"])


def test_what_cannot_be_compared_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a folder"):
        plan_of_folder(tmp_path / "absent", "ab")
    with pytest.raises(DataError, match="holds no folders"):
        plan_of_folder(tmp_path, "ab")
    with pytest.raises(SettingError, match="Expected one of"):
        plan_of_folder(folder, "abc")
    with pytest.raises(SettingError, match="no system 'our'.*ours"):
        plan_of_folder(folder, "ab", pairs=(("our", "input"),))
    with pytest.raises(SettingError, match="needs a reference"):
        plan_of_folder(folder, "mushra", reference="nothing")
    with pytest.raises(SettingError, match="no items"):
        Plan("t", "ab", ())
    half = results_folder(tmp_path / "half")
    (half / "ours" / "item1.wav").unlink()
    with pytest.raises(DataError, match="no file for item1"):
        plan_of_folder(half, "ab")
    with pytest.raises(DataError, match="holds no listening test"):
        read_study(tmp_path)


def test_references_with_other_content_are_not_filtered(folder: Path, tmp_path: Path) -> None:
    study = prepare(plan_of_folder(folder, "mushra", aligned=False), tmp_path)
    for t in study["trials"]:
        assert t["reference"] and {s["role"] for s in t["stimuli"]} == {"system", "reference"}
    assert len(files_of(analyse(study, answers(study, "one")))) == 4
