"""``retone export`` as a user meets it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cli.conftest import Record, Run
from retone.effects import SOUND_CHAIN
from retone.lab.bench.exports import cases
from retone.process.settings_file import SettingsFile


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "voice.json"
    cases(44100)[0].settings.write(path)
    return path


def test_writes_beside_and_says_how_to_use_it(retone: Run, settings: Path) -> None:
    done = retone("export", settings, "--to", "ffmpeg")
    assert done.code == 0, done.err
    assert (settings.parent / "voice.ffmpeg.txt").read_text().startswith("bass=f=100:")
    written = settings.parent / "voice.ffmpeg.txt"
    assert f'ffmpeg -i in.wav -af "$(cat {written})" out.wav' in done.out
    again = retone("export", settings, "--to", "ffmpeg")
    assert again.code == 2 and "exists" in again.err
    assert retone("export", settings, "--to", "ffmpeg", "--force", "-q").out == ""


def test_verify_states_the_difference(retone: Run, settings: Path, record: Record) -> None:
    voice = record("voice.wav", seconds=1.0, rate=44100)
    done = retone("export", settings, "--to", "equalizer-apo", "--verify", "--audio", voice)
    assert done.code == 0, done.err
    assert "equaliser response: at most 0.0000 dB" in done.out
    assert "note: compressor: compression (3:1" in done.out


@pytest.mark.parametrize(
    ("ratio", "expander", "said"),
    [
        (1.0, 2.1, "compressor: downward expansion (2.1:1 below -50 dBFS) cannot"),
        (3.0, 2.1, "(3:1 above -30 dBFS) with downward expansion (2.1:1 below -50 dBFS) cannot"),
        (3.0, 1.0, "compressor: compression (3:1 above -30 dBFS) cannot"),
    ],
)
def test_what_is_left_out_is_what_was_at_work(
    retone: Run, tmp_path: Path, ratio: float, expander: float, said: str
) -> None:
    values = {p.name: p.default for p in SOUND_CHAIN.params} | {
        "compressor.threshold_db": -30.0, "compressor.ratio": ratio,
        "compressor.expander_threshold_db": -50.0, "compressor.expander_ratio": expander,
    }  # fmt: skip
    path = tmp_path / "voice.json"
    SettingsFile(SOUND_CHAIN, values, 48000, "test").write(path)
    assert said in retone("export", path, "--to", "equalizer-apo").out


def test_csv_follows_a_recording(retone: Run, settings: Path, record: Record) -> None:
    voice = record("voice.wav", seconds=1.0)
    missing = retone("export", settings, "--to", "csv")
    assert missing.code == 2 and "--audio FILE" in missing.err
    assert retone("export", settings, "--to", "csv", "--audio", voice).code == 0
    rows = np.loadtxt(settings.parent / "voice.curves.csv", delimiter=",", skiprows=1)
    assert rows.shape == (100, 3)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nowhere.json", "--to", "sox"), "cannot be read"),
        (("voice.json", "--to", "cubase"), "--to 'cubase' is unknown"),
        (("voice.json", "--to", "sox", "--verify"), "--audio FILE"),
        (("voice.json", "--to", "csv", "--verify", "--audio", "a.wav"), "Leave out --verify"),
        (("voice.json", "--to", "csv"), "--audio FILE"),
        (("voice.json", "--to", "sox", "-o", "."), "is a folder"),
        (("nowhere.safetensors", "--to", "onnx", "-o", "x.onnx"), "no weights"),
    ],
)
def test_bad_words(
    retone: Run, settings: Path, words: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(settings.parent)
    if "onnx" in words:
        pytest.importorskip("onnxscript")
    done = retone("export", *words)
    assert done.code == 2
    assert says in done.err and "Traceback" not in done.err


@pytest.mark.parametrize(
    "words",
    [
        ("export", "SETTINGS", "--to", "ffmpeg"),
        ("export", "SETTINGS", "--to", "lv2"),
        ("export", "SETTINGS", "--to", "csv", "--audio", "SETTINGS"),
        ("export", "speech", "--to", "onnx"),
        ("preset", "export", "podcast"),
        ("listen", "make", "FOLDER"),
        ("listen", "import", "SETTINGS"),
        ("listen", "analyse", "FOLDER"),
        ("listen", "simulate", "FOLDER", "--json"),
        ("listen", "export", "FOLDER"),
    ],
    ids=lambda words: " ".join(words[:4]),
)
def test_standard_output_takes_recordings_only(
    retone: Run, settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"SETTINGS": settings, "FOLDER": tmp_path}
    option = () if words[-1] in ("podcast", "--json") or words[1] == "export" else ("-o",)
    refused = retone(*(given.get(word, word) for word in words), *option, "-")
    assert refused.code == 2 and "standard output (-)" in refused.err
    assert not (tmp_path / "-").exists()


def test_onnx_goes_beside_the_weights(
    retone: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "own.onnx").write_text("mine")
    monkeypatch.chdir(tmp_path)
    refused = retone("export", Path("net", "own.safetensors"), "--to", "onnx")
    assert refused.code == 2 and str(Path("net", "own.onnx")) in refused.err
