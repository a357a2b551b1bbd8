"""The papers' comparison, prepared for a listening test."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from retone.errors import DataError, OutputExistsError
from retone.lab.evaluate.listen_study import LEVEL_LUFS, make_study
from retone.lab.main import build_parser

RATE = 24000
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
"""Of matchering's own dependencies."""


def test_every_method_gets_the_same_passages(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    files = []
    for name in ("one", "two"):
        level = 0.1 * (1 + 0.5 * np.sin(np.arange(9 * RATE) / RATE))
        sf.write(tmp_path / f"{name}.wav", level * rng.standard_normal(9 * RATE), RATE)
        files.append(tmp_path / f"{name}.wav")
    out = tmp_path / "study"
    counts = make_study(files, out, styles=("bright", "warm"), seconds=4.0)
    wanted = {"input", "rb-dsp", "ours-0", "ours-50", "ours-90", "oracle", "reference"}
    if importlib.util.find_spec("matchering"):
        wanted.add("matchering")
    assert {p.name for p in out.iterdir()} == set(counts) == wanted
    for name in ("one-bright", "two-warm"):
        sounds = {f.name: sf.read(f / f"{name}.wav")[0] for f in out.iterdir()}
        assert {len(a) for a in sounds.values()} == {4 * RATE}
        assert 20 * np.log10(np.abs(np.std(sounds["input"]))) == pytest.approx(LEVEL_LUFS, abs=6)
        oracle, own = (np.abs(np.fft.rfft(sounds[k])) for k in ("oracle", "input"))
        top = slice(len(own) * 3 // 4, None)
        change_db = 20 * np.log10(oracle[top].mean() / own[top].mean())
        assert (change_db > 3) == (name == "one-bright")  # its style, not another one's
    with pytest.raises(OutputExistsError):
        make_study(files, out, styles=("bright", "warm"), seconds=4.0)
    with pytest.raises(DataError, match="same name"):
        make_study([files[0], files[0]], out)
    with pytest.raises(DataError, match="lasts 9.0 s; expected 20 s"):
        make_study(files, tmp_path / "more")


def test_matchering_is_a_row_where_it_is_installed(tmp_path: Path) -> None:
    """Its result has the reference's spectrum and the passage of the input."""
    pytest.importorskip("matchering", reason="matchering needs pip install 'retone[peers]'")
    rng = np.random.default_rng(1)
    level = 0.1 * (1 + 0.5 * np.sin(np.arange(22 * RATE) / RATE))
    sf.write(tmp_path / "one.wav", level * rng.standard_normal(22 * RATE), RATE)
    out = tmp_path / "study"
    rows = ["input", "rb-dsp", "matchering", "ours-0", "ours-50", "ours-90", "oracle"]
    counts = make_study([tmp_path / "one.wav"], out, styles=("bright",))
    assert set(counts) == {*rows, "reference"} and set(counts.values()) == {1}
    sounds = {name: sf.read(out / name / "one-bright.wav")[0] for name in counts}
    assert len(sounds["matchering"]) == len(sounds["input"]) == 10 * RATE
    spectra = {n: np.abs(np.fft.rfft(a)).reshape(1, -1)[0] for n, a in sounds.items()}
    top = slice(len(spectra["input"]) * 3 // 4, None)
    share = {n: float((s[top] ** 2).sum() / (s**2).sum()) for n, s in spectra.items()}
    apart = abs(np.log(share["matchering"] / share["reference"]))
    assert apart < 0.5 * abs(np.log(share["input"] / share["reference"]))
    like = {
        n: abs(np.corrcoef(sounds["matchering"], sounds[n])[0, 1]) for n in ("input", "reference")
    }
    assert like["input"] > 5 * like["reference"]  # the input's passage, filtered


def test_the_command_is_known() -> None:
    args = build_parser().parse_args(["listen-study", "a.wav", "-o", "b"])
    assert args.command == "listen-study" and args.output == Path("b")
