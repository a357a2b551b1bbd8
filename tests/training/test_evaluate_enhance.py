"""Table I and its relatives on a tiny corpus: rows, columns, resuming, processes, the page."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retone.effects import DynamicEqualizer, MultibandEqualizer
from retone.errors import DataError
from retone.estimators.reference_free import ReferenceFree
from retone.lab.evaluate import enhance, recordings
from retone.lab.evaluate import equalizer_response as response
from retone.lab.evaluate.distributions import plot
from retone.lab.evaluate.enhance_page import page, table_i, wins
from retone.lab.evaluate.methods import Input
from retone.lab.evaluate.result import Result, Row
from retone.lab.main import main
from retone.losses import AtEqualLoudness, MultiResolutionSTFT
from retone.metrics import METRICS, TABLE_I
from retone.training.data.enhance_pairs import EnhanceMaker, EnhancePair

RATE = 24000
CASE = "bands"
FEW = [m for m in METRICS.values() if m.name in ("mse", "lufs", "phase", "log_mel", "crest")]


@dataclass(frozen=True)
class Louder:
    """The target itself, 6 dB louder: perfect but for its level."""

    name: str = "DEQ improved"

    def run(self, pair: EnhancePair, sample_rate: int) -> np.ndarray:
        return 2 * pair.target


def maker(**changes: Any) -> EnhanceMaker:
    made = EnhanceMaker(sample_rate=RATE, corruption=MultibandEqualizer(), length=24000)
    return replace(made, peak_dbfs=-12.0, **changes)


def test_the_thirteen_rows_of_table_i() -> None:
    assert len(TABLE_I) == 13
    for case in enhance.makers().values():
        assert not case.allpass_target and case.noise_probability == 0 == case.clean_probability


def test_every_number_raw_and_at_the_targets_loudness(
    corpora: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "r.json"
    ask = {"seed": 1, "cases": {CASE: maker()}, "path": path, "metrics": FEW}
    first = enhance.evaluate(corpora["test"], [Input()], pairs=2, **ask)
    assert len(first.rows) == 2
    result = enhance.evaluate(corpora["test"], [Input(), Louder()], pairs=2, **ask)
    assert [r.method for r in result.rows] == ["Input", "DEQ improved"] * 2
    assert result.rows[0].values == first.rows[0].values  # resumed, not measured again
    values = result.rows[1].values
    assert values["lufs"] == pytest.approx(6.02, abs=0.1)
    assert values["lufs (matched)"] < 0.05 and values["mse (matched)"] < 1e-7 < values["mse"]
    assert values["phase"] == values["phase (matched)"] < 1e-4
    assert Result.load(path).rows == result.rows
    again = enhance.evaluate(
        corpora["test"], [Input(), Louder()], pairs=2, seed=1, cases={CASE: maker()},
        metrics=FEW, workers=2,
    )  # fmt: skip
    for one, other in zip(again.rows, result.rows, strict=True):  # sums depend on how many threads
        assert one.values == pytest.approx(other.values, rel=1e-6, abs=1e-9)
    assert wins(result, CASE, "DEQ improved", "Input", matched=True)[0] >= 3
    text = page([result], {"Picture": "p.svg"}, ["## More"])
    assert "| mse | lower |" in text and "DEQ improved against Input" in text and "p.svg" in text


def test_the_best_is_bold_and_a_bootstrap_tells_what_is_sure() -> None:
    rows = []
    for item in range(20):
        for method, error in (("Input", 2.0), ("DEQ improved", 1.0), ("oracle", 0.1)):
            names = [m.name for m in TABLE_I] + [f"{m.name} (matched)" for m in TABLE_I]
            values = dict.fromkeys(names, error + 0.1 * math.sin(item))
            rows.append(Row(item, f"voice {item % 5}", CASE, method, values))
    result = Result({}, {}, rows)
    lines = table_i(result, CASE, matched=True).splitlines()
    assert len(lines) == 15
    row = {line.split(" |")[0][2:]: line for line in lines[2:]}
    assert row["mse"].count("**") == 2 and "**1 [" in row["mse"]
    assert "**2 [" in row["stoi"]  # higher is better, and the oracle stands apart
    lower = sum(m.direction == "lower" for m in TABLE_I)
    assert wins(result, CASE, "DEQ improved", "Input", matched=True) == (lower, lower, 3, 13)


def test_the_oracle_undoes_most(corpora: dict[str, Any]) -> None:
    make = maker(band_probability=0.5)
    pair = make.make(corpora["test"], 0, 3)
    loss = AtEqualLoudness(MultiResolutionSTFT((128, 512, 2048)))
    out = enhance.FittedChain(loss, steps=30).run(pair, RATE)
    log_mel = METRICS["log_mel"]
    assert log_mel(out, pair.target, RATE) < 0.7 * log_mel(pair.input, pair.target, RATE)


def test_distributions_are_drawn() -> None:
    rng = np.random.default_rng(0)
    rows = [
        Row(i, str(i), CASE, m, {"dnsmos.overall": 2.5 + at + 0.2 * float(rng.standard_normal())})
        for i in range(12)
        for m, at in (("Input", 0.0), ("DEQ improved", 0.3), ("Target", 0.4))
    ]
    svg = plot(Result({}, {}, rows), CASE).render(standalone=True)
    assert svg.count("<circle") >= 3 and "Target" in svg and "NaN" not in svg


def test_responses_of_neutral_bands_are_flat(corpora: dict[str, Any]) -> None:
    """Without dynamics both equalisers are the same system, and both meet both targets."""
    paper = maker(corruption=DynamicEqualizer(), band_probability=0.0)
    _, curves = response.measure_clip(corpora["test"], paper, 0, 1)
    for c in (*curves.outputs.values(), *curves.targets.values()):
        assert np.abs(c).max() < 0.3


def test_a_gain_reads_its_decibels() -> None:
    x = np.random.default_rng(0).standard_normal(30000)
    np.testing.assert_allclose(response.response_db(x, 2 * x, RATE), 6.02, atol=0.01)


def test_recordings_are_found_and_left_ones_named(
    voices: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = recordings.find(voices)
    assert len(files) >= 8
    rows = [
        Row(i, v, p.name, "enhance",
            {"before.dnsmos.overall": 3.0, "after.dnsmos.overall": 3.1 - 0.3 * (i == 1),
             "change_db": 1.0})
        for i, (p, v) in enumerate(files)
    ]  # fmt: skip
    text = recordings.summary(Result({"name": "voices"}, {"retone": "0", "date": "today"}, rows))
    assert f"falls by more than 0.1 on 1; the worst change is -0.20 ({files[1][0].name})" in text
    assert main(["evaluate", "enhance-recordings", str(tmp_path)]) == 2
    assert "holds no speech" in capsys.readouterr().err
    assert main(["evaluate", "enhance", "--corpus", f"folder={voices}", "--methods", "peq"]) == 2
    assert "--peq FILE" in capsys.readouterr().err


def test_recordings_are_found_by_either_manifest(tmp_path: Path) -> None:
    """That of a ``folder`` corpus needs only the columns that docs/training.md requires."""
    table = tmp_path / "manifest.csv"
    table.write_text("file,speaker\na.wav,ann\nb.wav,ben\n")
    both = [
        (tmp_path / "a.wav", f"{tmp_path.name}/ann"),
        (tmp_path / "b.wav", f"{tmp_path.name}/ben"),
    ]
    assert recordings.find(tmp_path) == both
    table.write_text("file,speaker,split,corpus\na.wav,ann,dev,mine\nb.wav,ben,test,mine\n")
    assert recordings.find(tmp_path) == [(tmp_path / "b.wav", "mine/ben")]
    assert recordings.find(tmp_path, split="dev") == [(tmp_path / "a.wav", "mine/ann")]
    table.write_text("file,track\na.wav,song\n")
    with pytest.raises(DataError, match="no speech"):
        recordings.find(tmp_path)
    columns = "path,source,speaker,licence,author,split,kind\n"
    table.write_text(f"{columns}a.wav,s,ann,CC0,-,test,speech\nb.wav,s,ben,CC0,-,test,music\n")
    assert recordings.find(tmp_path) == [(tmp_path / "a.wav", "s/ann")]
    table.write_text("path,source\na.wav,s\n")
    with pytest.raises(DataError, match="no column 'speaker'"):
        recordings.find(tmp_path)


def test_recordings_through_devices_have_a_table_of_their_own(
    voices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loudness(audio: Any, rate: float, quality: Any) -> dict[str, float]:
        return {"dnsmos.overall": float(np.log10(np.mean(np.square(audio)) + 1e-12))}

    monkeypatch.setattr(recordings, "predicted", loudness)
    files = recordings.find(voices, one_per_voice=True)[:2]
    path = tmp_path / "r.json"
    result = recordings.evaluate(
        files, ReferenceFree(), name="voices", devices=("laptop", "noise"), path=path
    )
    assert [(r.method, r.group) for r in result.rows] == [
        (d, v) for _, v in files for d in ("enhance", "laptop", "noise")
    ]
    text = recordings.summary(Result.load(path))
    assert "2 files of 2 voices" in text
    assert all(f"| {d} | " in text for d in ("laptop", "noise", "all"))
    assert "of 4 |" in text.splitlines()[-1]
    head, *table = [line.split(" | ") for line in text.splitlines() if line.count(" | ") > 7]
    loss = {m: float(np.mean([r.values["before.dnsmos.overall"] for r in result.rows
                              if r.method == m])) for m in ("enhance", "laptop")}  # fmt: skip
    to_original = float(table[0][head.index("to the original")].split(" [")[0])
    assert to_original == pytest.approx(loss["enhance"] - loss["laptop"], rel=0.02)
    noisy = next(r.values for r in result.rows if r.method == "noise")
    assert 1 < noisy["before.pesq"] < 4.6 and 1 < noisy["after.pesq"] < 4.65
