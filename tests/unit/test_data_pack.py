"""Packing a corpus: what travels opens again with the same speakers, splits and bandwidths."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from retone.cli.main import main
from retone.errors import DataError
from retone.training.data.corpora import Corpus, corpus_manifest, open_corpus
from retone.training.data.pack import Packing, pack

RATE = 24000
WHO = {"ann": ("train", 11000, 4.0), "bob": ("val", 7000, 1.5), "cat": ("train", 7000, 0.6)}


@pytest.fixture
def voices(tmp_path: Path) -> Path:
    """Noise of three speakers, each with its own level, and a manifest."""
    folder = tmp_path / "set"
    folder.mkdir()
    rng = np.random.default_rng(0)
    with (folder / "manifest.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "speaker", "split", "licence", "source", "bandwidth_hz"])
        for number, (name, (split, band_hz, seconds)) in enumerate(WHO.items()):
            audio = 0.05 * (1 + number) * rng.standard_normal(round(seconds * RATE))
            soundfile.write(folder / f"{name}.wav", audio, RATE)
            rows.writerow([f"{name}.wav", name, split, "CC0", f"site/{name}", band_hz])
    return folder


def opened(folder: Path, cache: Path) -> Corpus:
    return open_corpus("folder", folder, sample_rate=RATE, cache=cache)


def test_a_pack_keeps_speakers_splits_bandwidths_and_credits(voices: Path, tmp_path: Path) -> None:
    before = opened(voices, tmp_path / "cache")
    size = pack([before], tmp_path / "pack", Packing(seconds=2.0, passage_s=1.0))
    files = sorted((tmp_path / "pack").glob("*.opus"))
    assert len(files) == 3 and size == sum(f.stat().st_size for f in files)
    after = opened(tmp_path / "pack", tmp_path / "cache")
    tracks = {t.group: t for t in after.tracks}
    for track in before.tracks:
        found = tracks[track.group]
        assert (found.split, found.kind) == (track.split, track.kind)
        assert found.bandwidth_hz == track.bandwidth_hz
        seconds = min(track.samples / RATE, 2.0)
        assert found.samples / RATE == pytest.approx(seconds, abs=0.05)
        levels = [np.std(t.read(0, t.samples)) for t in (found, track)]
        assert levels[0] == pytest.approx(levels[1], rel=0.25)  # of noise
    credits = {e.group: (e.licence, e.author) for e in corpus_manifest(after).entries}
    assert credits == {f"set/{name}": ("CC0", f"site/{name}") for name in WHO}


def test_higher_bit_rates_go_to_full_band_recordings(voices: Path, tmp_path: Path) -> None:
    corpus = opened(voices, tmp_path / "cache")
    sizes = []
    for rate in (24.0, 96.0):
        place = tmp_path / f"pack{rate}"
        packing = Packing(seconds=1.0, full_band_kbps=rate, min_seconds=1.0)
        pack([corpus], place, packing)
        found = {t.group: t for t in opened(place, tmp_path / "cache").tracks}
        assert set(found) == {"set/ann", "set/bob"}, "one is too short"
        with (place / "manifest.csv").open(newline="") as file:
            rows = {row["speaker"]: row["file"] for row in csv.DictReader(file)}
        sizes.append({name: (place / rows[name]).stat().st_size for name in ("ann", "bob")})
    assert sizes[1]["ann"] > 2 * sizes[0]["ann"] and sizes[1]["bob"] == sizes[0]["bob"]


def test_refusals_say_what_to_do(voices: Path, tmp_path: Path) -> None:
    corpus = opened(voices, tmp_path / "cache")
    with pytest.raises(DataError, match="all recordings are too short"):
        pack([corpus], tmp_path / "none", Packing(min_seconds=60.0))
    with pytest.raises(DataError, match="is not an empty folder"):
        pack([corpus], voices, Packing())
    odd = open_corpus("folder", voices, sample_rate=22050, cache=tmp_path / "cache")
    with pytest.raises(DataError, match="no 22050 Hz; open it at 8, 12, 16, 24, 48 kHz"):
        pack([odd], tmp_path / "odd", Packing())


def test_the_command_packs(
    voices: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "pack"
    words = ["corpus", "pack", str(place), "--corpus", f"folder={voices}", "--seconds", "1"]
    words += ["--sample-rate", str(RATE)]
    assert main([*words, "--cache", str(tmp_path / "cache")]) == 0
    assert f"--corpus folder={place}" in capsys.readouterr().out
    assert len(list(place.glob("*.opus"))) == 3
