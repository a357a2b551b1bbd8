"""No command overwrites a file that it reads; what is refused leaves nothing.

The table names every command. A new command is held to it: it must be added here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from retone.cli.main import COMMANDS, main
from retone.presets import open_preset

RATE = 16000
WRITES_NO_FILE = {"inspect", "studio", "doctor", "live"}
READS_NO_FILE = {"plugins"}


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    noise = np.random.default_rng(1).normal(size=RATE)
    return 0.1 * noise * (1 + np.sin(2 * np.pi * 3 * np.arange(RATE) / RATE))


def recording(path: Path, sound: np.ndarray) -> Path:
    soundfile.write(path, sound, RATE, format="WAV", subtype="PCM_16")
    return path


def preset(path: Path) -> Path:
    path.write_text(open_preset("warm").to_json(), encoding="utf-8")
    return path


def settings(path: Path, sound: np.ndarray) -> Path:
    from retone.effects import MATCH_CHAIN
    from retone.process.settings_file import LevelPlan, SettingsFile

    neutral = {n: float(v[0]) for n, v in MATCH_CHAIN.params.neutral(1).items()}
    SettingsFile(MATCH_CHAIN, neutral, RATE, "test", level_plan=LevelPlan(0.0)).write(path)
    return path


Words = Callable[[Path, np.ndarray], tuple[list[str], Path]]


def _match_settings_over_preset(d: Path, x: np.ndarray) -> tuple[list[str], Path]:
    own = preset(d / "a.json")
    return [
        "match",
        str(recording(d / "i.wav", x)),
        "--preset",
        str(own),
        "-o",
        str(d / "a.wav"),
    ], own


def _match_over_input(d: Path, x: np.ndarray) -> tuple[list[str], Path]:
    own = recording(d / "i.wav", x)
    return ["match", str(own), "--preset", "warm", "-o", str(own)], own


def _match_report_over_reference(d: Path, x: np.ndarray) -> tuple[list[str], Path]:
    own = recording(d / "a.html", x)
    return ["match", str(recording(d / "i.wav", x)), "--to", str(own), "-o", str(d / "a.wav")], own


def _match_settings_over_input(d: Path, x: np.ndarray) -> tuple[list[str], Path]:
    own = recording(d / "song.json", x)
    return ["match", str(own), "--preset", "warm", "-o", str(d / "song.wav")], own


def _match_over_plugin(d: Path, x: np.ndarray) -> tuple[list[str], Path]:
    own = d / "a.py"
    own.write_text(
        "def f(audio, rate, settings): return audio\nf.parameters = {'gain_db': (-6, 6, 0)}\n"
    )
    words = ["match", str(recording(d / "i.wav", x)), "--preset", "warm", "--plugin", f"{own}:f"]
    return [*words, "--format", "wav", "-o", str(own)], own


def _enhance_over_weights(d: Path, x: np.ndarray) -> tuple[list[str], Path]:
    from importlib import resources

    own = d / "a.json"
    own.write_bytes(
        (resources.files("retone") / "weights" / "enhance_speech.safetensors").read_bytes()
    )
    words = ["enhance", str(recording(d / "i.wav", x)), "--weights", str(own), "-o"]
    return [*words, str(d / "a.wav")], own


def _apply_over_settings(d: Path, x: np.ndarray) -> tuple[list[str], Path]:
    own = settings(d / "a.json", x)
    return [
        "apply",
        str(recording(d / "i.wav", x)),
        "--settings",
        str(own),
        "-o",
        str(d / "a.wav"),
    ], own


def _apply_over_settings_by_link(d: Path, x: np.ndarray) -> tuple[list[str], Path]:
    own = settings(d / "mine.json", x)
    os.link(own, d / "a.json")
    return [
        "apply",
        str(recording(d / "i.wav", x)),
        "--settings",
        str(own),
        "-o",
        str(d / "a.wav"),
    ], own


def _apply_over_input_by_symlink(d: Path, x: np.ndarray) -> tuple[list[str], Path]:
    own = recording(d / "i.wav", x)
    (d / "o.wav").symlink_to(own)
    words = [
        "apply",
        str(own),
        "--settings",
        str(settings(d / "s.json", x)),
        "-o",
        str(d / "o.wav"),
    ]
    return words, own


def _export_over_settings(d: Path, x: np.ndarray) -> tuple[list[str], Path]:
    own = settings(d / "a.json", x)
    return ["export", str(own), "--to", "sox", "-o", str(own)], own


def _export_over_audio(d: Path, x: np.ndarray) -> tuple[list[str], Path]:
    own = recording(d / "i.wav", x)
    words = ["export", str(settings(d / "a.json", x)), "--to", "csv", "--audio", str(own)]
    return [*words, "-o", str(own)], own


def _preset_export_over_itself(d: Path, x: np.ndarray) -> tuple[list[str], Path]:
    own = preset(d / "a.json")
    return ["preset", "export", str(own), str(own)], own


def _train_over_initial_weights(d: Path, x: np.ndarray) -> tuple[list[str], Path]:
    own = d / "run" / "best.safetensors"
    own.parent.mkdir()
    own.write_bytes(b"weights")
    words = ["train", "compact_speech", "--corpus", f"folder={d}", "--run", str(d / "run")]
    return [*words, "--warm-start", str(own)], own


def _pack_over_corpus(d: Path, x: np.ndarray) -> tuple[list[str], Path]:
    (d / "kit").mkdir()
    own = recording(d / "kit" / "00000.opus", x)
    words = ["corpus", "pack", str(d / "kit"), "--corpus", f"folder={d / 'kit'}"]
    return [*words, "--sample-rate", "16000"], own


def _listening_test_over_results(d: Path, x: np.ndarray) -> tuple[list[str], Path]:
    for system in ("a", "b"):
        (d / "results" / system).mkdir(parents=True)
        own = recording(d / "results" / system / "x.wav", x)
    words = ["listen", "make", str(d / "results"), "--design", "ab", "--force", "-o"]
    return [*words, str(own.parent)], own


TABLE: dict[str, list[Words]] = {
    "match": [
        _match_settings_over_preset, _match_over_input, _match_report_over_reference,
        _match_settings_over_input, _match_over_plugin,
    ],
    "enhance": [_enhance_over_weights],
    "apply": [_apply_over_settings, _apply_over_settings_by_link, _apply_over_input_by_symlink],
    "export": [_export_over_settings, _export_over_audio],
    "preset": [_preset_export_over_itself],
    "train": [_train_over_initial_weights],
    "corpus": [_pack_over_corpus],
    "listen": [_listening_test_over_results],
}  # fmt: skip
HAVE_FORCE = {"match", "enhance", "apply", "export", "preset"}


def test_the_table_names_every_command() -> None:
    assert set(TABLE) | WRITES_NO_FILE | READS_NO_FILE >= set(COMMANDS)


@pytest.mark.parametrize(
    "command", [c for cases in TABLE.values() for c in cases], ids=lambda c: c.__name__
)
def test_what_is_read_is_not_overwritten(
    command: Words, sound: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, own = command(tmp_path, sound)
    words += ["--force"] if words[0] in HAVE_FORCE else []
    before = {p: p.read_bytes() for p in sorted(tmp_path.rglob("*")) if p.is_file()}
    assert main(words) == 2
    assert own in before
    assert {p: p.read_bytes() for p in sorted(tmp_path.rglob("*")) if p.is_file()} == before
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "choose another" in error
